"""A pytest plugin: your own agent in a simulated suite, beside others, while things break around it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from shared.agent import Agent
from tests.simulation.apart import run_apart
from tests.simulation.run import Own, simulate

SEEDS = 3


class InvariantBroken(AssertionError):
    """A seed in which a promise did not hold; says which, and how to run the seed again."""


@pytest.fixture
def simulation() -> Callable[..., None]:
    """Runs an agent through seeds of the simulation; raises `InvariantBroken`."""
    return run_agent


def run_agent(
    agent: Agent, *, plan: Sequence[dict[str, Any]], replicas: int = 2, first: int = 0, seeds: int = SEEDS
) -> None:
    """Simulates `seeds` seeds from `first` on, with so many replicas of the agent; half of the tasks have your plan.

    Raises `InvariantBroken`, also where the agent sleeps on the real clock or never returns.
    """
    for seed in range(first, first + seeds):
        own = Own(agent, tuple(plan), replicas)
        if broken := run_apart(lambda seed=seed, own=own: simulate(seed, own=own).broken):
            why = "\n  ".join(broken[:10])
            order = (
                "" if sys.flags.hash_randomization == 0 else "; start pytest with PYTHONHASHSEED=0 for the same order"
            )
            raise InvariantBroken(f"Seed {seed} broke:\n  {why}\nReplay it with first={seed}, seeds=1{order}.")
