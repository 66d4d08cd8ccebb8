"""The question that every provider gets, and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shared.agent import Context
from shared.report.sources import IndexState, PlacedPassage
from workers.providers.found import Found


@dataclass(frozen=True)
class SearchRequest:
    """One research step. `siblings` are all sub-questions of the task, `question` is at `index` of them.

    `documents` are paths, folders or globs below the folder of documents; empty: all. `limit` counts passages, and
    pages of the web; `candidates`, where it is more, the passages to choose from.
    """

    question: str
    limit: int
    siblings: tuple[str, ...] = ()
    index: int = 0
    documents: tuple[str, ...] = ()
    candidates: int = 0

    @property
    def passages(self) -> int:
        """How many passages are handed on at the most."""
        return max(self.limit, self.candidates)


class Provider(Protocol):
    """A place to look. `name` is its value of SEARCH_PROVIDER."""

    @property
    def name(self) -> str: ...

    async def search(self, ask: SearchRequest, ctx: Context) -> Found:
        """Raises WorkerFault where the whole search failed; finding nothing is a result."""
        ...

    async def state(self) -> IndexState | None:
        """What it keeps of documents; None where it keeps none. Raises Unavailable until there is something."""
        ...

    async def place(self, id: str) -> PlacedPassage | None:
        """The passage with this evidence id, if it is kept still. Raises Unavailable until there is an index."""
        ...
