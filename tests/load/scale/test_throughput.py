"""Throughput on PostgreSQL: what is computed of the rounds."""

from __future__ import annotations

from load.scale.subjects import DBOS, FILE, LIMITED, LIMITED_TWO, ONE
from load.scale.throughput import Turns, list_figures


def test_ratios_are_of_turns_side_by_side():
    """A slow round slows both, and counts once."""
    turns = {
        FILE: Turns([600.0, 200.0, 500.0]),
        ONE: Turns([300.0, 120.0, 250.0]),
        DBOS: Turns([100.0, 40.0, 50.0]),
        LIMITED: Turns([100.0, 80.0, 90.0]),
        LIMITED_TWO: Turns([150.0, 136.0, 135.0]),
    }

    figures = {figure.name: figure for figure in list_figures(turns, failed=2)}

    assert figures[f"{ONE} / {FILE}"].value == 0.5
    assert figures[f"{ONE} / {DBOS}"].value == 3.0
    assert figures[f"{LIMITED_TWO} / {LIMITED}"].ok is False
    assert figures["tasks that failed"].ok is False


def test_processor_time_is_of_both():
    """What a busy machine cannot hide: the work of a task, its PostgreSQL's too."""
    turns = {ONE: Turns([300.0], [1_500.0], [500.0]), DBOS: Turns([100.0], [6_000.0], [2_000.0])}

    figures = {figure.name: figure for figure in list_figures(turns, failed=0)}

    assert figures[f"CPU a task with PostgreSQL's: {DBOS} / {ONE}"].value == 4.0


def test_what_was_not_measured_has_no_figure():
    figures = {figure.name for figure in list_figures({ONE: Turns([300.0], lone=[0.01])}, failed=0)}

    assert f"{ONE}: alone, p99" in figures
    assert not any(" / " in name for name in figures)
