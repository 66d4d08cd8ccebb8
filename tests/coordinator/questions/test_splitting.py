"""What a description asks: natural questions and the parts a person would see in them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.questions.splitting import MAX_PARTS, parts

ONE = [
    "Why are there tides?",
    "why",
    "What is the difference between TCP and UDP?",
    "What are the pros and cons of microservices?",
    "Should I use REST or GraphQL?",
    "How and why do birds migrate?",
    "When and where was Einstein born?",
    "Which is faster, A or B, and by how much?",
    "Compare Postgres and SQLite for embedded use.",
    "Write a report about coral bleaching.",
    "Summarise the causes of World War I and its consequences.",
    "Please tell me what a monad is and how it is used in Haskell.",
    "What happens when I type a URL into a browser and press enter?",
    "Explain what happens when the disk is full and what the user sees.",
    "Do I know what I want and who I am?",
    "What did Einstein say about what we know and how we know it?",
    "What does the report say about who is responsible and why?",
    "Does Muster lose tasks when it is killed, and if so which ones?",
    "I have a table with 10 million rows. How do I add a column without locking it?",
    "Context: we run on one box.\n\nQuestion: how do we scale out?",
    "Steps tried:\n- restart\n- reinstall\n\nWhy does it still fail?",
    "Hello! How are you?",
    "Wie funktionieren Wärmepumpen und was kosten sie?",
]

SEVERAL = {
    "What is WAL and how does it survive a crash?": ["What is WAL?", "How does it survive a crash? (WAL)"],
    "What is the capital of France and what is its population?": [
        "What is the capital of France?",
        "What is its population? (capital France)",
    ],
    "How do heat pumps work, what do they cost and how long do they last?": [
        "How do heat pumps work?",
        "What do they cost? (heat pumps work)",
        "How long do they last? (heat pumps work)",
    ],
    "Who wrote Hamlet, and when was it first performed?": [
        "Who wrote Hamlet?",
        "When was it first performed? (wrote Hamlet)",
    ],
    "Who was Ada Lovelace; what did she write?": ["Who was Ada Lovelace?", "What did she write? (Ada Lovelace)"],
    "What causes inflation? How can it be reduced? Who decides?": [
        "What causes inflation?",
        "How can it be reduced? (causes inflation)",
        "Who decides?",
    ],
    "What is Python? What is Python used for?": ["What is Python?", "What is Python used for?"],
    "What is Python? What is Python?": ["What is Python?"],
    "1. What is RAG?\n2. When is it better than fine-tuning?": [
        "What is RAG?",
        "When is it better than fine-tuning? (RAG)",
    ],
    "- solar power\n- wind power\n- hydro power": ["solar power", "wind power", "hydro power"],
    "What are the risks of:\n* smoking\n* drinking": [
        "What are the risks of: smoking",
        "What are the risks of: drinking",
    ],
}


@pytest.mark.parametrize("text", ONE)
def test_one_question_stays_whole(text: str) -> None:
    assert parts(text) == [text]


@pytest.mark.parametrize("text", SEVERAL)
def test_questions_are_split_in_order_with_their_topic(text: str) -> None:
    """Several questions are taken apart in order and keep what they are about."""
    assert parts(text) == SEVERAL[text]


def test_more_than_eight_questions_become_eight() -> None:
    """More than eight questions become eight and none is lost."""
    asked = [f"What is number {i}?" for i in range(12)]

    found = parts(" ".join(asked))

    assert len(found) == MAX_PARTS
    assert found[:7] == asked[:7]
    assert all(question in found[7] for question in asked[7:])


@given(st.text(alphabet="ab ?.,;\n-1é whatndhowi", max_size=200))
def test_any_text_gives_one_to_eight_parts(text: str) -> None:
    """Any text gives one to eight parts that say something."""
    found = parts(text)

    assert 1 <= len(found) <= MAX_PARTS
    assert len(found) == 1 or all(part.strip() for part in found)


@pytest.mark.parametrize("piece", ["\n", "\n \n", "  \n", "- ", "1. ", "? ", "and what "])
def test_no_description_takes_long(piece: str) -> None:
    began = time.process_time()
    parts("Tides.\n" + piece * (100_000 // len(piece)) + "\nWhat is it?")

    assert time.process_time() - began < 2
