"""Words and stems, asked for by many threads at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from workers.answering import words

WORDS = [a + b for a in ("nation", "relat", "hope", "control", "operat") for b in ("al", "ional", "fulness", "izers")]


@pytest.fixture(autouse=True)
def eager_threads() -> Iterator[None]:
    """Threads take turns at any moment; no stem is known from before."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    words.stem.cache_clear()
    yield
    sys.setswitchinterval(interval)
    words.stem.cache_clear()


def test_threads_do_not_cut_each_others_words():
    """One analyzer works on eight steps at once; a stem that is wrong once would be kept for good."""
    expected = {word: words.stem(word) for word in WORDS}

    def stems(_: int) -> dict[str, str]:
        return {word: words.stem.__wrapped__(word) for word in WORDS}

    with ThreadPoolExecutor(8) as threads:
        assert [found for found in threads.map(stems, range(64)) if found != expected] == []
