"""The analyzer: what it finds in evidence, and what it makes of evidence in other shapes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from shared import logs
from shared.answering import Ask
from shared.contracts import StepRequest
from shared.definition import Reply
from shared.envelope import Envelope
from shared.report import Analysis, Evidence, Research
from workers import analyzer
from workers.analyzer import analyse
from workers.answering.intake import intake

QUESTION = "How long does the broker keep messages?"
KEPT = "The broker keeps messages for seven days by default."
LOSSES = "Messages of the broker are kept on disk until they expire."


class Ctx:
    """What a step may use, with a fixed time left."""

    state: Any = None
    http: Any = None
    log: Any = logs.get()
    ask: Ask | None = None
    envelope = Envelope(task="t", step="s", attempt=1, milliseconds=30_000)

    def __init__(self, seconds: float = 30) -> None:
        self.seconds = seconds

    def seconds_left(self) -> float:
        return self.seconds

    async def progress(self, message: str, fraction: float | None = None) -> None: ...

    async def say(self, text: str) -> None: ...


def evidence(text: str, place: str = "a.md", **fields: Any) -> Evidence:
    fields = {"id": f"{place}:{text[:20]}", "title": place, "location": place, "score": 0.5, "text": text} | fields
    return Evidence(**fields)


def research(*items: Evidence, question: str = QUESTION) -> dict[str, Any]:
    return Research(question=question, provider="local", searched="two files", evidence=list(items)).model_dump()


async def analysed(upstream: dict[str, Any], question: str = QUESTION, seconds: float = 30) -> tuple[Analysis, Reply]:
    step = StepRequest(task_id="t", step_id="analyze", task_description=question, upstream=upstream)
    reply = await analyzer.agent(Path("unused")).run(step, Ctx(seconds))
    return Analysis.model_validate(reply.output), reply


async def test_findings_are_quoted_and_point_at_their_evidence():
    """A finding is a sentence of the passage it cites, and every id stands in the sources."""
    found, _ = await analysed(
        {"research": research(evidence(f"{KEPT} Clients may change it."), evidence(LOSSES, "b.md"))}
    )

    texts = {source.id: source.text for source in found.sources}
    assert found.findings[0].statement == KEPT
    assert all(f.statement in texts[f.evidence[0]] for f in found.findings)
    assert found.searched == ["two files"]
    assert not found.thin


async def test_support_follows_its_rule():
    """Strong with a second document, moderate with one that states it, weak where it is contradicted."""
    same = "By default the broker keeps messages for 7 days."
    other = "The broker keeps messages for 14 days by default."

    strong, _ = await analysed({"r": research(evidence(KEPT), evidence(same, "b.md"))})
    moderate, _ = await analysed({"r": research(evidence(KEPT))})
    weak, _ = await analysed({"r": research(evidence(KEPT), evidence(other, "b.md"))})

    assert [s.findings[0].support for s in (strong, moderate, weak)] == ["strong", "moderate", "weak"]
    assert len(strong.findings[0].evidence) == 2
    assert len(weak.contradictions[0].sides) == 2
    assert any("Support is strong where" in note for note in moderate.notes)


async def test_passages_of_one_document_do_not_support_each_other():
    """`a.md#x` and `a.md#y` are one document."""
    found, _ = await analysed({"r": research(evidence(KEPT, "a.md#x"), evidence(KEPT, "a.md#y"))})

    assert found.agreements == []
    assert found.findings[0].support == "moderate"


async def test_the_same_evidence_from_two_steps_is_one_source():
    """Two sub-questions found the same passage: one source, findings for both."""
    item = evidence(KEPT, id="e1")
    upstream = {"r1": research(item), "r2": research(item, question="Which messages does the broker keep?")}

    found, _ = await analysed(upstream)

    assert [source.id for source in found.sources] == ["e1"]


async def test_every_sub_question_gets_its_share():
    """Ten good answers to one question leave room for the one answer to the other."""
    many = [
        evidence(f"The broker keeps messages of kind {k} for {n} days.", f"{k}.md")
        for n, k in enumerate("abcdefghij", 2)
    ]
    ports = "Which port does the console use?"
    one = evidence("The console uses port 7480 unless told otherwise.", "ports.md")

    found, _ = await analysed({"r1": research(*many), "r2": research(one, question=ports)}, "Tell me about the broker.")

    assert {f.question for f in found.findings} == {QUESTION, ports}


@pytest.mark.parametrize(
    "text",
    [
        "The festival lasts for several days and attracts many people.",
        "Bread keeps for a week in a box of wood.",
        "",
        "| a | b |",
        "broker messages keep long",
    ],
)
async def test_thin_evidence_is_said_to_be_thin(text):
    """A stray common word of the question makes no finding."""
    found, _ = await analysed({"r": research(evidence(text))})

    assert found.thin
    assert found.findings == found.agreements == found.contradictions == []


@pytest.mark.parametrize("name", ["zorblatt", "Zorblatt"])
async def test_without_the_name_asked_for_there_is_no_answer(name):
    """Statements on other protocols do not answer a question on one that no source knows."""
    items = [evidence("The timeout of the protocol is 30 seconds by default.", f"{n}.md") for n in range(3)]

    found, _ = await analysed({"r": research(*items, question=f"What is the {name} protocol timeout?")})

    assert found.thin


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


async def test_an_empty_research_is_no_fault():
    """Finding nothing is a result: the step delivered."""
    found, reply = await analysed({"r": research()})

    assert found.thin
    assert reply.missing == []


async def test_nothing_upstream_is_thin():
    found, _ = await analysed({})

    assert found.thin


async def test_too_much_evidence_ends_in_time_and_says_so():
    """Two thousand passages and little time: the best are read, and the note says how many."""
    text = " ".join(f"The broker keeps messages of topic {n} for {n} days." for n in range(40))
    items = [evidence(text, f"{n}.md", id=str(n), score=n / 2_000) for n in range(2_000)]

    found, _ = await analysed({"r": research(*items)}, seconds=1)

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


def statements(question: str, *items: Evidence) -> list[str]:
    """The statements of the findings for one question."""
    return [f.statement for f in analyse(question, intake({"r": research(*items, question=question)})).findings]


def test_the_name_of_the_product_tells_nothing_apart():
    """A name that every passage has counts as a common word: the rest of the question decides."""
    answer = "The journal survives a crash because every record is written twice."
    stray = "A file that was written by a newer Zorb is refused."
    items = [evidence(f"Zorb has a part number {n}.", f"{n}.md") for n in range(5)]

    found = statements("How does Zorb survive a crash?", evidence(f"Zorb is fast. {answer} {stray}", "j.md"), *items)

    assert found == [answer]


def test_stray_words_of_a_question_make_no_findings():
    """A sentence that holds one word of the question, which many sentences here have, is no answer."""
    answer = "You add a worker of your own by writing one file."
    stray = "More places do not help when the workers are the limit."

    assert statements("How do I add my own worker?", evidence(answer), evidence(stray, "b.md")) == [answer]


def test_only_agreements_on_the_question_are_told():
    """Two documents may say the same about another matter: nobody asked."""
    aside = "When steps fail with envelope_refused, the agent is registered at another coordinator."
    items = [
        evidence(f"The envelope is a signed header. {aside}", heading="Envelope"),
        evidence(f"Agents are listed. {aside}", "b.md", heading="Envelope"),
    ]
    question = "What is the envelope for?"

    found = analyse(question, intake({"r": research(*items, question=question)}))

    assert [f.statement for f in found.findings] == ["The envelope is a signed header."]
    assert found.agreements == []


def test_how_many_asks_for_a_number_of_that_thing():
    """A rate and a number of something else are no answer to "how many tasks"."""
    answer = "In one coordinator 64 tasks run at the same time."
    rate = "At the same time the coordinator can run tasks fast, about 1,000 tasks a second."
    other = "The tasks run at the same time in 4 processes, as you can see."

    found = statements("How many tasks can run at the same time?", *map(evidence, (rate, other, answer)))

    assert found[0] == answer


def test_a_definition_comes_first():
    """What a thing is, is said by the sentence that has it as its subject."""
    answer = "A lease is the time for which an agent is believed to be alive."
    other = evidence("When a lease is used, the lease of an agent is the shorter one.", "b.md", score=0.9)

    assert statements("What is a lease?", other, evidence(f"Agents come and go. {answer}"))[0] == answer


def test_a_passage_found_for_one_part_answers_the_other_too():
    """Each passage is handed on by one step only; the analyzer reads it for every sub-question."""
    text = "A lease is the time for which an agent is believed to be alive. The lease lasts 6 seconds."
    upstream = {
        "r0": research(evidence(text), question="What is a lease?"),
        "r1": research(evidence("Keys are kept for one day.", "b.md"), question="How long does a lease last?"),
    }

    found = analyse("What is a lease and how long does it last?", intake(upstream))

    assert {f.question: f.statement for f in found.findings}[
        "How long does a lease last?"
    ] == "The lease lasts 6 seconds."


def test_a_question_of_common_words_still_asks_for_something():
    """ "create" and "user" stand in every manual; what has both answers, and what has neither does not."""
    central = "The tables of the schema have rows, and the rows of the tables have values."
    answer = "A new user is created by the command createuser."

    found = statements("How do I create a user?", evidence(f"{central} {central[4:]} {answer}"))

    assert found == [answer]


def test_rows_of_tables_are_quoted():
    """Settings stand in tables: a row whose cells have names is a statement."""
    rows = "DATABASE_URL | default: sqlite:///data/zorb.db | meaning: where the journal is kept"
    other = "When the journal is in use, another process runs with the same DATABASE_URL."

    found = statements("What does DATABASE_URL do?", evidence(f"{other}\n\nsetting | default | meaning\n\n{rows}"))

    assert found[0] == "DATABASE_URL \u2014 default: sqlite:///data/zorb.db; meaning: where the journal is kept."


async def test_one_text_in_two_formats_is_one_document():
    """The same page as HTML and as text supports nothing twice."""
    found, _ = await analysed({"r": research(evidence(KEPT, "a.html#x"), evidence(KEPT, "a.txt#y"))})

    assert found.agreements == []
    assert found.findings[0].support == "moderate"


async def test_the_same_words_never_contradict_each_other():
    """Another apostrophe is no other opinion."""
    said = "Messages of the broker aren{}t removed before 7 days, but the broker keeps messages for 14 days."

    found, _ = await analysed({"r": research(evidence(said.format("'")), evidence(said.format("\u2019"), "b.md"))})

    assert found.contradictions == []
