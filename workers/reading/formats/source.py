"""Programs and settings as text: comments and doc strings are prose, the rest is code, by their lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from workers.reading.documents import decoding
from workers.reading.documents.document import Document
from workers.reading.documents.leftout import Unreadable
from workers.reading.formats.outline import Outline

if TYPE_CHECKING:
    from pygments.lexer import Lexer
    from pygments.token import _TokenType

MAX_CHARACTERS = 500_000  # a longer one is data, or made by a program
MAX_LINE = 2_000  # characters a line has on average in what a program has made for another
LINES = 40  # of code in one block, which is a passage at the most

_OPENS = r"#+!?|//+!?|/\*+!?|\*+/?|--+|;+|%+|<!--|[rRbBuU]*(?:\"{3}|'{3})"
_MARKS = re.compile(rf"^\s*(?:{_OPENS})\s?|\s*(?:\*+/|-->|\"{{3}}|'{{3}})\s*$")
_PARAGRAPH = re.compile(r"\n[ \t]*\n")


def read(data: bytes, name: str) -> Document:
    """`name` is the file's ending, which tells the language. Raises Unreadable if it is not text, or too long."""
    if decoding.is_binary(data):
        raise Unreadable("is not text")
    text = decoding.text_of(data)
    if len(text) > MAX_CHARACTERS:
        raise Unreadable(f"is code or data of more than {MAX_CHARACTERS:,} characters")
    if len(text) > MAX_LINE * (text.count("\n") + 1):
        raise Unreadable("is machine-generated, with extremely long lines")
    outline = Outline(untitled=True)
    for is_prose, part in _parts(text, _lexer(name)):
        if is_prose:
            for paragraph in _PARAGRAPH.split(_strip_markers(part)):
                outline.say(paragraph)
        else:
            for block in _PARAGRAPH.split(part):
                lines = [line for line in block.splitlines() if line.strip()]
                for start in range(0, len(lines), LINES):
                    outline.code("\n".join(lines[start : start + LINES]))
    return outline.document()


def _lexer(name: str) -> Lexer:
    from pygments.lexers import get_lexer_for_filename
    from pygments.lexers.special import TextLexer
    from pygments.util import ClassNotFound

    options = {"stripnl": False, "ensurenl": False}
    try:
        return get_lexer_for_filename(f"a{name}", **options)
    except ClassNotFound:
        return TextLexer(**options)


def _parts(text: str, lexer: Lexer) -> Iterator[tuple[bool, str]]:
    """Runs of comments, and of code. A comment behind code on its line stays there."""
    lines: list[tuple[bool, str]] = []
    prose, code, line = "", False, ""
    for kind, value in lexer.get_tokens(text):
        for piece in value.splitlines(keepends=True):
            line += piece
            if piece.strip():
                if _is_prose(kind):
                    prose += piece
                else:
                    code = True
            if piece.endswith("\n"):
                lines.append((bool(prose) and not code, line))
                prose, code, line = "", False, ""
    lines.append((bool(prose) and not code, line))
    return _runs(lines)


def _runs(lines: list[tuple[bool, str]]) -> Iterator[tuple[bool, str]]:
    """An empty line belongs to what is before it."""
    before, whole = False, []
    for is_prose, line in lines:
        before = is_prose if line.strip() else before
        whole.append((before, line))
    for is_prose, run in groupby(whole, key=lambda each: each[0]):
        yield is_prose, "".join(line for _, line in run)


def _is_prose(kind: _TokenType) -> bool:
    from pygments.token import Comment, String

    return (kind in Comment and kind not in Comment.Preproc and kind not in Comment.PreprocFile) or kind in String.Doc


def _strip_markers(comment: str) -> str:
    """What a comment says, without the characters that make it one; lines that only draw a rule are dropped."""
    lines = [_MARKS.sub("", _MARKS.sub("", line)) for line in comment.splitlines()]
    return "\n".join(line if any(char.isalnum() for char in line) else "" for line in lines)
