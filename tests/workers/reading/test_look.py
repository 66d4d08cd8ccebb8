"""A look at a folder lists its documents, and says of everything else why it is left out."""

from __future__ import annotations

import errno
import os
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from workers.reading import files
from workers.reading.documents.leftout import LeftOut, in_short


def put(root: Path, *names: str, text: str = "x") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def paths(root: Path) -> list[str]:
    return [file.path for file in files.look(root).files]


def test_documents_are_listed_and_the_rest_is_told(tmp_path):
    put(tmp_path, "outside.md")
    root = tmp_path / "docs"
    put(root, "a.md", "sub/b.txt", "c.html.gz", "README", "index.html", "search.html", "genindex.html")
    put(root, ".hidden.md", ".git/x.md", "d.png", "e.png", "f.zip", "node_modules/p/readme.md")
    (root / "out.md").symlink_to(tmp_path / "outside.md")
    (root / "outfolder").symlink_to(tmp_path)
    (root / "same.md").symlink_to(root / "a.md")
    (root / "git.md").symlink_to(root / ".git/x.md")
    (root / "nowhere.md").symlink_to(root / "none.md")
    os.mkfifo(root / "pipe.txt")

    seen = files.look(root)

    documents = ["README", "a.md", "c.html.gz", "genindex.html", "git.md", "index.html", "search.html", "sub/b.txt"]
    assert [file.path for file in seen.files] == documents
    assert {each.sentence: each.files for each in seen.left_out} == {
        ".* is hidden.": 1,
        ".git/ is hidden.": 0,
        "*.png is of an unsupported type.": 2,
        "*.zip is of an unsupported type.": 1,
        "node_modules/ holds packages of programs.": 0,
        "nowhere.md is a broken link.": 1,
        "out.md is a link to outside the folder.": 1,
        "outfolder is a link to a folder.": 0,
        "pipe.txt is not a regular file.": 1,
    }


def test_ignored_files_are_left_out_with_the_pattern(tmp_path):
    """The nearest file decides; a folder that is named is not looked into."""
    put(tmp_path, "a.md", "draft.md", "build/x.md", "logs/1.log", "logs/2.log", "logs/kept.log", "notes/draft.md")
    (tmp_path / ".gitignore").write_text("*.log\nbuild/\n")
    (tmp_path / ".musterignore").write_text("/draft.md\n")
    (tmp_path / "logs/.gitignore").write_text("!kept.log\n")

    seen = files.look(tmp_path)

    assert [file.path for file in seen.files] == ["a.md", "logs/kept.log", "notes/draft.md"]
    told = {each.sentence: each.files for each in seen.left_out if "hidden" not in each.why}
    assert told == {
        "build/ is named in .gitignore.": 0,
        "*.log is named in .gitignore.": 2,
        "/draft.md is named in .musterignore.": 1,
    }


def test_rules_git_ignores_ignore_nothing(tmp_path):
    """A line that is no pattern is no reason to read nothing, nor to read what the next line names."""
    (tmp_path / ".gitignore").write_text("!\na\\\n[z-a]\n[\nsecret.md\n")
    (tmp_path / "a.md").write_text("a")
    (tmp_path / "secret.md").write_text("a")

    assert [file.path for file in files.look(tmp_path).files] == ["a.md"]


def test_no_rule_takes_long_on_any_name(tmp_path):
    (tmp_path / ".gitignore").write_text("*a" * 30 + "b\n" + "*" * 3_000 + "b\n" + "/a/**" * 300 + "/b\n")
    (tmp_path / ("a" * 250 + ".md")).write_text("a")
    began = time.process_time()

    assert len(files.look(tmp_path).files) == 1
    assert time.process_time() - began < 2


@pytest.mark.parametrize("made", [os.mkfifo, os.mkdir, lambda path: path.write_text(("*?" * 200 + "\n") * 300)])
def test_rules_that_cannot_be_followed_are_named(tmp_path, made):
    """A pipe in the place of a file of rules keeps nobody waiting."""
    made(tmp_path / ".musterignore")
    (tmp_path / "a.md").write_text("a")

    seen = files.look(tmp_path)

    assert [file.path for file in seen.files] == ["a.md"]
    assert [each.what for each in seen.left_out if each.failed] == [".musterignore"]


def test_tool_copies_are_left_out_beside_pages(tmp_path):
    """Copies that a documentation tool makes are left out beside its pages only."""
    put(tmp_path, "made/objects.inv", "made/index.html", "made/_sources/index.rst.txt", "own/_sources/spring.md")

    assert paths(tmp_path) == ["made/index.html", "own/_sources/spring.md"]


def test_unlistable_folder_is_named_others_are_read(tmp_path, monkeypatch):
    """`chmod 000` means nothing to root, as whom tests may run."""
    put(tmp_path, "a.md", "closed/b.md")
    scandir = os.scandir

    def denied(path):
        if path == str(tmp_path / "closed"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)

    seen = files.look(tmp_path)

    assert [file.path for file in seen.files] == ["a.md"]
    assert seen.unlisted == ("closed/",)
    assert seen.left_out == [LeftOut("closed/", "cannot be listed (Permission denied)", 0, failed=True)]


def test_unreadable_files_are_named_with_what_was_read(tmp_path, monkeypatch):
    """As in a folder that may be listed and not entered; `chmod` means nothing to root."""
    put(tmp_path, "a.md", "closed/b.md")
    scandir = os.scandir

    class Closed:
        name, path = "b.md", str(tmp_path / "closed/b.md")

        def is_symlink(self):
            return False

        def is_dir(self, *, follow_symlinks):
            return False

        def stat(self, *, follow_symlinks):
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(
        os, "scandir", lambda path: nullcontext([Closed()]) if path.endswith("closed") else scandir(path)
    )

    seen = files.look(tmp_path)

    assert [file.path for file in seen.files] == ["a.md"]
    assert seen.unlisted == ("closed/b.md",)
    assert seen.left_out == [LeftOut("closed/b.md", "cannot be inspected (Permission denied)", failed=True)]


def test_links_in_a_circle_are_named(tmp_path):
    (tmp_path / "a.md").symlink_to("b.md")
    (tmp_path / "b.md").symlink_to("a.md")

    assert {each.sentence for each in files.look(tmp_path).left_out} == {
        "a.md is a broken link.",
        "b.md is a broken link.",
    }


def test_names_outside_utf8_can_be_opened(tmp_path):
    """Names that are not UTF-8 can be shown and opened."""
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.md")).write_text("x")

    [file] = files.look(tmp_path).files

    assert file.path == "caf\\xe9.md"
    assert os.path.exists(file.where)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(OSError, match="none"):
        files.look(tmp_path / "none")


def test_a_note_is_short_whatever_was_left_out():
    """The first three documents that could not be read by name, the rest by number, and a sentence for the rules."""
    failed = [LeftOut(f"{n}.pdf", "is encrypted", failed=True) for n in range(9)]
    ruled = [LeftOut(f"*.{n}", files.OTHER_TYPE, n) for n in range(1, 9)] + [LeftOut(".git/", files.HIDDEN, 0)]

    assert in_short([*failed, *ruled]) == [
        "0.pdf is encrypted.",
        "1.pdf is encrypted.",
        "2.pdf is encrypted.",
        "6 more could not be read, or only in part.",
        "Left out: 8 *.8, 7 *.7, 6 *.6, 5 more (of an unsupported type); .git/ (hidden).",
    ]
    assert in_short([]) == []
