"""The whole suite in one process: what a user sees when everything goes well."""

from __future__ import annotations

from tests import fakes
from tests.fakes import Suite


async def test_a_question_becomes_a_report_with_findings_and_sources(suite: Suite) -> None:
    task = await suite.execute("Why are there tides?")

    assert task.status == "completed"
    assert [(s.step_id, s.agent, s.status) for s in task.results] == [
        ("research", "researcher", "completed"),
        ("analyze", "analyzer", "completed"),
        ("report", "reporter", "completed"),
    ]
    assert task.result is not None
    assert fakes.MOON in str(task.result.report)
    assert [s["location"] for s in task.result.sources] == ["tides.md"]
    assert task.missing == []
