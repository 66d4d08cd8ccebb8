"""Two folders are searched as one: documents that somebody keeps, and uploads beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.reading.folders import look


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    docs, uploads = tmp_path / "docs", tmp_path / "sent"
    for path in (docs / "a.md", docs / "uploads/b.md", uploads / "b.md", uploads / "c.md", uploads / ".by-c.md"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(path))
    return docs, uploads


def test_uploads_are_found_below_their_own_name(both: tuple[Path, Path]) -> None:
    """What the coordinator keeps beside them is not told; of two documents with one path the upload is searched."""
    seen = look(*both)

    assert {file.path: Path(file.where).parent.name for file in seen.files} == {
        "a.md": "docs",
        "uploads/b.md": "sent",
        "uploads/c.md": "sent",
    }
    assert [one.sentence for one in seen.left_out] == ["uploads/b.md has the path of an uploaded document."]


def test_without_uploads_nothing_changes(both: tuple[Path, Path]) -> None:
    assert [file.path for file in look(both[0], None).files] == ["a.md", "uploads/b.md"]


@pytest.mark.parametrize("inside", ["uploads", "in/box"])
def test_uploads_inside_the_folder_are_there_once(tmp_path: Path, inside: str) -> None:
    (tmp_path / inside).mkdir(parents=True)
    (tmp_path / inside / "b.md").write_text("b")

    seen = look(tmp_path, tmp_path / inside)

    assert ([file.path for file in seen.files], seen.left_out) == (["uploads/b.md"], [])


def test_missing_uploads_are_told_and_kept(both: tuple[Path, Path]) -> None:
    """A volume that is away is not empty: what was read of it stays."""
    seen = look(both[0], both[1] / "none")

    assert [one.sentence for one in seen.left_out] == ["uploads/ cannot be listed (No such file or directory)."]
    assert seen.unlisted == ("uploads/",)
    assert [file.path for file in seen.files] == ["a.md", "uploads/b.md"]
