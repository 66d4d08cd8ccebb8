"""Names of uploaded documents: no path, nothing hidden or unseen, a type that is read."""

from __future__ import annotations

import unicodedata

import pytest

from coordinator.uploads.names import check_name
from shared.errors import Invalid


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../../etc/passwd", "is a path"),
        ("/etc/passwd", "is a path"),
        ("a/b.md", "is a path"),
        ("C:\\x.md", "is a path"),
        ("C:x.md", "is a path"),
        ("..\\x.md", "is a path"),
        ("", "is empty"),
        ("   ", "is empty"),
        (".", "dot"),
        ("..", "dot"),
        (".musterignore", "dot"),
        (".part-1", "dot"),
        ("a\0.md", "cannot be seen"),
        ("a\n.md", "cannot be seen"),
        ("a\t.md", "cannot be seen"),
        ("a\x1b[31m.md", "cannot be seen"),
        ("gpj.\u202edm.md", "cannot be seen"),
        ("a\u200b.md", "cannot be seen"),
        ("\udcff.md", "cannot be seen"),
        ("x" * 198 + ".md", "longer than 200 bytes"),
        ("名" * 70 + ".md", "longer than 200 bytes"),
        ("photo.png", "type"),
        ("archive.zip", "type"),
        ("muster.db", "type"),
        ("book.pdf.gz", "type"),
    ],
)
def test_wrong_name_is_refused(name: str, says: str) -> None:
    """With the field that is wrong, and why."""
    with pytest.raises(Invalid) as caught:
        check_name(name)

    assert says in caught.value.detail
    assert caught.value.members["errors"][0]["pointer"] == "/name"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("notes.md", "notes.md"),
        ("README", "README"),
        (" my notes.PDF ", "my notes.PDF"),
        ("Screenshot at\u202f10.txt", "Screenshot at 10.txt"),
        (unicodedata.normalize("NFD", "Übersicht.docx"), "Übersicht.docx"),
        ("日本語の文書.txt", "日本語の文書.txt"),
        ("دليل.pdf", "دليل.pdf"),
        ("می\u200cخواهم.txt", "می\u200cخواهم.txt"),
        ("log.txt.gz", "log.txt.gz"),
        ("a b;c&d'e\".md", "a b;c&d'e\".md"),
        ("10:30 notes.txt", "10:30 notes.txt"),
    ],
)
def test_name_is_kept(name: str, kept: str) -> None:
    """In one form of Unicode, whatever the sender's system uses."""
    assert check_name(name) == kept
