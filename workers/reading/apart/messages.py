"""What passes between the service and the process that reads: a line of JSON to it, a length and JSON back."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass

from workers.reading.documents.document import Document, DocumentBlock, DocumentSection
from workers.reading.opened import Opened

LENGTH = struct.Struct(">Q")
READY = b"ready\n"  # the first bytes that the process sends


@dataclass(frozen=True)
class Request:
    """The file `where`, to be read as its name `path` says, within so many seconds."""

    where: str
    path: str
    seconds: float

    def line(self) -> bytes:
        """Names that are not UTF-8 come through, as escaped surrogates."""
        return json.dumps([self.where, self.path, self.seconds]).encode("ascii") + b"\n"


def request(line: bytes) -> Request:
    return Request(*json.loads(line))


def pack(opened: Opened) -> bytes:
    """The whole answer. What cannot be encoded in UTF-8 (half a surrogate pair) becomes `?`: it cannot be stored."""
    document = opened.document
    sections = [
        [each.heading, each.anchor, [[block.text, block.anchor] for block in each.blocks]] for each in document.sections
    ]
    whole = [document.title, sections, document.note, document.modified, opened.again]
    data = json.dumps(whole, ensure_ascii=False).encode("utf-8", "replace")
    return LENGTH.pack(len(data)) + data


def unpack(data: bytes) -> Opened:
    title, sections, note, modified, again = json.loads(data)
    found = tuple(
        DocumentSection(tuple(heading), anchor, tuple(DocumentBlock(text, own) for text, own in blocks))
        for heading, anchor, blocks in sections
    )
    return Opened(Document(title, found, note, modified), again)
