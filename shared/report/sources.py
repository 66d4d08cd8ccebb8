"""What a researcher tells of its documents: their folder, the state of its index, and a passage in its place."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

SKETCHED = 32  # hashes of a folder's files


class _Open(BaseModel):
    model_config = ConfigDict(extra="ignore")


class FolderIdentity(_Open):
    """Which folder a worker looks into, in the `metadata` of its registration.

    `place` is the same for whoever looks into it by way of one file system. `sketch` are the least hashes of its files
    (at most 32), so that copies are known as well: the share of hashes that two have in common is that of their files.
    `uploads` is the place of the folder of uploads, "" where none is searched, None where nothing is said of it.
    """

    path: str
    place: str
    sketch: list[str] = Field(default_factory=list, max_length=SKETCHED)
    uploads: str | None = None


class Skipped(_Open):
    """What was not read: a path, or `*.png` for files of one ending. `files` is how many, 0 for a folder.

    `failed`: it should have been read, and is not left out by a rule.
    """

    what: str
    why: str
    files: int = 1
    failed: bool = False


class IndexState(_Open):
    """`languages` counts passages by ISO 639-1 ("" unknown); `changed` is when the index last did (ISO 8601).

    `uploads` is the folder of uploaded documents, "" where none is searched.
    """

    provider: str
    folder: str
    uploads: str = ""
    files: int
    passages: int
    languages: dict[str, int] = Field(default_factory=dict)
    skipped: list[Skipped] = Field(default_factory=list)
    changed: str = ""
    complete: bool = True


class PlacedPassage(_Open):
    """A passage by its evidence id, with the text of the passages before and after it in its document, "" at its ends.

    Texts keep the conventions of `Evidence.text`. `modified` is the document's date (ISO 8601), "" where unknown.
    """

    id: str
    title: str
    location: str
    heading: str
    text: str
    before: str = ""
    after: str = ""
    language: str = ""
    modified: str = ""
