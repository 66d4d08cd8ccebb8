"""The settings of documents that people send: the folder that the coordinator writes, and researchers read."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.documents.types import MAX_BYTES
from shared.settings import Folder, Settings


class UploadSettings(Settings):
    """What the coordinator reads besides; of it a researcher reads the folder alone."""

    uploads_dir: Folder | None = Field(
        None, description="Folder of uploaded documents, which researchers search as well; unset: no uploads."
    )
    upload_bytes: Annotated[int, Field(ge=1, le=MAX_BYTES)] = Field(
        MAX_BYTES, description="Most bytes of one uploaded document."
    )
    uploads_bytes: Annotated[int, Field(ge=1, le=10**15)] = Field(
        1_000_000_000, description="Most bytes of all uploaded documents together."
    )
    uploads_files: Annotated[int, Field(ge=1, le=10_000)] = Field(1_000, description="Most uploaded documents.")
