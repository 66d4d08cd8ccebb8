"""What was not read, and why: a file, a part of one, a folder, or all files of one ending."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_NAMED = 3  # in a note; the whole list is kept in the index


@dataclass(frozen=True)
class LeftOut:
    """`what` is a path below the folder, or a pattern; `why` goes on with it as a sentence does.

    `files` is how many files that are; 0 for a folder that was not searched. `failed`: it should have been read, and
    is not left out by a rule.
    """

    what: str
    why: str
    files: int = 1
    failed: bool = False

    @property
    def sentence(self) -> str:
        """`scan.pdf has no text on 9 of 10 pages.`"""
        return f"{self.what} {self.why}."


class Unreadable(Exception):
    """A document that its reader cannot read; the message is the `why` of a `LeftOut`."""


def in_short(left_out: Sequence[LeftOut]) -> list[str]:
    """At most five sentences: the first three that could not be read, how many more, and what the rules leave out."""
    failed = [each for each in left_out if each.failed]
    said = [each.sentence for each in failed[:MAX_NAMED]]
    if len(failed) > MAX_NAMED:
        said.append(f"{len(failed) - MAX_NAMED:,} more could not be read, or only in part.")
    by_rule: dict[str, list[LeftOut]] = {}
    for each in left_out:
        if not each.failed:
            by_rule.setdefault(each.why, []).append(each)
    if by_rule:
        said.append("Left out: " + "; ".join(_group(why, group) for why, group in by_rule.items()) + ".")
    return said


def _group(why: str, group: list[LeftOut]) -> str:
    """`8 *.png, 4 *.zip (of a type that is not read)`."""
    group = sorted(group, key=lambda each: (-each.files, each.what))
    names = [f"{each.files:,} {each.what}" if each.files > 1 else each.what for each in group[:MAX_NAMED]]
    if len(group) > MAX_NAMED:
        names.append(f"{len(group) - MAX_NAMED} more")
    return f"{', '.join(names)} ({why.removeprefix('is ')})"
