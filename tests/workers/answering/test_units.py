"""A passage's text is cut into units that can be shown whole: nothing of a list, a table or code is glued or lost."""

from __future__ import annotations

import time

import pytest

from workers.answering.units import MAX_SENTENCE, split_units

LOCKS = "There are three kinds of locks.\n\n- shared, for readers\n\n- exclusive\n\n1. Ask.\n\n2. Wait."


def kinds(text: str) -> list[tuple[str, str]]:
    return [(unit.kind, unit.text) for unit in split_units(text)]


def test_prose_is_cut_into_sentences():
    units = split_units("The first one. The second, e.g. This one!\nThe third?")

    assert [u.text for u in units] == ["The first one.", "The second, e.g. This one!", "The third?"]
    assert [u.before for u in units] == ["", " ", " "]


@pytest.mark.parametrize("text", ["营业时间是早上九点。到晚上六点！", "会議室は三階にあります。鍵は机の上です。"])
def test_text_without_spaces_has_sentences_too(text):
    assert len(split_units(text)) == 2


def test_items_and_steps_keep_their_marks_and_stand_together():
    units = split_units(LOCKS)

    assert [u.text for u in units][1:] == ["- shared, for readers", "- exclusive", "1. Ask.", "2. Wait."]
    assert [u.before for u in units] == ["", "\n\n", "\n", "\n", "\n"]


def test_what_stands_before_a_list_announces_it():
    """Whether it ends in a colon or not."""
    assert [u.announces for u in split_units(LOCKS)] == [True, False, False, False, False]
    assert split_units("Note this:\n\nAnd that.")[0].announces


@pytest.mark.parametrize(
    "line",
    [
        "- an item",
        "  - a nested item",
        "3) a step",
        "PORT | Default: 8000 | Meaning: where it listens",
        "-q, --quiet — Print nothing.",
        "Next service: May 2027",
    ],
)
def test_meaningful_line_is_one_unit(line):
    """A line that says something by itself is one unit."""
    assert kinds(f"Some words.\n\n{line}\n\nMore words.")[1] == ("item", line)


def test_lines_of_a_list_in_one_block_are_units():
    """As foreign agents send Markdown."""
    assert kinds("Steps:\n1. Open it\n   with care.\n2. Close it.") == [
        ("sentence", "Steps:"),
        ("item", "1. Open it with care."),
        ("item", "2. Close it."),
    ]


def test_code_keeps_its_lines():
    assert kinds("Run this:\n\n    a = 1\n    b = 2\n\nThen go.")[1] == ("code", "    a = 1\n    b = 2")
    assert kinds("```sh\nmake\n```\nDone.")[0] == ("code", "    make")


@pytest.mark.parametrize("line", ["• a bullet", "           *   a bullet", "· a bullet"])
def test_every_bullet_is_a_dash(line):
    """Whatever a format draws, a reader sees one kind of list."""
    assert kinds(line) == [("item", "- a bullet")]


def test_list_inside_a_paragraph_is_a_list():
    """As some PDF files give it."""
    assert kinds("Be polite. • Ask seldom. • Say who you are.")[1:] == [
        ("item", "- Ask seldom."),
        ("item", "- Say who you are."),
    ]


def test_long_definition_is_its_first_sentence():
    """A long definition is its first sentence and what follows."""
    text = "--since — Show newer ones. " + "It has a long story. " * 20

    assert [u.kind for u in split_units(text)][:3] == ["item", "sentence", "sentence"]


def test_text_without_an_end_is_cut():
    units = split_units("word " * 1_000 + "x" * 5_000)

    assert max(len(u.text) for u in units) <= MAX_SENTENCE
    assert sum(u.text.count("x") for u in units) == 5_000


@pytest.mark.parametrize(
    "text", [". " * 20_000, "." * 40_000, "a: " * 20_000, "- " * 20_000, "\n" * 40_000, "(" * 40_000]
)
def test_hostile_text_takes_no_time(text):
    began = time.process_time()

    split_units(text)

    assert time.process_time() - began < 2
