"""Which passages come first, which are left out, and what the words of a question weigh."""

from __future__ import annotations

import random
import string
import time
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.report.model import AskedWord
from workers.index import ranking, spelling, store
from workers.index.ranking import Ranked, Ranking
from workers.index.store import Hit, Scope
from workers.reading.documents.document import Document, DocumentBlock, DocumentSection

OTHERS = [(f"fish{number}", "Fish", f"Fish swim in the sea at night {number}.") for number in range(4)]


def ranked(page: str, number: int, score: float, coverage: float = 1.0) -> Ranked:
    hit = Hit(number, number, page, page, "", f"text {number}", (), score, f"e{number}", "en", "", b"")
    return Ranked(hit, score, coverage)


def found(asked: str, *pages: tuple[str, str, str], title: str = "Manual") -> Ranking:
    """What is found in pages of (path, heading, text)."""
    with closing(store.in_memory()) as connection:
        for path, heading, text in pages:
            blocks = tuple(DocumentBlock(part) for part in text.split("\n\n"))
            store.put_document(connection, path, Document(title, (DocumentSection((heading,), "", blocks),)))
        return ranking.rank(connection, asked, Scope())


def first(asked: str, *pages: tuple[str, str, str], title: str = "Manual") -> list[str]:
    """The paths of what is found, best first."""
    return [each.hit.path for each in found(asked, *pages, title=title).hits]


def searched(asked: str, *pages: tuple[str, str, str]) -> dict[str, str]:
    """What was searched instead of the words of the question that no document has."""
    instead: dict[str, list[str]] = {}
    for word in found(asked, *pages).asked.weights:
        if word.searched:
            instead.setdefault(word.word, []).append(word.searched)
    return {word: " ".join(others) for word, others in instead.items()}


def test_weak_passages_do_not_fill_the_places():
    hits = [ranked("a", 1, 0.9), ranked("b", 2, 0.5), ranked("c", 3, 0.2)]

    assert [each.hit.path for each in ranking.select(hits, 8)] == ["a", "b"]


def test_three_of_a_page_stand_among_the_first_eight():
    of_one = [ranked("a", number, 0.9) for number in range(5)]
    others = [ranked(f"b{number}", 5 + number, 0.5) for number in range(7)]
    paths = [each.hit.path for each in ranking.select(of_one + others, 12)]

    assert paths == ["a"] * 3 + [f"b{number}" for number in range(5)] + ["a", "a", "b5", "b6"]


def test_what_covers_little_takes_no_place():
    """More than three of a page stand among the first eight where the others would only fill up."""
    of_one = [ranked("a", number, 0.9 - number / 100) for number in range(5)]
    others = [ranked(f"b{number}", 5 + number, 0.5, 0.4) for number in range(5)]

    assert [each.hit.path for each in ranking.select(of_one + others, 8)] == ["a"] * 5 + ["b0", "b1", "b2"]


def test_title_heading_and_name_of_the_file_count():
    text = "You may add one to the table when it is empty, or later."

    assert first("How do I add a column?", ("a", "Data", text), ("b", "Columns", text), *OTHERS)[0] == "b"
    assert first("heating invoice", ("letters/heating-2026.txt", "", "The invoice."), ("b", "", "An invoice."))[0] == (
        "letters/heating-2026.txt"
    )


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("How do I back up a database?", "A backup takes minutes."),
        ("How is a backup made?", "Back up before you go."),
        ("What is the lock file?", "A lockfile pins versions."),
        ("What does max tasks mean?", "MAX_TASKS limits them."),
        ("What does --prune do?", "-p, --prune — Before fetching, remove what is gone."),
        ("What is E404?", "The error E404 says so."),
        ("Is C quicker than D?", "C is quicker."),
        ("Wie lege ich einen Benutzer an?", "Einen Benutzer anlegen: so geht das."),
        ("营业时间是什么？", "营业时间是早上九点到晚上六点。"),
        ("会議室はどこですか", "会議室は三階にあります。"),
        ("서버를 어떻게 시작하나요?", "서버가 시작됩니다."),
    ],
)
def test_a_word_is_found_in_another_form(asked, text):
    assert first(asked, ("it", "", text), *OTHERS)[:1] == ["it"]


def test_passages_in_the_language_of_the_question_come_first():
    """A translation stays a document of its own."""
    english = ("en", "Backup", "The backup with Borg runs every night and is kept for a month.")
    german = ("de", "Backup", "Das Backup mit Borg läuft jede Nacht und wird einen Monat aufgehoben.")

    assert first("When does the Borg backup run?", german, english) == ["en", "de"]
    assert first("Wann läuft das Borg-Backup?", english, german) == ["de", "en"]


def test_a_page_in_two_formats_counts_once():
    """`guide.html`, `guide.txt` and a copy elsewhere say the same and must not fill the places three times."""
    text = "The tide turns twice a day, and each time it turns the water stands for a while before it goes back."
    pages = [(path, "Tides", text) for path in ("guide.html", "guide.txt", "old/copy.md")]

    assert len(first("When does the tide turn?", *pages)) == 1


def test_same_name_with_other_text_is_distinct():
    """Two documents of one name are two when they say different things."""
    notes = ("notes.md", "", "The tide turns twice a day, says the almanac on the wall of the harbour office.")
    paper = ("notes.pdf", "", "We saw the tide turn from the cliff, and had our lunch there before it rained.")

    assert set(first("When does the tide turn?", notes, paper)) == {"notes.md", "notes.pdf"}


def test_copies_that_differ_in_a_number_are_both_shown():
    """Two opening times stand side by side: the difference may be what is asked for."""
    text = "The library in the old mill is open from {} o'clock. " + "It lends books, maps and games to everybody. " * 9
    pages = [("new.md", "", text.format("10.30")), ("old.md", "", text.format("9.00"))]

    assert len(first("When does the library open?", *pages)) == 2


@pytest.mark.parametrize(
    ("asked", "text", "instead"),
    [
        ("how do i resart it", "Restart it with the button.", {"resart": "restart"}),
        ("the printr servis", "The printer needs service.", {"printr": "printer", "servis": "service"}),
        ("is there a frewall", "A firewall is there.", {"frewall": "firewall"}),
        ("how to congifure it", "To configure it, open the menu.", {"congifure": "configure"}),
        ("Wo ist der Drukcer?", "Der Drucker steht im Flur.", {"Drukcer": "drucker"}),
        (
            "Wie lange dauert der Pairing-Modus?",
            "Pairing: So geht das, nach zwei Minuten am Knopf. Der Modus endet.",
            {"Pairing-Modus": "Pairing Modus"},
        ),
        ("Wie kalt ist der Serverraum?", "Der Raum mit dem Server ist kalt.", {"Serverraum": "server raum"}),
        ("How do I use Kubernets?", "You use Kubernetes as always.", {}),  # written as a name
        ("Which prot?", "The port is 80.", {}),  # short
        ("Which 8081?", "The port is 8080.", {}),
        ("a wrong tickat", "Thickets are a thing of the past.", {}),
    ],
)
def test_what_nobody_has_is_searched_as_it_was_meant(asked, text, instead):
    assert searched(asked, ("it", "", text), *OTHERS) == instead


def test_spelling_counts_only_beside_other_words():
    """ "A filter for the morter" is no question about a mortar where filters are not spoken of."""
    apart = [("a", "", "The filter of the pump."), ("b", "", "Mix the mortar well.")]

    assert searched("Which filter has the morter?", *apart, *OTHERS) == {}
    assert searched("Which filter has the morter?", ("a", "", "Filter the mortar."), *OTHERS) == {"morter": "mortar"}


def test_words_say_what_they_weigh_and_who_has_them():
    """The weight is log(1 + N / (1 + n)) of all N passages."""
    words = found("How deep is the harbour?", ("it", "", "The harbour."), *OTHERS).asked.weights

    assert words == (
        AskedWord(word="deep", weight=1.792, passages=0),
        AskedWord(word="harbour", weight=1.253, passages=1),
    )


def test_pair_across_two_words_weighs_nothing():
    """A pair of characters that joins two words weighs nothing."""
    words = found("数据库备份", ("it", "", "备份在晚上。数据库很大。"), *OTHERS).asked.weights

    assert {word.word: word.weight > 0 for word in words} == {
        "数据": True,
        "据库": True,
        "库备": False,
        "备份": True,
    }


def test_what_a_document_said_before_is_gone_with_it():
    """The terms are taken out as they were put in, and a word that nobody has any longer corrects nothing."""
    with closing(store.in_memory()) as connection:
        old, new = (
            Document("Café", (DocumentSection((), "", (DocumentBlock(text),)),))
            for text in ("Der Kühlraum", "The cellar")
        )
        store.put_document(connection, "a.md", old)
        store.put_document(connection, "b.md", new)
        store.put_document(connection, "a.md", new)
        store.remove(connection, "b.md")

        assert store.matching(connection, '"kuhlraum"') == set()
        assert len(store.matching(connection, '"cellar"')) == 1
        assert connection.execute("SELECT word, pages FROM word").fetchall() == [
            ("café", 1),
            ("cellar", 1),
            ("the", 1),
        ]
        connection.execute("INSERT INTO found (found) VALUES ('integrity-check')")


@given(
    st.text(alphabet=st.sampled_from("aÉı1 _-.,+#'\"`„«*:()?\n\0\x1b\u0301\u0345\u200d\u202eß中あーﾞ한กㅤ🦭"), max_size=40)
)
def test_any_question_is_one(asked):
    """What is syntax to the search, marks without letters, and what is no word at all."""
    found(asked, ("a.md", "A _ B", "a-\u0301 a_b 中あー한ก."))


@pytest.mark.parametrize("asked", ["What does _ mean?", "__ \u0301 mean"])
def test_symbols_are_no_words(asked):
    """What has no letters is no word of a question."""
    assert first(asked, ("a.md", "Names", "Underscores mean nothing.")) == ["a.md"]


@pytest.mark.parametrize(
    "asked", ["a-" * 20_000, "„" * 20_000, "'" + "a" * 20_000, "カナ" * 10_000, "a" * 100_000, "in-out " * 10_000]
)
def test_no_question_takes_long(asked):
    pages = [(f"{number}.md", "A", f"a in out カナ {number}") for number in range(2_000)]
    with closing(store.in_memory()) as connection:
        for path, heading, text in pages:
            store.put_document(
                connection, path, Document("A", (DocumentSection((heading,), "", (DocumentBlock(text),)),))
            )
        began = time.process_time()
        ranking.rank(connection, asked, Scope())

        assert time.process_time() - began < 2


def test_spelling_is_quick_among_many_words():
    chance = random.Random(1)
    many = {"".join(chance.choices(string.ascii_lowercase, k=chance.randint(5, 12))) for _ in range(200_000)}
    with closing(store.in_memory()) as connection:
        connection.executemany("INSERT INTO word VALUES (?, 1)", [(word,) for word in many | {"configuration"}])
        began = time.process_time()
        nearest = spelling.near(connection, "confugiratoin")
        took = time.process_time() - began

        assert spelling.near(connection, "confguration")[0] == "configuration"
    assert nearest == []  # three mistakes
    assert took < 0.3  # 0.02 s on an idle machine


def test_ranking_is_quick_among_many_passages():
    """20,000 passages: 50 ms are allowed on an idle machine, ten times that in a test."""
    chance = random.Random(1)
    names = ["".join(chance.choices(string.ascii_lowercase, k=7)) for _ in range(3_000)]
    with closing(store.in_memory()) as connection:
        connection.execute("BEGIN")
        for page in range(200):
            texts = (" ".join(["backup", *chance.choices(names, k=25)]) for _ in range(100))
            sections = (
                DocumentSection((f"Part {number}",), "", (DocumentBlock(text),)) for number, text in enumerate(texts)
            )
            store.put_document(connection, f"{page}.md", Document(f"Page {page}", tuple(sections)))
        connection.execute("COMMIT")
        began = time.process_time()
        hits = ranking.rank(connection, f"When is the backup of the {names[0]} and {names[1]} made?", Scope()).hits
        took = time.process_time() - began

    assert hits
    assert took < 0.5
