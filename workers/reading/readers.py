"""Which reader a file's name asks for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import PurePosixPath

from workers.reading import decoding
from workers.reading.document import Document
from workers.reading.leftout import Unreadable

Reader = Callable[[bytes], Document]  # raises Unreadable, or whatever a library raises on a broken file

MARKDOWN = frozenset((".md", ".markdown", ".mdown", ".mkd"))
HTML = frozenset((".html", ".htm", ".xhtml"))
TEXT = frozenset((".txt", ".text", ".log", ".tex", ""))  # "": a name without an ending, README say
# Each names a module of workers.reading.formats with a function `read(data: bytes) -> Document`.
FORMATS: dict[str, str] = {}
SUFFIXES = MARKDOWN | HTML | TEXT | FORMATS.keys() | {".pdf"}
PACKED = frozenset((".pdf", *(suffix for suffix, name in FORMATS.items() if name in ("docx", "odf", "epub", "xlsx"))))


def kind(name: str) -> str | None:
    """The suffix that decides how a file is read, without `.gz`; None for files that are not documents."""
    path = PurePosixPath(name.lower())
    if path.suffix == ".gz":
        path = path.with_suffix("")
        return path.suffix if path.suffix in SUFFIXES - PACKED else None
    return path.suffix if path.suffix in SUFFIXES else None


def parsed(data: bytes, suffix: str, encoding: str | None = None) -> Document:
    """Bytes of a known type as a document; `encoding` is what the outside says, if it says something.

    Raises Unreadable with the reason, and whatever a library raises that stumbles over a broken file.
    """
    from workers.reading import html, markdown, pdf, plaintext

    if suffix == ".pdf":
        return pdf.read(data)
    if suffix in HTML:
        return html.read(data, encoding or decoding.charset(data))
    if suffix in FORMATS:
        read: Reader = import_module(f"workers.reading.formats.{FORMATS[suffix]}").read
        return read(data)
    if decoding.is_binary(data):
        raise Unreadable("is not text")
    text = decoding.text_of(data, encoding)
    return markdown.read(text) if suffix in MARKDOWN else plaintext.read(text)
