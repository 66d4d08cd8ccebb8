"""A passage in its place: what a reader sees who opens a source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.report.model import AskedWord, NumberedSource


@dataclass(frozen=True)
class ShownPassage:
    """`before` and `after` are the text around the passage, "" at an end or where it is not known; all three keep the
    conventions of `Evidence.text`. `note` says in a sentence why this is not the document as it is now.
    """

    source: NumberedSource
    text: str
    before: str = ""
    after: str = ""
    note: str = ""
    question: str = ""
    words: Sequence[AskedWord] = ()
