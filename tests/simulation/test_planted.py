"""Planted bugs: the invariants have teeth. `python -m tests.simulation --planted` finds all of them."""

from __future__ import annotations

import pytest

from tests.simulation.planted import BUGS
from tests.simulation.test_seeds import simulate

QUICK = ("answer_before_it_is_durable", "forget_open_tasks_at_a_start", "believe_every_answer")


def test_there_are_enough_planted_bugs():
    assert len(BUGS) >= 20


@pytest.mark.timeout(900)
@pytest.mark.parametrize("bug", QUICK)
def test_a_planted_bug_is_found(bug):
    """Of those that one or two seeds find."""
    done = simulate("--planted", bug, "--seeds", "10")

    assert done.returncode == 0, done.stdout + done.stderr
