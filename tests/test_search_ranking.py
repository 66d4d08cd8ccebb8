"""What is handed on of a ranked list: fewer passages, better ones."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from workers.index import ranking, store
from workers.index.ranking import Ranked
from workers.index.store import Hit, Scope
from workers.reading.document import Block, Document, Section


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


def first(asked: str, *pages: tuple[str, str, str]) -> list[str]:
    """The paths of what is found, best first, in pages of (path, heading, text)."""
    with closing(store.in_memory()) as connection:
        for path, heading, text in pages:
            store.put(connection, path, Document("Manual", (Section((heading,), "", (Block(text),)),)))
        return [each.hit.path for each in ranking.rank(connection, ranking.question(asked), Scope()).hits]


def test_a_grammar_word_before_statement_is_its_name():
    """ "the with statement" asks for `with`; so do quotes."""
    assert ranking.question("What does the with statement do?").terms == ("with", "statement")
    assert ranking.question("What does 'not' do?").terms == ("not",)
    assert ranking.question("What does the other option do?").terms == ("option",)


def test_a_verb_of_two_words_is_found_as_the_noun_and_the_noun_as_the_verb():
    """ "back up" finds "backup", and where a text says it as the question does, that counts as well."""
    found = first(
        "How do I back up a database?",
        ("noun", "Safety", "A backup of the database takes minutes."),
        ("verb", "Safety", "To back up the database, stop it."),
        ("other", "Safety", "Go back to the database."),
    )

    assert set(found[:2]) == {"noun", "verb"}


def test_related_words_lead_to_a_page_but_exact_words_come_first():
    """What the question calls by another name is found, behind what has the question's own words."""
    found = first(
        "How are nodes discovered?",
        ("related", "Start", "Every node sends a registration when it starts."),
        ("exact", "Start", "Nodes are discovered by broadcast when they start."),
        ("neither", "Start", "Fish swim in the sea at night."),
    )

    assert found == ["exact", "related"]


def test_the_passage_under_the_heading_that_is_the_question_comes_first():
    """Of two passages with the same words the one whose heading asks the question is the answer."""
    text = "You may add a column to the table when it is empty, or later."
    found = first("How do I add a column?", ("a", "Types of data", text), ("b", "Adding a column", text + " Do."))

    assert found == ["b", "a"]


def test_a_heading_that_says_just_what_is_asked_for_outweighs_frequent_words():
    """The page of a command comes before pages that speak of it."""
    often = "To create a user, create a policy that any user may create, and the user is there."
    others = [(f"other{number}", "Fish", "Fish swim in the sea at night.") for number in range(4)]
    found = first(
        "How do I create a user?",
        ("policy", "User policies to create", often),
        ("command", "CREATE USER", "The command adds one to the cluster, and it is there from now on for all."),
        *others,
    )

    assert found == ["command", "policy"]


def test_a_heading_that_asks_the_question_has_its_answer():
    """One entry in a list of questions and answers comes before a page that says the words often."""
    often = "Strings are immutable, immutable as numbers, and strings of bytes are immutable strings."
    found = first(
        "Why are strings immutable?",
        ("types", "Immutable types", often + "\n\n" + often),
        (
            "faq",
            "Why are strings in this language immutable? (And other types)",
            "There are several advantages, and one is speed.",
        ),
    )

    assert found == ["faq", "types"]


def test_the_passage_that_explains_an_option_comes_first():
    """ "What does --prune do?" is answered where a list explains it, and by the page of a manual for a command."""
    others = [(f"other{number}", "Fish", "Fish swim in the sea at night.") for number in range(4)]
    often = ("often", "Examples", "Some people use --prune on every day of the week.")
    listed = ("listed", "Options", "-p, --prune \u2014 Before fetching, remove what is gone from the other side.")

    assert first("What does --prune do?", often, listed, *others) == ["listed", "often"]


def test_a_glossary_defines_and_answers_nothing_else():
    """It is looked up for "What is X?" and stands behind explanations for other questions."""
    glossary = ("glossary", "Glossary", "lease \u2014 The time for which an agent is believed.")
    guide = ("guide", "Time", "The time of a lease, which an agent may renew, is short.")

    assert first("What is a lease?", glossary, guide)[0] == "glossary"
    assert first("When is a lease renewed?", glossary, guide)[0] == "guide"


def test_what_covers_little_takes_no_place():
    """Three of a page stand among the first eight where the others answer as well, not where they fill up."""
    of_one = [ranked("a", number, 0.9 - number / 100) for number in range(5)]
    others = [replace(ranked(f"b{number}", 5 + number, 0.5), coverage=0.4) for number in range(5)]

    assert [each.hit.path for each in ranking.chosen(of_one + others, 8)] == ["a"] * 5 + ["b0", "b1", "b2"]


def test_a_page_in_two_formats_counts_once():
    """`guide.html` and `guide.txt` say the same and must not fill the places twice."""
    text = "The tide turns twice a day."
    found = first("When does the tide turn?", ("guide.html", "Tides", text), ("guide.txt", "Tide", text + " So."))

    assert found == ["guide.html"]
