"""What was not read, and why: a file, a part of one, a folder, or all files of one ending."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LeftOut:
    """`what` is a path below the folder, or `*.png` for files of one ending; `why` goes on with it as a sentence does.

    `files` is how many files that are; 0 for a folder that nobody looked into.
    """

    what: str
    why: str
    files: int = 1

    @property
    def sentence(self) -> str:
        """`scan.pdf has no text on 9 of 10 pages.`"""
        return f"{self.what} {self.why}."
