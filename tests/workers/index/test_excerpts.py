"""The excerpt of a passage: the sentences that hold most of the question, within bounds."""

from __future__ import annotations

from contextlib import closing

import pytest

from shared.report.model import AskedWord
from workers.index import ranking, store
from workers.index.excerpts import MAX_CHARACTERS, excerpt
from workers.index.ranking import SearchedQuestion
from workers.language.questions import content
from workers.providers.found import evidence
from workers.reading.documents.document import Document, DocumentBlock, DocumentSection


def asked(question: str, **weights: float) -> SearchedQuestion:
    words = content(question, "en")
    return SearchedQuestion(
        question, "en", tuple(words), tuple(AskedWord(word=w.text, weight=weights.get(w.text, 1)) for w in words)
    )


def test_sentences_nearest_the_question_are_chosen():
    """The sentences that hold most of the question are chosen."""
    body = "The moon is far away. " * 20 + "A spring tide follows a new moon. " + "Ships wait in the harbour. " * 20

    assert excerpt(body, "en", asked("When is the spring tide?")).text.startswith("A spring tide follows a new moon.")


def test_different_words_count_and_not_how_often_they_stand():
    body = "Tide after tide after tide. " + "x" * 380 + "\n\nA tide in spring."

    assert "in spring" in excerpt(body, "en", asked("spring tide")).text


def test_code_is_cut_between_lines():
    body = "    first line of it\n    restart --now\n" + "    another\n" * 60

    said = excerpt(body, "en", asked("restart"))

    assert said.text.startswith("restart --now another")
    assert len(said.text) <= MAX_CHARACTERS


def test_location_has_the_anchor_nearest_above_the_excerpt():
    blocks = (DocumentBlock("A long story of the moon. " * 30), DocumentBlock("low() Says how low the ebb is.", "low"))
    with closing(store.in_memory()) as connection:
        store.put_document(connection, "sea.html", Document("Sea", (DocumentSection(("Sea",), "sea", blocks),)))
        ranked = ranking.rank(connection, "How low is the ebb?", store.Scope())

        [found] = evidence(ranked.hits, ranked.asked, "local")

    assert found.location == "sea.html#low"
    assert found.excerpt == "low() Says how low the ebb is."


@pytest.mark.parametrize("text", ["x" * 5_000, "word " * 900, "nothing of it", "", "a\n\n\n\nb", "间" * 3_000])
def test_any_text_has_an_excerpt_within_bounds(text):
    assert len(excerpt(text, "en", asked("x word")).text) <= MAX_CHARACTERS
