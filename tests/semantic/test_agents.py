"""With SEMANTIC, researcher and analyzer put first what means the same, though other texts have more of the words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.contracts import StepRequest
from shared.report.model import Analysis, Evidence, Research
from shared.settings import ModelSettings, SearchSettings, SemanticSettings
from tests.semantic.test_meaning import BUSY, GERMAN, PIPES, QUESTION
from tests.workers.index.test_local import Step
from workers import analyzer, researcher
from workers.providers.found import Found
from workers.providers.provider import SearchRequest
from workers.semantic.passages import Reranked

MODEL = ModelSettings(_env_file=None)


def evidence(text: str, score: float) -> Evidence:
    return Evidence(id=text, title="House", location="house.md", provider="f", score=score, excerpt=text, text=text)


FOUND = [evidence(PIPES, 0.8), *(evidence(f"Connection {n} of the pipes.", 0.7) for n in range(9)), evidence(BUSY, 0.6)]


@dataclass
class Fixed:
    """A provider that always finds the same, as many as it is asked for."""

    found: list[Evidence]
    name: str = "fixed"

    async def search(self, ask: SearchRequest, ctx: object) -> Found:
        return Found(self.found[: ask.passages], "eleven passages")

    async def state(self) -> None:
        return None

    async def place(self, id: str) -> None:
        return None


async def test_best_passages_come_first_in_the_asked_number(reranker):
    """More are compared than are handed on: what answers stood eleventh."""
    found = await Reranked(Fixed(FOUND), reranker).search(SearchRequest(QUESTION, 8), Step())

    assert found.evidence[0].text == BUSY
    assert found.evidence[0].score == 0.8
    assert len(found.evidence) == 8
    assert [one.score for one in found.evidence] == sorted((one.score for one in found.evidence), reverse=True)


@pytest.mark.parametrize(
    ("question", "seconds"), [("Warum ist mein Anschluss so langsam?", 30.0), (QUESTION + " Why?", 0.0)]
)
async def test_order_stays_for_german_and_without_time(reranker, question, seconds):
    """The order stays where the question is German or the time is over."""
    found = await Reranked(Fixed(FOUND), reranker).search(SearchRequest(question, 8), Step(seconds=seconds))

    assert found.evidence == FOUND[:8]


async def test_nothing_found_stays_nothing(reranker):
    found = await Reranked(Fixed([]), reranker).search(SearchRequest(QUESTION, 8), Step())

    assert found.evidence == []


async def test_the_researcher_compares_meanings_where_the_setting_says_so(tmp_path):
    """Both have one word of the question, in a sentence of the same length."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "a.md").write_text(
        "# A\n\nThe slow glue of pipes dries in a day, at most in two days, when it is cold.\n"
    )
    (folder / "b.md").write_text(
        "# B\n\nThe slow internet: many neighbours share one line at night, when you load pages.\n"
    )
    (folder / "c.md").write_text(f"# C\n\n{GERMAN}\n")
    settings = SearchSettings(_env_file=None, knowledge_dir=folder)
    agent = researcher.agent(tmp_path / "state", settings, MODEL, SemanticSettings(semantic=True))
    step = StepRequest(task_id="t", step_id="r", task_description="Why is my slow connection slow?")

    async with agent.open() as state:
        reply = await agent.run(step, Step(state=state))

    assert Research.model_validate(reply.output).evidence[0].location.startswith("b.md")


async def analysed(found: list[Evidence], *, semantic: bool) -> Analysis:
    research = Research(question=QUESTION, provider="local", searched="a file", evidence=found).model_dump()
    step = StepRequest(task_id="t", step_id="a", task_description=QUESTION, upstream={"r": research})
    agent = analyzer.agent(Path("unused"), MODEL, SemanticSettings(semantic=semantic))
    async with agent.open() as state:
        reply = await agent.run(step, Step(state=state))
    return Analysis.model_validate(reply.output)


async def test_analyzer_answers_with_the_run_that_fits():
    """Two runs of one passage have one word of the question each."""
    glue = "The glue is slow: wait a day for the two pipes."
    between = "The plumber is away on Sundays. " * 12
    text = "\n\n".join([glue, between, "Hours change. " * 24, f"Use the internet early. {BUSY}"])

    before = await analysed([evidence(text, 0.8)], semantic=False)
    after = await analysed([evidence(text, 0.8)], semantic=True)

    assert BUSY not in before.findings[0].statement
    assert BUSY in after.findings[0].statement
