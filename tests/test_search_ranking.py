"""What is handed on of a ranked list: fewer passages, better ones."""

from __future__ import annotations

from contextlib import closing

from workers.search import ranking, store
from workers.search.passages import Block, Document, Section
from workers.search.ranking import Ranked
from workers.search.store import Hit, Scope


def ranked(page: str, number: int, score: float) -> Ranked:
    return Ranked(Hit(number, page, page, "", f"{page} {number}", (), 1.0), score, 1.0)


def test_weak_passages_do_not_fill_the_places():
    """A passage with less than half of the best score is left out, though there would be room."""
    hits = [ranked("a", 1, 0.9), ranked("b", 2, 0.5), ranked("c", 3, 0.25)]

    assert [each.hit.path for each in ranking.chosen(hits, 8)] == ["a", "b"]


def test_the_passage_that_says_what_a_thing_is_comes_first():
    """ "What is X?" is answered where a sentence begins with X, or its long name, and says what it is."""
    asked = ranking.question("What is WAL?")
    pages = {
        "settings": "The WAL writer flushes. The segments hold WAL records for a while, and nothing else is in them.",
        "intro": "The log comes first. Write-Ahead Logging (WAL) is a standard method for keeping data whole.",
    }
    with closing(store.in_memory()) as connection:
        for path, text in pages.items():
            store.put(connection, path, Document(path, (Section((), "", (Block(text),)),)))
        found = ranking.rank(connection, asked, Scope())

    assert [each.hit.path for each in found.hits] == ["intro", "settings"]
