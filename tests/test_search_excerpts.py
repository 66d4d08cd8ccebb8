"""An excerpt is what a reader would have marked: whole sentences about the question, and not the next matter."""

from __future__ import annotations

from contextlib import closing

import pytest

from workers.index import ranking, store
from workers.index.excerpts import MAX_CHARACTERS, excerpt
from workers.providers.found import evidence
from workers.reading.document import Block, Document, Section

FILLER = "Nothing of the kind is said in this long and winding sentence about other matters of the harbour. " * 6


def marked(text: str, *words: str) -> str:
    for word in words:
        text = text.replace(word, f"\x02{word}\x03")
    return text


def test_the_sentences_that_say_most_are_chosen():
    text = marked(f"{FILLER}The spring tide follows the moon. It is high.\n\n{FILLER}", "spring", "tide")

    said = excerpt(text, {"spring": 2.0, "tide": 1.0})

    assert "The spring tide follows the moon. It is high." in said.text
    assert len(said.text) <= MAX_CHARACTERS
    assert said.text[0].isupper()


def test_prose_is_preferred_to_code():
    text = marked("    spring_tide(moon)\n\nA spring tide is high.", "spring", "tide")

    assert excerpt(text, {"spring": 1.0, "tide": 1.0}).text == "A spring tide is high."


def test_code_is_cut_between_lines_around_the_hit():
    lines = [f"    line_{number} = {number} + {number}" for number in range(60)]
    text = marked("\n".join([*lines, "    spring = tide()"]), "spring")

    said = excerpt(text, {"spring": 1.0})

    assert said.text.endswith("    spring = tide()")
    assert said.text.startswith("    line_")


def test_announcements_and_labels_do_not_end_it():
    text = marked("A spring tide is high. For example:\n\n    tide()\n\nNote", "spring", "tide")

    assert excerpt(text, {"spring": 1.0, "tide": 1.0}).text == "A spring tide is high."


def test_what_explains_one_function_is_not_joined_to_the_next():
    first, second = "high(tide) Tells how high the tide is.", "low(tide) Tells how low."

    said = excerpt(marked(f"{first}\n\n{second}", "high"), {"high": 1.0}, ((0, "high"), (len(first) + 2, "low")))

    assert said.text == first


def test_location_has_the_anchor_nearest_above_the_excerpt():
    blocks = (Block("A long story of the moon. " * 30), Block("low() Says how low the ebb is.", "low"))
    asked = ranking.question("How low is the ebb?")
    with closing(store.in_memory()) as connection:
        store.put(connection, "sea.html", Document("Sea", (Section(("Sea",), "sea", blocks),)))
        ranked = ranking.rank(connection, asked, store.Scope())

        [found] = evidence(connection, ranked.hits, asked, ranked.weights, "local")

    assert found.location == "sea.html#low"
    assert found.excerpt == "low() Says how low the ebb is."


@pytest.mark.parametrize("text", ["x" * 5_000, "word " * 900, "no marks here", "", "\x02\x03", "a\n\n\n\nb"])
def test_any_text_has_an_excerpt_within_bounds(text):
    assert len(excerpt(text, {"x": 1.0}).text) <= MAX_CHARACTERS
