"""PURE: whether two workers of one name look into the same folder, so that it does not matter which is asked."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from coordinator.agents.instance import Instance
from shared.contracts import Registration
from shared.errors import Conflict
from shared.report.sources import SKETCHED, FolderIdentity

ALIKE = 0.5  # of the files; copies of one folder, of which one was changed meanwhile, are replicas


def get_folder(registration: Registration) -> FolderIdentity | None:
    """The folder that a worker's metadata names; None where it has none."""
    try:
        return FolderIdentity.model_validate(registration.metadata.get("folder"))
    except ValidationError:
        return None


def differ(one: FolderIdentity | None, other: FolderIdentity | None) -> bool:
    """Whether they are surely two folders: in different places, and most of their files are not the same.

    What is not known, an empty folder say, is no difference: to refuse a replica would be worse.
    """
    if one is None or other is None or one.place == other.place or not one.sketch or not other.sketch:
        return False
    least = sorted({*one.sketch, *other.sketch})[:SKETCHED]
    shared = {*one.sketch} & {*other.sketch}
    return sum(each in shared for each in least) < ALIKE * len(least)


def refuse_other_folder(agent_id: str, registration: Registration, others: Iterable[Instance]) -> None:
    """Raises `Conflict` for an agent that serves other documents than one of the living `others` of its name."""
    folder = get_folder(registration)
    for other in others:
        theirs = get_folder(other.registration)
        mine = other.id == agent_id or other.registration.instance == registration.instance
        if mine or other.registration.draining:
            continue
        if folder is not None and theirs is not None and differ(folder, theirs):
            raise Conflict(
                f"Another agent named {other.name!r} ({other.id} at {other.registration.endpoint}) serves other"
                f" documents: its KNOWLEDGE_DIR is {theirs.path}, this one's is {folder.path}. Stop one of them,"
                " or give one of them a folder that holds both."
            )
        if folder is not None and theirs is not None and differ_in_uploads(folder, theirs):
            raise Conflict(
                f"Another agent named {other.name!r} ({other.id} at {other.registration.endpoint}) searches"
                f" {_uploads(theirs)}, and this one {_uploads(folder)}. Give both the same UPLOADS_DIR."
            )


def differ_in_uploads(one: FolderIdentity, other: FolderIdentity) -> bool:
    """Whether they surely search other uploads; an agent of a version before says nothing of them."""
    return one.uploads is not None and other.uploads is not None and one.uploads != other.uploads


def _uploads(folder: FolderIdentity) -> str:
    return f"the uploads of {folder.uploads}" if folder.uploads else "no uploads"
