"""The real model, loaded once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from workers.semantic.minilm import MiniLM
from workers.semantic.reranker import THREADS, Reranker


@pytest.fixture(scope="session")
def reranker() -> Iterator[Reranker]:
    with ThreadPoolExecutor(THREADS) as threads:
        yield Reranker(MiniLM(), threads)
