"""The analyzer: what it shows as an answer, and what it makes of evidence in other shapes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from shared import logs
from shared.agent import Reply
from shared.contracts import StepRequest
from shared.conversation import Ask
from shared.limits.envelope import Envelope
from shared.report.model import Analysis, AskedWord, Evidence, Research
from workers import analyzer
from workers.answering.analysis import analyse
from workers.answering.intake import intake

QUESTION = "How long does the broker keep messages?"
KEPT = "The broker keeps messages for seven days by default."
LOSSES = "Messages of the broker are kept on disk until they expire."


class Ctx:
    """What a step may use, with a fixed time left."""

    http: Any = None
    log: Any = logs.get()
    ask: Ask | None = None
    envelope = Envelope(task="t", step="s", attempt=1, milliseconds=30_000)

    def __init__(self, seconds: float = 30, state: Any = None) -> None:
        self.seconds = seconds
        self.state = state

    def seconds_left(self) -> float:
        return self.seconds

    async def progress(self, message: str, fraction: float | None = None, *, report: Any = None) -> None: ...

    async def say(self, text: str) -> None: ...


def evidence(text: str, place: str = "a.md", **fields: Any) -> Evidence:
    fields = {"id": f"{place}:{text[:20]}", "title": place, "location": place, "score": 0.5, "text": text} | fields
    return Evidence(**fields)


def research(*items: Evidence, question: str = QUESTION, words: list[AskedWord] | None = None) -> dict[str, Any]:
    return Research(
        question=question, provider="local", searched="two files", evidence=list(items), words=words or []
    ).model_dump()


async def analysed(upstream: dict[str, Any], question: str = QUESTION, seconds: float = 30) -> tuple[Analysis, Reply]:
    step = StepRequest(task_id="t", step_id="analyze", task_description=question, upstream=upstream)
    reply = await analyzer.agent(Path("unused")).run(step, Ctx(seconds, analyzer.AnalyzerServices()))
    return Analysis.model_validate(reply.output), reply


def asked(question: str, *items: Evidence) -> Analysis:
    return analyse(question, intake({"r": research(*items, question=question)}))


def answers(question: str, *items: Evidence) -> list[str]:
    """What is shown as the answer."""
    return [f.statement for f in asked(question, *items).findings if f.answers]


# --- what is shown


async def test_answer_is_quoted_with_its_evidence():
    """A finding stands in the passage it cites, and every id stands in the sources."""
    found, _ = await analysed(
        {"research": research(evidence(f"{KEPT} Clients may change it."), evidence(LOSSES, "b.md"))}
    )

    texts = {source.id: source.text for source in found.sources}
    assert found.findings[0].statement == f"{KEPT} Clients may change it."
    assert all(f.statement in texts[f.evidence[0]] for f in found.findings)
    assert (found.answered, found.searched, found.thin) == (True, ["two files"], False)


def test_a_list_is_shown_with_what_announces_it():
    locks = "There are three kinds of locks:\n\n- shared locks\n\n- exclusive locks\n\n- update locks"
    other = "Locks are released when the work ends. " * 12

    assert answers("Which kinds of locks are there?", evidence(f"{other}\n\n{locks}"))[0].endswith(
        "There are three kinds of locks:\n\n- shared locks\n- exclusive locks\n- update locks"
    )


def test_a_list_under_a_heading_is_shown_whole():
    """A recipe: the heading has the question's words, the steps have none."""
    steps = "\n\n".join(f"{n}. Do part {n} of the work with care and patience." for n in range(1, 10))
    bread = evidence(steps, title="Flatbread", heading="Steps")

    assert "9. Do part 9" in answers("How do I make flatbread?", bread)[0]


def test_options_of_a_manual_page_are_shown_together():
    text = "-q, --quiet — Give less output.\n\n-v, --verbose — Give more output.\n\n--since — Show newer ones."

    shown = answers("Which options say how much output there is?", evidence(text, heading="Options"))[0]

    assert "--quiet" in shown
    assert "--verbose" in shown


def test_the_heading_may_hold_what_is_asked():
    """ "What to do" under "The mail queue grows" says none of that again."""
    todo = evidence("Restart the relay. Look at the disk.", heading="The mail queue grows › What to do", score=0.9)
    what = evidence("The mail queue holds letters that wait.", "b.md", heading="The mail queue", score=0.6)

    assert answers("What do I do when the mail queue grows?", what, todo)[0].startswith("Restart the relay.")


def test_the_name_of_a_folder_is_a_heading_too():
    """A recipe need not say that it is one."""
    dal = evidence("- 250 g red lentils\n\n- 1 onion", "recipes/dal.md#ingredients", title="Dal")

    assert answers("Which recipes use lentils?", dal) == ["- 250 g red lentils\n- 1 onion"]


def test_a_heading_that_repeats_the_question_is_answered_below():
    below = evidence("Its battery is empty after ten years.", heading="Why is the clock wrong?")

    assert answers("Why is the clock wrong?", below) == ["Its battery is empty after ten years."]


@pytest.mark.parametrize(
    "text",
    [
        "We decided to keep backups for 30 days.",
        "It was decided that backups stay for 30 days.",
        "They decided on daily backups.",
        "This is what we decided about backups.",
        "Us: backups decided. Them: not decided.",
    ],
)
def test_any_words_at_the_beginning_may_answer(text):
    assert answers("What did we decide about backups?", evidence(text, "backups.md", title="Backups")) == [text]


def test_labels_answer_both_parts_of_a_question():
    text = "- Next service: May 2027\n\n- Last invoice: 190.00 EUR"

    shown = answers(
        "When is the next heating service, and what did the last one cost?", evidence(text, title="Heating")
    )

    assert "May 2027" in shown[0]
    assert "190.00 EUR" in shown[0]


def test_conflicting_numbers_are_shown_side_by_side():
    """Nobody can know which is right: a reader must see both, each with its source."""
    one = evidence("The office opens at 9.00 on Monday.", "a.md")
    two = evidence("The office opens at 10.30 on Monday.", "b.md")

    shown = answers("When does the office open on Monday?", one, two)

    assert shown == [one.text, two.text]


async def test_agreeing_source_is_cited_too():
    """One statement with two sources, not two statements."""
    same = "By default, the broker keeps messages for seven days."

    found, _ = await analysed({"r": research(evidence(KEPT), evidence(same, "b.md"))})

    assert [(f.statement, len(f.evidence)) for f in found.findings] == [(KEPT, 2)]


async def test_the_same_evidence_from_two_steps_is_one_source():
    item = evidence(KEPT, id="e1")
    upstream = {"r1": research(item), "r2": research(item, question="Which messages does the broker keep?")}

    found, _ = await analysed(upstream)

    assert [source.id for source in found.sources] == ["e1"]
    assert [f.statement for f in found.findings] == [KEPT]


async def test_each_part_of_a_question_gets_its_answer():
    """Ten good answers to one part leave room for the one answer to the other."""
    many = [
        evidence(f"The broker keeps messages of kind {k} for {n} days.", f"{k}.md") for n, k in enumerate("abcdefghij")
    ]
    ports = "Which port does the console use?"
    one = evidence("The console uses port 7480 unless told otherwise.", "ports.md")

    found, _ = await analysed({"r1": research(*many), "r2": research(one, question=ports)}, "Tell me about the broker.")

    assert one.text in [f.statement for f in found.findings if f.answers]
    assert {f.question for f in found.findings if f.answers} == {QUESTION, ports}


def test_a_part_is_shown_as_it_was_asked():
    """What it points back at was added for the search."""
    parts = ("What is a lease?", "How long does it last? (lease)")
    upstream = {part: research(evidence("A lease lasts for 6 seconds."), question=part) for part in parts}

    found = analyse("What is a lease and how long does it last?", intake(upstream))

    assert {f.question for f in found.findings} <= {"What is a lease?", "How long does it last?"}


# --- what is admitted


@pytest.mark.parametrize(
    "text",
    [
        "The festival lasts for several days and attracts many people.",
        "Bread keeps for a week in a box of wood.",
        "| a | b |",
    ],
)
async def test_a_stray_word_of_the_question_is_no_answer(text):
    """It is shown as what comes nearest, and not as an answer."""
    found, _ = await analysed({"r": research(evidence(text))})

    assert found.answered is False
    assert found.confidence < 0.5
    assert not any(f.answers for f in found.findings)


async def test_no_evidence_is_no_answer():
    found, reply = await analysed({"r": research()})

    assert (found.answered, found.confidence, found.thin) == (False, 0.0, True)
    assert reply.missing == []


@pytest.mark.parametrize("name", ["zorblatt", "Zorblatt"])
async def test_without_the_name_asked_for_there_is_no_answer(name):
    """Statements on other protocols do not answer a question on one that no document knows."""
    items = [evidence("The timeout of the protocol is 30 seconds by default.", f"{n}.md") for n in range(3)]
    words = [
        AskedWord(word=name.lower(), weight=6.0, passages=0),
        AskedWord(word="protocol", weight=2.0, passages=90),
        AskedWord(word="timeout", weight=2.5, passages=50),
    ]

    found, _ = await analysed({"r": research(*items, question=f"What is the {name} protocol timeout?", words=words)})

    assert found.answered is False
    assert [w.word for w in found.words if not w.passages] == [name.lower()]


def test_respelled_word_counts_as_found():
    """A word that was searched in another spelling counts as found."""
    words = [AskedWord(word="firewal", searched="firewall", weight=3.0, passages=4)]
    items = [evidence("The firewall drops all packets.")]
    question = "What does the firewal do?"

    found = analyse(question, intake({"r": research(*items, question=question, words=words)}))

    assert (found.answered, found.words[0].searched) == (True, "firewall")


# --- evidence in other shapes


@pytest.mark.parametrize(
    "output",
    [
        KEPT,
        [KEPT],
        {"text": KEPT},
        {"answer": KEPT},
        {"evidence": [{"text": KEPT}]},
        {"evidence": [{"content": KEPT, "url": "https://a.test/x", "score": 10**400}, {"title": "no text"}]},
        {"results": [{"snippet": KEPT, "link": "https://a.test/x"}]},
        {"documents": [KEPT, None, 3]},
        '{"evidence": [{"text": "' + KEPT + '"}]}',
    ],
)
async def test_other_shapes_become_evidence(output):
    """Foreign workers send strings, lists and objects; what holds text is used."""
    found, _ = await analysed({"foreign": output})

    assert [f.statement for f in found.findings] == [KEPT]


@pytest.mark.parametrize(
    "output", [None, 42, True, {}, {"x": [1]}, [None, 3], {"evidence": [{"id": "only"}]}, {"evidence": "no"}]
)
async def test_what_cannot_be_used_is_named(output):
    """Nothing crashes, and nothing disappears without a word."""
    found, reply = await analysed({"foreign": output})

    assert found.thin
    assert "foreign" in reply.missing[0].what


async def test_nothing_upstream_is_thin():
    found, _ = await analysed({})

    assert found.thin


async def test_too_much_evidence_ends_in_time_and_says_so():
    """Two thousand passages and little time: the best are read, and the note says how many."""
    text = " ".join(f"The broker keeps messages of topic {n} for {n} days." for n in range(40))
    items = [evidence(text + str(n), f"{n}.md", id=str(n), score=n / 2_000) for n in range(2_000)]

    found, _ = await analysed({"r": research(*items)}, seconds=0.5)

    assert found.findings
    assert any(note.startswith("Time ran out") for note in found.notes)


async def test_the_loop_stays_free_while_an_analysis_runs():
    """Cancelling and health checks are answered meanwhile."""
    items = [evidence(" ".join([KEPT, LOSSES] * 30), f"{n}.md", id=str(n)) for n in range(200)]
    turns = 0

    async def turning() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    ticker = asyncio.create_task(turning())
    await analysed({"r": research(*items)})
    ticker.cancel()

    assert turns >= 10  # one long block of the loop would leave it one or two


def test_the_agent_names_its_capability():
    agent = analyzer.agent(Path("unused"))

    assert (agent.name, agent.capabilities) == ("analyzer", ("analyze",))
