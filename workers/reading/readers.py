"""Chooses the reader for a file's name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from os.path import splitext

from workers.reading.documents import decoding
from workers.reading.documents.document import Document
from workers.reading.documents.leftout import Unreadable

FormatReader = Callable[[bytes], Document]  # raises Unreadable, or whatever a library raises on a broken file

MARKDOWN = frozenset((".md", ".markdown", ".mdown", ".mkd"))
HTML = frozenset((".html", ".htm", ".xhtml"))
TEXT = frozenset((".txt", ".text", ".log", ".tex", ""))  # "": a name without an ending, README say
# Each names a module of workers.reading with a function `read(data: bytes) -> Document`.
FORMATS = {
    ".docx": "office.docx",
    ".odt": "office.odf",
    ".ods": "office.odf",
    ".epub": "office.epub",
    ".xlsx": "office.xlsx",
    ".ipynb": "formats.notebook",
    ".csv": "formats.separated",
    ".tsv": "formats.separated",
    ".rst": "formats.rst",
    ".rest": "formats.rst",
    ".eml": "formats.mail",
    ".org": "formats.org",
    ".adoc": "formats.asciidoc",
    ".asciidoc": "formats.asciidoc",
}
_PROGRAMS = (
    "bash bat c cc cpp cs dart ex exs fish fs go graphql h hpp hs java jl js jsx kt kts lua m mjs ml nix php pl pm"
    " proto ps1 py pyi r rb rs scala sh sql svelte swift tcl tf ts tsx vb vue zig zsh"
)
_SETTINGS = "cfg conf cnf ini json jsonc properties service toml xml yaml yml"
SOURCE = frozenset(f".{ending}" for ending in f"{_PROGRAMS} {_SETTINGS}".split())
SUFFIXES = MARKDOWN | HTML | TEXT | SOURCE | FORMATS.keys() | {".pdf"}
PACKED = frozenset((".pdf", ".docx", ".odt", ".ods", ".epub", ".xlsx"))  # not once more as .gz


def kind(name: str) -> str | None:
    """The suffix that decides how a file is read, without `.gz`; None for files that are not documents."""
    stem, suffix = splitext(name.lower())
    if suffix == ".gz":
        _, suffix = splitext(stem)
        return suffix if suffix in SUFFIXES - PACKED else None
    return suffix if suffix in SUFFIXES else None


def parse(data: bytes, suffix: str, encoding: str | None = None) -> Document:
    """Bytes of a known type as a document; `encoding` is what the outside says, if it says something.

    Raises Unreadable with the reason, and whatever a library raises that stumbles over a broken file.
    """
    from workers.reading.formats import html, markdown, pdf, plaintext, source

    if suffix == ".pdf":
        return pdf.read(data)
    if suffix in HTML:
        if decoding.is_binary(data):
            raise Unreadable("is not text")
        return html.read(data, encoding or decoding.charset(data))
    if suffix in FORMATS:
        read: FormatReader = import_module(f"workers.reading.{FORMATS[suffix]}").read
        return read(data)
    if suffix in SOURCE:
        return source.read(data, suffix)
    if decoding.is_binary(data):
        raise Unreadable("is not text")
    text = decoding.text_of(data, encoding)
    return markdown.read(text) if suffix in MARKDOWN else plaintext.read(text)
