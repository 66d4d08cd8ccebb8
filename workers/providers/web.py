"""Looks on the web: asks a search engine, reads the pages it names, and ranks their passages for the question."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial

import httpx

from shared.agent import Context
from shared.contracts import Missing
from workers.index import ranking, store
from workers.index.store import Scope
from workers.providers.calls import Api
from workers.providers.found import Found, evidence, format_count
from workers.providers.pages import Unusable, page
from workers.providers.provider import SearchRequest
from workers.reading.documents.document import Document, DocumentBlock, DocumentSection

AT_ONCE = 4  # pages fetched at the same time
SPARE_SECONDS = 0.5  # of the step's time, kept for ranking what has arrived
SNIPPET_WORDS = 6  # a shorter snippet says nothing

_TAG = re.compile(r"</?\w[^>]*>")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class EngineResult:
    """What an engine says of one page; with `document` the page need not be fetched."""

    url: str
    title: str
    snippet: str = ""
    document: Document | None = None


@dataclass(frozen=True)
class Results:
    """An engine's answer, best first; `missing` names parts of the engine that did not answer."""

    results: list[EngineResult]
    missing: list[Missing] = field(default_factory=list)


Engine = Callable[[Api, str, int], Awaitable[Results]]


@dataclass(frozen=True)
class Web:
    """A search engine as a provider. `http` is the client for its API; pages go through `ctx.http`."""

    name: str
    engine: Engine
    http: httpx.AsyncClient
    seconds: float
    hints: dict[int, str]
    threads: ThreadPoolExecutor

    async def search(self, ask: SearchRequest, ctx: Context) -> Found:
        """Passages of the pages found. Raises WorkerFault where the engine failed.

        A page that cannot be read is named in `missing`, and its snippet stands in for it.
        """
        if ask.documents:
            note = f"Only SEARCH_PROVIDER=local can be limited to documents; {self.name} searched everything."
        api = Api(self.name, self.http, self.seconds, ctx.seconds_left, self.hints)
        answer = await self.engine(api, ask.question, min(ask.limit, 20))
        results = _usable(answer.results)[: max(ask.limit, 1)]
        documents, missing = await self._documents(results, ctx)
        found = await asyncio.to_thread(partial(_collect, ask, documents, self.name))
        return replace(
            found,
            missing=[*answer.missing, *missing],
            notes=[*([note] if ask.documents else []), *found.notes],
        )

    async def state(self) -> None:
        """Pages of the web are not kept."""

    async def place(self, id: str) -> None:
        """Pages of the web are not kept."""

    async def _documents(
        self, results: list[EngineResult], ctx: Context
    ) -> tuple[list[tuple[EngineResult, Document]], list[Missing]]:
        places = asyncio.Semaphore(AT_ONCE)
        documents: dict[str, Document] = {}
        missing: list[Missing] = []
        done = 0

        async def read(result: EngineResult) -> None:
            nonlocal done
            async with places:
                left = min(self.seconds, ctx.seconds_left() - SPARE_SECONDS)
                try:
                    if left <= 0:
                        raise Unusable("was not fetched: the step ran out of time")
                    documents[result.url] = await page(ctx.http, result.url, self.threads, seconds=left)
                except Unusable as exc:
                    missing.append(Missing(what=result.url, why=str(exc)))
                done += 1
                await ctx.progress(f"read {done} of {len(wanted)} pages", done / len(wanted))

        wanted = [result for result in results if result.document is None]
        async with asyncio.TaskGroup() as group:
            for result in wanted:
                group.create_task(read(result), name=f"page:{result.url[:100]}")
        whole: list[tuple[EngineResult, Document]] = []
        for result in results:
            document = result.document or documents.get(result.url) or _snippet(result)
            if document is not None:
                whole.append((result, document))
        return whole, sorted(missing, key=lambda each: each.what)


def _usable(results: list[EngineResult]) -> list[EngineResult]:
    """Web addresses only, each once, with plain titles and snippets."""
    seen: dict[str, EngineResult] = {}
    for result in results:
        url = result.url.strip()
        if url.lower().startswith(("http://", "https://")):
            clean = replace(result, url=url, title=_plain(result.title) or url, snippet=_plain(result.snippet))
            seen.setdefault(url.partition("#")[0].rstrip("/"), clean)
    return list(seen.values())


def _collect(ask: SearchRequest, documents: list[tuple[EngineResult, Document]], name: str) -> Found:
    with closing(store.in_memory()) as connection:
        for result, document in documents:
            store.put_document(connection, result.url, replace(document, title=result.title))
        ranked = ranking.rank(connection, ask.question, Scope())
        count, passages = store.counts(connection, Scope())
        return Found(
            evidence=evidence(ranking.select(ranked.hits, ask.passages), ranked.asked, name),
            searched=f"{format_count(passages, 'passage')} in {format_count(count, 'page')} found by {name}",
            words=list(ranked.asked.weights),
        )


def _snippet(result: EngineResult) -> Document | None:
    if len(result.snippet.split()) < SNIPPET_WORDS:
        return None
    return Document(result.title, (DocumentSection((), "", (DocumentBlock(result.snippet),)),))


def _plain(text: str) -> str:
    return _SPACE.sub(" ", html.unescape(_TAG.sub("", text))).strip()
