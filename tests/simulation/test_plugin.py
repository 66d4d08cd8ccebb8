"""The plugin for users: their agents run in a simulated suite, and what cannot be simulated is named."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import pytest

from shared.agent import Agent, Context, Reply
from shared.contracts import StepRequest
from tests.simulation.apart import run_apart
from tests.simulation.plugin import InvariantBroken, run_agent
from tests.simulation.run import Own, simulate
from tests.simulation.test_seeds import ROOT

PLAN = ({"id": "p", "capability": "price"},)


def pricer(run) -> Agent:
    return Agent(name="pricer", description="Knows prices.", capabilities=("price",), run=run)


@pytest.mark.timeout(900)
def test_the_page_runs_as_it_stands(tmp_path):
    text = (ROOT / "docs" / "simulation.md").read_text().partition("```python\n")[2].partition("```")[0]
    (tmp_path / "test_pricer.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}

    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@pytest.mark.timeout(900)
def test_an_agent_that_sleeps_for_real_is_named():
    async def run(step: StepRequest, ctx: Context) -> Reply:
        time.sleep(1)  # noqa: ASYNC251
        return Reply("late")

    with pytest.raises(InvariantBroken, match=r"time\.sleep\(1\).*Use `await asyncio\.sleep"):
        run_agent(pricer(run), plan=PLAN, seeds=1)


@pytest.mark.timeout(900)
def test_an_agent_that_never_returns_is_named():
    async def run(step: StepRequest, ctx: Context) -> Reply:
        while True:
            pass

    broken = run_apart(lambda: simulate(0, own=Own(pricer(run), PLAN, 1), real_seconds=5.0).broken)

    assert "limit of 5 real seconds" in broken[0]
    assert "3000 virtual" in broken[0]


def test_a_second_simulation_in_a_process_is_refused():
    refused: list[str] = []

    async def run(step: StepRequest, ctx: Context) -> Reply:
        await asyncio.sleep(0)
        try:
            simulate(1)
        except RuntimeError as exc:
            refused.append(str(exc))
        return Reply("done")

    def play() -> list[str]:
        simulate(0, own=Own(pricer(run), PLAN, 1), tasks=4, faults=0, seconds=90.0)
        return refused

    assert run_apart(play)[0].startswith("A simulation already runs in this process.")
