"""Plans: the default one for a question, a fan-out, and a caller's own, refused with the field that is wrong."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.questions.splitting import MAX_PARTS
from coordinator.tasks.plan import plan
from coordinator.tasks.task import Step
from shared.contracts import TaskRequest
from shared.errors import Invalid


def planned(known: tuple[str, ...] = (), **request: Any) -> tuple[Step, ...]:
    return plan(TaskRequest.model_validate({"task_description": "Why are there tides?"} | request), known_agents=known)


def test_a_question_is_researched_analysed_and_reported() -> None:
    steps = planned(format="html")

    assert [(s.id, s.capability, s.needs) for s in steps] == [
        ("research", "research", ()),
        ("analyze", "analyze", ("research",)),
        ("report", "report", ("analyze", "research")),
    ]
    assert steps[0].input == {"question": "Why are there tides?"}
    assert steps[2].input == {"format": "html"}


def test_time_is_kept_back_for_analysis_and_report() -> None:
    latest = [s.latest for s in planned()]

    assert latest == sorted(latest)
    assert latest[0] < latest[1] < latest[2] < 1


def test_losing_one_of_several_questions_loses_nothing_else() -> None:
    steps = planned(task_description="What is WAL? Who uses it?")

    assert [s.id for s in steps] == ["research-1", "research-2", "analyze", "report"]
    assert all(s.on_failure == "continue" for s in steps[:3])
    assert all(s.needs_any for s in steps[2:])
    assert steps[1].input == {
        "question": "Who uses it? (WAL)",
        "siblings": ["What is WAL?", "Who uses it? (WAL)"],
        "index": 1,
    }


@pytest.mark.parametrize("count", [1, 3, 8, 20])
def test_all_documents_of_the_context_are_shared_out(count: int) -> None:
    """Documents named in the context are shared out and none is left."""
    documents = [f"d{i}.md" for i in range(count)]

    research = [s for s in planned(context={"documents": documents}) if s.capability == "research"]

    assert len(research) == min(count, MAX_PARTS)
    assert sorted(d for s in research for d in s.input["documents"]) == sorted(documents)


def test_each_named_agent_is_asked_once() -> None:
    """Each of the named agents is asked once and may fail."""
    steps = planned(("one", "two"), agents=["two", "one"])

    assert [(s.id, s.agent, s.on_failure, s.needs) for s in steps] == [
        ("two", "two", "continue", ()),
        ("one", "one", "continue", ()),
    ]


def test_own_plan_is_kept() -> None:
    """A plan of one's own is taken as it is."""
    (first, second) = planned(
        ("clerk",),
        plan=[
            {"id": "b", "agent": "clerk", "needs": ["a", "a"], "timeout_seconds": 5, "on_failure": "continue"},
            {"id": "a", "capability": "work", "input": [1, {"x": None}]},
        ],
    )

    assert (first.needs, first.agent, first.timeout_seconds, first.on_failure) == (("a",), "clerk", 5, "continue")
    assert (second.capability, second.input, second.latest) == ("work", [1, {"x": None}], 1.0)


@st.composite
def graphs(draw: st.DrawFn) -> list[dict[str, Any]]:
    ids = [f"s{i}" for i in range(draw(st.integers(1, 8)))]
    return [{"id": i, "capability": "work", "needs": draw(st.lists(st.sampled_from(ids), max_size=3))} for i in ids]


def can_be_done(graph: list[dict[str, Any]]) -> bool:
    """The slow and obvious way to find a circle: do what can be done until nothing can."""
    done: set[str] = set()
    for _ in graph:
        done |= {s["id"] for s in graph if set(s["needs"]) <= done}
    return len(done) == len(graph)


@given(graphs())
def test_circular_plan_is_refused_and_named(graph: list[dict[str, Any]]) -> None:
    """A plan is refused exactly when it holds a circle and the circle is named."""
    if can_be_done(graph):
        assert [s.id for s in planned(plan=graph)] == [s["id"] for s in graph]
        return

    with pytest.raises(Invalid) as refused:
        planned(plan=graph)

    (error,) = refused.value.members["errors"]
    circle = error["detail"].rpartition(": ")[2].split(" > ")
    needs = {s["id"]: s["needs"] for s in graph}
    assert circle[0] == circle[-1]
    assert all(after in needs[before] for before, after in pairwise(circle))
    assert error["pointer"] == f"/plan/{list(needs).index(circle[0])}/needs"
