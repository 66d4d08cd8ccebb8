"""Growth: what counts as linear, a journal filled with history, the charts and the page."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from load.drawing.lines import Series, draw
from load.growth.aims import list_figures
from load.growth.history import fill
from load.growth.line import LINEAR, Growth, GrowthLine
from load.growth.page import write
from load.growth.subject import SizeRefused, start
from load.processes.stage import Stage

SIZES = (1, 10, 100, 1_000)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("cost", "slope"),
    [(lambda n: 5.0, 0), (lambda n: 3 + 2 * n, 1), (lambda n: n * n, 2), (lambda n: n**0.5, 0.5)],
    ids=["constant", "linear", "quadratic", "root"],
)
def test_the_slope_tells_how_fast_it_grows(cost, slope):
    line = GrowthLine("x", [(n, cost(n)) for n in SIZES])

    assert line.slope == pytest.approx(slope, abs=0.06)
    assert (line.slope <= LINEAR) == (slope <= 1)


def test_too_few_sizes_have_no_slope():
    """A size of nothing and too few sizes have no slope."""
    assert GrowthLine("x", [(0, 5.0), (10, 5.0)]).slope is None
    assert GrowthLine("x", [(0, 5.0), (10, 5.0), (100, 50.0)]).slope == pytest.approx(1)


def test_the_page_names_what_grows_too_fast(tmp_path):
    lines = [GrowthLine("chain", [(n, n * n) for n in (1, 10, 100)]), GrowthLine("fan-out", [(1, 3.0), (10, 4.0)])]
    found = [Growth("steps", "Steps of a task", "steps", "How.", lines, "A plan of 500 steps is refused.")]

    write(tmp_path, found)

    page = (tmp_path / "GROWTH.md").read_text()
    assert "| 100 | 10000.00 | – |" in page
    assert "| growth | 2.00 | 0.12 |" in page
    assert "A plan of 500 steps is refused." in page
    assert [figure.ok for figure in list_figures(found)] == [False, True]
    svg = ElementTree.fromstring((tmp_path / "growth-steps.svg").read_text())
    assert len(svg.findall(f".//{SVG}circle")) == 5


def test_sizes_are_held_against_each_other():
    """Where they were measured: a step in a long chain, a task among many agents, a megabyte of context."""
    found = [
        Growth("steps", "Steps", "steps", "", [GrowthLine("chain", [(10, 10.0), (200, 300.0)])]),
        Growth("agents", "Agents", "agents", "", [GrowthLine("a task", [(3, 2.0), (1_000, 2.5)])]),
        Growth("context", "Context", "kB", "", [GrowthLine("one text", [(1, 2.0), (1_000, 20.0)])]),
    ]

    held = {figure.name: (figure.value, figure.ok) for figure in list_figures(found)}

    assert held["a step in a chain of 200, against one in 10"] == (1.5, False)
    assert held["a task with 1,000 agents, against 3"] == (1.25, True)
    assert held["a task with 1 MB of context"] == (20.0, False)
    assert len(list_figures(found[1:2])) == 2


def test_the_chart_shows_zero_and_what_linear_would_be():
    """The dashed line ends where the line does, and names do not stand on each other."""
    points = [(0, 3.0), (1_000, 3.1), (1_000_000, 3.0)]

    svg = ElementTree.fromstring(draw("History", [Series("a", points), Series("b", points)], x="tasks", y="ms"))

    texts = [text.text for text in svg.findall(f".//{SVG}text")]
    assert {"0", "1,000", "1,000,000", "tasks"} <= set(texts)
    (guide,) = svg.findall(f".//{SVG}line[@class='guide']")
    last = svg.findall(f".//{SVG}circle")[2]
    assert (guide.get("x2"), guide.get("y2")) == (last.get("cx"), last.get("cy"))
    names = [float(text.get("y", 0)) for text in svg.findall(f".//{SVG}text[@class='name']")]
    assert abs(names[0] - names[1]) >= 15


@pytest.fixture
def stage() -> Iterator[Stage]:
    before = signal.getsignal(signal.SIGTERM)
    with Stage() as stage:
        yield stage
    signal.signal(signal.SIGTERM, before)


async def test_a_filled_journal_opens_and_takes_tasks(stage):
    """The rows of one real task, repeated, are listed and read like any other; what is too large is refused."""
    journal = stage.folder / "muster.db"
    async with start(stage, journal=journal) as subject:
        assert await subject.measure_cost(1, at_once=1) > 0
        (template,) = await subject.list_ended()

    await asyncio.to_thread(fill, journal, template, start=1, end=50)

    async with start(stage, journal=journal) as subject:
        ended = await subject.list_ended()
        read = [json.loads((await subject.http.request("GET", f"/tasks/{one}"))[1]) for one in (ended[0], ended[-1])]
        with pytest.raises(SizeRefused):
            await subject.measure_cost(1, at_once=1, more={"plan": []})
    assert len(ended) == 50
    assert ended[0] == template  # the others are earlier
    assert [len(task["results"]) for task in read] == [3, 3]
