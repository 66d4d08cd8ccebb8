"""How close texts are to a question in meaning, within a limit of time and of threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from shared.errors import MusterError
from workers.language.languages import language_of
from workers.semantic import minilm

if TYPE_CHECKING:
    from shared.settings import SemanticSettings

THREADS = 2  # texts that are read at once, of all steps together
KEPT = 2_000  # vectors, 2 KB each: the same passages answer the next question
SHARE = 0.25  # of the time that a step has left,
MAX_SECONDS = 2.0  # and no more than this; then the order stays as it was
NOT_INSTALLED = (
    "SEMANTIC is set, but these packages are not installed: {}. Install them with "
    "`pip install -r requirements-semantic.txt`, take the image whose tag ends in -semantic, or unset SEMANTIC."
)
READS = ("en", "")  # languages; a table or a command has none of its own

log = structlog.get_logger()


class Model(Protocol):
    def vector(self, text: str) -> Any:
        """A numpy array of length 1."""
        ...


class Reranker:
    """Scores texts for a question. It may be called from several threads, and keeps what it has read last."""

    def __init__(self, model: Model, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        self._vector = lru_cache(KEPT)(model.vector)

    def scores(self, question: str, texts: Sequence[str], seconds_left: float) -> list[float]:
        """From 0, nothing in common, to 1, the same, for each text; those in other languages than English get the mean.

        None at all where the question is in another language, where no text is in English, and where time did not
        suffice. Blocks for at most a quarter of `seconds_left`, and at most 2 seconds.
        """
        english = [text for text in texts if language_of(text) in READS]
        if not english or language_of(question) not in READS:
            return []
        seconds = max(0.0, min(MAX_SECONDS, SHARE * seconds_left))
        read = {text: self._threads.submit(self._vector, text) for text in (question, *english)}
        late = wait(read.values(), seconds).not_done
        if late:
            for one in late:
                one.cancel()
            log.warning("meaning.late", texts=len(english), seconds=round(seconds, 3))
            return []
        asked = read[question].result()
        near = {text: max(0.0, float(asked @ read[text].result())) for text in english}
        mean = sum(near.values()) / len(near)
        return [near.get(text, mean) for text in texts]


class _Absent(Reranker):
    """In a replay the record answers for it."""

    def __init__(self) -> None:
        """Nothing is loaded."""

    def scores(self, question: str, texts: Sequence[str], seconds_left: float) -> list[float]:
        return []


def absent_reranker() -> Reranker:
    """One without a model, which finds no order of its own."""
    return _Absent()


@asynccontextmanager
async def reranker_of(settings: SemanticSettings) -> AsyncIterator[Reranker | None]:
    """The re-ranker that the settings ask for, with its model loaded; None where they do not.

    Raises MusterError where its packages are not installed; the service then refuses to start in that sentence.
    """
    if not settings.semantic:
        yield None
        return
    if packages := minilm.missing():
        raise MusterError(NOT_INSTALLED.format(", ".join(packages)))
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="meaning")
    try:
        yield Reranker(await asyncio.to_thread(minilm.MiniLM), threads)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
