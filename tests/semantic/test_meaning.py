"""Texts are compared by what they mean, in English, and only where there is time."""

from __future__ import annotations

import time

import pytest

BUSY = "In the evening many neighbours share the line, and web pages take long to load."
PIPES = "The connection of the two pipes is made with a slow glue: so wait a day."
GERMAN = "Am Abend teilen sich viele Nachbarn die Leitung, und die Seiten laden langsam."
QUESTION = "Why is my internet connection so slow?"


def test_what_answers_is_nearer_than_what_has_the_words(reranker):
    busy, pipes = reranker.scores(QUESTION, [BUSY, PIPES], 10)

    assert pipes < busy <= 1


def test_a_text_says_the_same_as_itself(reranker):
    assert reranker.scores(BUSY, [BUSY], 10) == [pytest.approx(1, abs=0.001)]


def test_other_languages_are_neither_preferred_nor_last(reranker):
    """A text in another language is neither preferred nor put last."""
    pipes, german, busy = reranker.scores(QUESTION, [PIPES, GERMAN, BUSY], 10)

    assert pipes < german < busy


@pytest.mark.parametrize(
    ("question", "texts"),
    [
        ("Warum ist mein Anschluss so langsam?", [BUSY, PIPES]),
        (QUESTION, [GERMAN]),
        (QUESTION, []),
    ],
)
def test_nothing_is_said_where_not_both_are_english(reranker, question, texts):
    assert reranker.scores(question, texts, 10) == []


def test_no_time_no_scores(reranker):
    texts = [f"{number} {BUSY}" for number in range(200)]
    began = time.monotonic()

    assert reranker.scores(QUESTION, texts, 0.1) == []
    assert time.monotonic() - began < 1


def test_twenty_passages_cost_half_a_second_at_most(reranker):
    """Measured: 0.3 s. What is beyond the first 80 tokens is not read."""
    texts = [f"{number} {BUSY * 20}" for number in range(20)]
    began = time.process_time()

    scores = reranker.scores(QUESTION, texts, 60)

    assert len(scores) == 20
    assert time.process_time() - began < 0.5


def test_what_was_read_is_not_read_again(reranker):
    texts = [f"{number} again {PIPES}" for number in range(20)]
    once = reranker.scores(QUESTION, texts, 60)
    began = time.process_time()

    assert reranker.scores(QUESTION, texts, 60) == once
    assert time.process_time() - began < 0.1
