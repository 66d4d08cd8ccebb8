"""The reporter: a report that can be handed on, out of an analysis, of research, or of anything else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from lxml import html as lxml_html

from shared.contracts import Missing, StepRequest
from shared.errors import WorkerFault
from shared.report.model import (
    Agreement,
    Analysis,
    AskedWord,
    Contradiction,
    Evidence,
    Finding,
    ReportOutput,
    Research,
    Side,
)
from tests.workers.test_analyzer import KEPT, QUESTION, Ctx
from workers import reporter

SOURCES = [
    Evidence(
        id="a",
        title="Guide",
        location="https://a.test/guide#days",
        heading="Retention",
        provider="web",
        excerpt="Seven.",
    ),
    Evidence(id="b", title="Handbook", location="docs/handbook.md", provider="local", excerpt="Fourteen."),
    Evidence(id="c", title="Unused", location="docs/unused.md"),
]
ANALYSIS = Analysis(
    question=QUESTION,
    findings=[
        Finding(id="f1", statement=KEPT, topic="Retention", evidence=["a", "b"], support="strong", score=0.9),
        Finding(
            id="f2", statement="Old segments are removed.", topic="Cleaning", evidence=["b"], support="weak", score=0.7
        ),
        Finding(
            id="f3", statement="A side remark stands here.", topic="Cleaning", evidence=["b"], support="weak", score=0.1
        ),
    ],
    agreements=[Agreement(statement=KEPT, evidence=["a", "b"])],
    contradictions=[
        Contradiction(
            about="Retention of logs",
            why="7 days against 14 days.",
            sides=[
                Side(statement="Logs stay 7 days.", evidence=["a"]),
                Side(statement="Logs stay 14 days.", evidence=["b"]),
            ],
        )
    ],
    sources=SOURCES,
    searched=["12 passages in 2 documents"],
    key_terms=["retention"],
)


async def reported(upstream: dict[str, Any], given: Any = None, missing: list[Missing] | None = None) -> ReportOutput:
    step = StepRequest(
        task_id="t", step_id="report", task_description=QUESTION, input=given, upstream=upstream, missing=missing or []
    )
    reply = await reporter.agent(Path("unused")).run(step, Ctx())
    return ReportOutput.model_validate(reply.output)


async def test_the_summary_comes_first_and_cites():
    """The best statements answer the question, with citations; what is disputed is said."""
    out = await reported({"analyze": ANALYSIS.model_dump()})

    assert [c.statement for c in out.document.summary] == [KEPT]
    assert out.document.summary[0].citations == [1, 2]
    assert (
        out.report.index(KEPT[:20]) < out.report.index("## More from these documents") < out.report.index("## Sources")
    )


async def test_citations_and_sources_match():
    """Numbers lead somewhere, and nothing is listed that nobody cites."""
    out = await reported({"analyze": ANALYSIS.model_dump()})

    cited = {int(n) for n in re.findall(r"\[\d+\]\(#source-(\d+)\)", out.report)}
    assert cited == {source.number for source in out.document.sources} == {1, 2}
    assert "[Guide › Retention](https://a.test/guide#days)" in out.report
    assert "`docs/handbook.md`" in out.report


async def test_missing_and_searched_are_in_the_report():
    out = await reported({"analyze": ANALYSIS.model_dump()}, missing=[Missing(what="research-2", why="It timed out.")])

    assert "**research-2**: It timed out." in out.report
    assert "Searched: 12 passages in 2 documents" in out.report
    assert "Made without a model" in out.report


@pytest.mark.parametrize("asked", [[], [AskedWord(word="zorblatt", weight=4.0)]])
async def test_an_open_question_is_admitted_first(asked):
    """Nobody has to read noise to learn that the documents do not say it; what comes nearest follows."""
    near = ANALYSIS.model_copy(update={"answered": False, "confidence": 0.2, "words": asked, "contradictions": []})

    out = await reported({"analyze": near.model_dump()})

    said = "Your documents do not seem to answer this." + (" None of them mentions: zorblatt." if asked else "")
    assert [c.statement for c in out.document.summary] == [said]
    assert [s.title for s in out.document.sections] == ["Nearest passages"]
    assert (out.document.answered, out.document.confidence) == (False, 0.2)


async def test_nothing_found_is_admitted_without_empty_headings():
    """The report of an empty search says what was searched."""
    empty = Analysis(question=QUESTION, answered=False, thin=True, searched=["12 passages in 2 documents"], passages=4)

    out = await reported({"analyze": empty.model_dump()})

    assert "Your documents do not seem to answer this." in out.report
    assert "12 passages in 2 documents" in out.report
    assert out.document.sections == []


async def test_unanswered_part_is_admitted_beside_others():
    """A part that nothing answers is admitted beside the others."""
    answers = [ANALYSIS.findings[0].model_copy(update={"answers": True})]
    parts = ANALYSIS.model_copy(
        update={"answered": True, "findings": answers, "contradictions": [], "unanswered": ["And why?"]}
    )

    out = await reported({"analyze": parts.model_dump()})

    assert [c.statement for c in out.document.summary] == [
        KEPT,
        "Your documents do not seem to answer “And why?”.",
    ]


async def test_html_is_a_page_and_json_is_the_document():
    """The same report in the format that was asked for."""
    page = await reported({"analyze": ANALYSIS.model_dump()}, {"format": "html"})
    data = await reported({"analyze": ANALYSIS.model_dump()}, {"format": "json"})

    assert lxml_html.document_fromstring(page.report).findtext(".//h1") == QUESTION
    assert json.loads(data.report) == data.document.model_dump()
    assert (page.format, data.format) == ("html", "json")


@pytest.mark.parametrize("given", [{"format": "pdf"}, {"format": 3}, "docx"])
async def test_an_unknown_format_is_refused_by_name(given):
    with pytest.raises(WorkerFault, match="markdown, html or json") as fault:
        await reported({"analyze": ANALYSIS.model_dump()}, given)

    assert fault.value.type == "bad_input"


async def test_research_alone_is_analysed_here():
    """The analyzer is away: the reporter quotes what answers the question itself."""
    item = Evidence(id="e", title="Guide", location="guide.md", text=f"{KEPT} Other words follow.", score=1)
    research = Research(question=QUESTION, provider="local", searched="one file", evidence=[item])

    out = await reported({"research": research.model_dump()})

    assert out.document.summary[0].statement.startswith(KEPT)
    assert out.document.searched == ["one file"]


@pytest.mark.parametrize("output", ["A plain answer.", {"answer": "A plain answer."}, ["A plain answer."]])
async def test_outputs_of_foreign_workers_are_reported_plainly(output):
    out = await reported({"foreign": output})

    assert out.document.sections[0].title == "foreign"
    assert "A plain answer." in out.report


async def test_two_analyses_make_one_report():
    """A source that both cite has one number."""
    other = ANALYSIS.model_copy(update={"findings": [ANALYSIS.findings[1]], "contradictions": [], "agreements": []})

    out = await reported({"one": ANALYSIS.model_dump(), "two": other.model_dump()})

    assert len(out.document.sources) == 2


async def test_no_statement_stands_twice():
    """What is the answer is not shown again below it."""
    out = (await reported({"analyze": ANALYSIS.model_dump()})).document

    shown = [c.statement for c in [*out.summary, *(c for s in out.sections for c in s.findings)]]
    assert sorted(shown) == sorted(set(shown))


@pytest.mark.parametrize("upstream", [{}, {"a": None}, {"a": {"findings": [{"bad": 1}]}}])
async def test_unusable_input_still_makes_a_report(upstream):
    out = await reported(upstream)

    assert out.report.startswith("# How long does the broker keep messages?")


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("what is x?", "What is x?"),
        ("First line\nsecond line", "First line"),
        ("Compare these: " + "word " * 40, "Compare these"),
        ("word " * 40, "Word" + " word" * 21 + "…"),
        ("", "Report"),
    ],
)
def test_the_title_comes_from_the_question(question, title):
    assert reporter.title(question) == title


def test_the_agent_names_its_capability():
    agent = reporter.agent(Path("unused"))

    assert (agent.name, agent.capabilities) == ("reporter", ("report",))
