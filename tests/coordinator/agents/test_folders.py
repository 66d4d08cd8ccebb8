"""Two researchers know from their folders whether they are replicas of one, or strangers with one name."""

from __future__ import annotations

import shutil

import pytest

from coordinator.agents.folders import differ
from workers.providers import identity


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.md").write_text(f"# Tide {number}")
    return folder


def test_a_folder_keeps_its_identity_while_files_change(docs, tmp_path):
    """One folder is one whatever it is called and while files change."""
    before = identity.of(docs)
    (tmp_path / "link").symlink_to(docs)
    shutil.rmtree(docs / "none", ignore_errors=True)
    for number in range(40):
        (docs / f"{number}.md").rename(docs / f"new{number}.md")

    assert not differ(before, identity.of(tmp_path / "link"))


def test_copies_are_replicas_while_most_files_are_the_same(docs, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(docs, copy)
    for number in range(5):
        (copy / f"{number}.md").unlink()
        (copy / f"more{number}.md").write_text("x")
    for number in range(20, 40):
        (copy / f"{number}.md").write_text("other text of the same document")

    assert not differ(identity.of(docs), identity.of(copy))


@pytest.mark.parametrize("names", [["README.md"], [f"p{n}.md" for n in range(20)]])
def test_other_documents_are_another_folder(docs, tmp_path, names):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    for name in names:
        (tmp_path / "two" / name).write_text("two")
    (tmp_path / "one/README.md").write_text("number one")

    assert differ(identity.of(docs), identity.of(tmp_path / "two"))
    assert differ(identity.of(tmp_path / "one"), identity.of(tmp_path / "two"))


def test_a_folder_that_cannot_be_listed_has_no_identity(tmp_path):
    assert identity.of(tmp_path / "none") is None
