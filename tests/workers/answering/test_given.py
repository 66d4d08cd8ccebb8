"""A text handed to the analyzer or the reporter by itself, in a chat or a plan of one step, is read as a document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.agent import Agent, Reply
from shared.contracts import StepRequest
from shared.conversation import Ask, Message
from tests.support.fakes import Suite
from tests.workers.test_analyzer import Ctx
from workers import analyzer, reporter
from workers.answering.given import PASSAGE_CHARACTERS, collect_input

KEPT = "The broker keeps messages for seven days by default."
TEXT = f"{KEPT}\n\nThe kitchen is painted green."
ASKED = "How long does the broker keep messages?"


def step(input: Any, description: str | None = None, **fields: Any) -> StepRequest:
    described = description if description is not None else input if isinstance(input, str) else ""
    return StepRequest(task_id="t", step_id="chat", task_description=described, input=input, **fields)


def chat(*turns: str) -> Ask:
    roles: tuple[Any, ...] = ("user", "assistant")
    return Ask(tuple(Message(roles[n % 2], text) for n, text in enumerate(turns)))


def texts(documents: dict[str, Any]) -> list[str]:
    return [e["text"] for d in documents.values() for e in d["evidence"]]


@pytest.mark.parametrize("message", [f"{ASKED}\n\n{TEXT}", f"{ASKED} {TEXT}", f"{TEXT}\n\n{ASKED}", f"{TEXT} {ASKED}"])
def test_a_message_holds_a_question_and_a_text(message: str) -> None:
    found = collect_input(step(message))

    assert (found.question, texts(found.documents)) == (ASKED, [TEXT])


def test_question_after_a_long_text_is_found() -> None:
    """A question after a long text is found and one that never comes is not looked for for ever."""
    long = "\n".join([KEPT] * 1_000)

    assert collect_input(step(f"{long}\n{ASKED}")).question == ASKED
    assert collect_input(step("a" + "\n" * 100_000 + "b")).question == ""  # took seven minutes


def test_a_text_without_a_question_asks_nothing() -> None:
    found = collect_input(step(TEXT))

    assert (found.question, texts(found.documents), found.missing) == ("", [TEXT], ())


def test_a_question_alone_says_that_a_text_is_missing() -> None:
    found = collect_input(step(ASKED))

    assert (found.question, found.documents) == (ASKED, {})
    assert found.missing[0].why == "There was only a question. Send the text to answer it from, too."


def test_text_beside_a_description_is_its_document() -> None:
    """A text beside a description is the document of that question."""
    for input in (TEXT, {"text": TEXT}, {"text": TEXT, "question": ASKED}):
        found = collect_input(step(input, ASKED))

        assert (found.question, texts(found.documents)) == (ASKED, [TEXT])


def test_earlier_turns_are_documents() -> None:
    ask = chat(TEXT, "What do you want to know?", ASKED)
    messages = [{"role": m.role, "content": m.content} for m in ask.messages[:-1]]

    by_chat = collect_input(step(ASKED), ask)
    by_context = collect_input(
        step(ASKED, context={"messages": [*messages, 3, {"role": 1}, {"role": "system", "content": "x"}]})
    )

    assert (by_chat.question, texts(by_chat.documents)) == (ASKED, [TEXT, "What do you want to know?"])
    assert by_context == by_chat


def test_a_question_that_others_follow_is_no_document() -> None:
    ask = Ask((Message("user", TEXT), Message("user", ASKED), Message("system", "Be brief.")))

    found = collect_input(step(ASKED), ask)

    assert (found.question, texts(found.documents)) == (ASKED, [TEXT])


def test_what_steps_before_delivered_comes_first() -> None:
    upstream: dict[str, Any] = {"research": {"evidence": []}}

    found = collect_input(step(TEXT, ASKED, upstream=upstream))

    assert (found.question, found.documents) == (ASKED, upstream)


def test_long_text_is_cut_at_blank_lines() -> None:
    """A long text is cut at its blank lines and none is lost."""
    paragraphs = [f"Paragraph {n} says this. " * 20 for n in range(400)]
    paragraphs.append("x" * (3 * PASSAGE_CHARACTERS))
    message = "\n\n".join(paragraphs)

    passages = texts(collect_input(step(message)).documents)

    assert max(map(len, passages)) <= PASSAGE_CHARACTERS + 2
    assert "".join(passages).replace("\n", "") == message.replace("\n", "").strip()


async def answered(worker: Any, asked: StepRequest, *, seconds: float = 30) -> Reply:
    agent: Agent = worker.agent(Path("unused"))
    async with agent.open() as state:
        return await agent.run(asked, Ctx(seconds, state))


@pytest.mark.parametrize(
    "input", [None, "", "  ", {}, {"format": "html"}, {"text": 3}, [], [None], "None", "🦀", "\x00"]
)
@pytest.mark.parametrize("worker", [analyzer, reporter])
async def test_odd_inputs_are_answered(worker: Any, input: Any) -> None:
    reply = await answered(worker, step(input))

    assert isinstance(reply.output, dict)


@pytest.mark.parametrize("message", [f"{ASKED}\n\n{TEXT}", json.dumps([{"text": TEXT, "question": ASKED}])])
async def test_analyzer_and_reporter_answer_from_chat_text(message: str) -> None:
    """Analyzer and reporter answer from the text of a chat."""
    analysed = await answered(analyzer, step(message))
    reported = await answered(reporter, step(message))

    assert isinstance(analysed.output, dict)
    assert [f["statement"].startswith(KEPT) for f in analysed.output["findings"]] == [True]
    assert KEPT in str(reported.output)


@pytest.mark.parametrize("worker", [analyzer, reporter])
async def test_megabyte_is_read_as_time_allows(worker: Any) -> None:
    """The step ends with an answer from what was read, and says so."""
    message = f"{ASKED} " + "\n\n".join(f"{KEPT} Passage {n} says more of it." for n in range(15_000))

    reply = await answered(worker, step(message), seconds=0.1)

    assert len(message) > 1_000_000
    assert KEPT in str(reply.output)
    assert "Time ran out: " in str(reply.output)


async def test_plan_of_one_step_answers_from_its_text(coordinator: Suite) -> None:
    """A plan of one step answers from the text it was given."""
    await coordinator.add(analyzer.agent(Path("unused")))

    task = await coordinator.execute(ASKED, plan=[{"id": "a", "agent": "analyzer", "input": TEXT}])

    output = task.results[0].output
    assert isinstance(output, dict)
    assert [f["statement"].startswith(KEPT) for f in output["findings"]] == [True]
    assert output["sources"][0]["location"] == "your text"
