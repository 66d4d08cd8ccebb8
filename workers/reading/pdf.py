"""A PDF file as sections, one a page, with the anchors that PDF viewers understand."""

from __future__ import annotations

import io
import re

from workers.reading.document import Block, Document, Section

MAX_PAGES = 2_000

_HYPHEN = re.compile(r"(\w)-\n(?=[a-zß-ÿ])")
_SPACE = re.compile(r"\s+")


def read(data: bytes) -> Document:
    """Title from the file's own data; a broken, encrypted or scanned file has a `note` and what could be read."""
    from pypdf import PdfReader

    sections: list[Section] = []
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            return Document("", (), "is encrypted")
        named = reader.metadata.title if reader.metadata else None
        for number, page in enumerate(reader.pages[:MAX_PAGES], start=1):
            blocks = tuple(_blocks(page.extract_text() or ""))
            if blocks:
                sections.append(Section((f"Page {number}",), f"page={number}", blocks))
    except (
        Exception
    ) as exc:  # pypdf raises far more than its PdfReadError on broken files; one must not end the indexing
        return Document("", tuple(sections), f"is a broken PDF ({type(exc).__name__})")
    note = "" if sections else "has no text in it (a scan?)"
    title = _SPACE.sub(" ", named or "").strip()
    return Document(title or (sections[0].blocks[0].text[:80] if sections else ""), tuple(sections), note)


def _blocks(text: str) -> list[Block]:
    paragraphs = re.split(r"\n\s*\n", _HYPHEN.sub(r"\1", text))
    return [Block(said) for said in (_SPACE.sub(" ", part).strip() for part in paragraphs) if said]
