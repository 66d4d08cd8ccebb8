"""Chooses the reader for a file's type."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from shared.documents.types import HTML, MARKDOWN, SOURCE
from workers.reading.documents import decoding
from workers.reading.documents.document import Document
from workers.reading.documents.leftout import Unreadable

FormatReader = Callable[[bytes], Document]  # raises Unreadable, or whatever a library raises on a broken file

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
