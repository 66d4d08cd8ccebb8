"""A provider whose passages are ordered by meaning as well as by words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.agent import Context
from shared.report.model import Evidence
from shared.report.sources import IndexState, PlacedPassage
from workers.providers.found import Found
from workers.providers.provider import Provider, SearchRequest
from workers.semantic.reranker import Reranker

CANDIDATES = 20  # passages that are compared
MEANING = 2.5  # what a meaning counts, from 0 to 1, beside the words' score, from 0 to 1


@dataclass(frozen=True)
class Reranked:
    """A provider, and what puts its passages into a better order."""

    provider: Provider
    reranker: Reranker

    @property
    def name(self) -> str:
        return self.provider.name

    async def search(self, ask: SearchRequest, ctx: Context) -> Found:
        """The best of more passages than were asked for. Raises WorkerFault where the whole search failed."""
        found = await self.provider.search(replace(ask, candidates=CANDIDATES), ctx)
        texts = [_shorten(one) for one in found.evidence]
        near = await asyncio.to_thread(self.reranker.scores, ask.question, texts, ctx.seconds_left())
        evidence = reorder(found.evidence, near) if near else found.evidence
        return replace(found, evidence=evidence[: ask.limit])

    async def state(self) -> IndexState | None:
        return await self.provider.state()

    async def place(self, id: str) -> PlacedPassage | None:
        return await self.provider.place(id)


def _shorten(one: Evidence) -> str:
    """What is read of a passage: the last of its headings, and the sentences around the question's words."""
    return f"{one.heading.rsplit(' › ', 1)[-1] or one.title}. {one.excerpt}"


def reorder(evidence: Sequence[Evidence], near: Sequence[float]) -> list[Evidence]:
    """Best first, by words and meaning. The best score stays what it was: it says how much of the question is held."""
    most = max(one.score for one in evidence) or 1.0
    worth = [one.score / most + MEANING * meaning for one, meaning in zip(evidence, near, strict=True)]
    scores = [round(most * value / max(worth), 3) for value in worth]
    better = [one.model_copy(update={"score": score}) for one, score in zip(evidence, scores, strict=True)]
    return sorted(better, key=lambda one: -one.score)
