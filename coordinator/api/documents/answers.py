"""The answers about uploaded documents, as the OpenAPI document describes them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from shared.server.openapi import Described


class DocumentLine(Described):
    name: str
    bytes: int
    sent_at: datetime
    sent_by: str | None


class DocumentLimits(Described):
    document_bytes: int
    bytes: int
    documents: int


class DocumentPage(Described):
    documents: list[DocumentLine]
    bytes: int
    free_bytes: int
    limits: DocumentLimits
    trouble: str | None
    searched_by: list[str]


class StoredDocument(DocumentLine):
    status: Literal["stored", "replaced", "unchanged"]


class StoredDocuments(Described):
    documents: list[StoredDocument]


class RemovedDocument(Described):
    name: str
    status: str
