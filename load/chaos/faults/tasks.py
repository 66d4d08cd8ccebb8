"""Faults in the life of a task: what it may spend ends, it is cancelled at any moment, several faults at once."""

from __future__ import annotations

import random
import time
from typing import Any

from load.chaos.engine import wait
from load.chaos.fault import Fault, at_most, holds
from load.chaos.odd import odd_agents
from load.chaos.project import WORKERS, Project
from load.chaos.traffic import Traffic
from load.figures.figure import Figure

MOST_CALLS = 4
STEPS = 4  # of a chain that is cancelled
STEP_SECONDS = 0.4
BESIDE_SECONDS = 30.0
SEED = 48


def spend_all(project: Project) -> list[Figure]:
    """Ten steps, three at a time, where a task may make four calls; ten times."""
    with odd_agents(project, "costs") as [odd]:
        odd.turn("answer", seconds=0.2)
        plan = [_step(odd.name, f"s{n}", [f"s{n - 3}"] if n >= 3 else []) for n in range(10)]
        most, partial = 0, 0
        for _ in range(10):
            before = odd.see()["steps"]
            body = odd.plan(timeout=15) | {"plan": plan, "max_calls": MOST_CALLS}
            view, _ = project.run_task(body, seconds=20.0)
            most = max(most, odd.see()["steps"] - before)
            partial += view.get("status") == "partial"
    return [
        at_most(f"most calls of a task that may make {MOST_CALLS}", most, MOST_CALLS + 1),
        holds("each of 10 tasks ended with a partial report", partial == 10),
    ]


def cancel_anywhere(project: Project) -> list[Figure]:
    """A chain of four steps, cancelled at twelve moments of it."""
    slowest, later, ends = 0.0, 0, set()
    with odd_agents(project, "works") as [odd]:
        odd.turn("answer", seconds=STEP_SECONDS)
        plan = [_step(odd.name, f"s{n}", [f"s{n - 1}"] if n else []) for n in range(STEPS)]
        for moment in range(12):
            body = odd.plan(timeout=30) | {"plan": plan}
            _, said = project.call("/execute_task", body, headers={"Prefer": "respond-async"})
            time.sleep(moment * STEPS * STEP_SECONDS / 12)
            project.call(f"/tasks/{said['task_id']}/cancel", {})
            slowest = max(slowest, wait(lambda: not odd.see()["working"], seconds=10.0))
            calls = odd.see()["steps"]
            time.sleep(2 * STEP_SECONDS)
            later += odd.see()["steps"] - calls
            ends.add(str(project.call(f"/tasks/{said['task_id']}")[1]["status"]))
    return [
        at_most("work stops within", slowest, 2, "s"),
        at_most("calls after it has stopped", later, 0),
        holds("every task is cancelled, or had completed", ends <= {"cancelled", "completed"}),
    ]


def break_several(project: Project) -> list[Figure]:
    """Two faults at once, again and again, by a schedule that is the same at each run."""
    draw, began = random.Random(SEED), time.monotonic()
    with Traffic(project) as traffic:
        while time.monotonic() - began < BESIDE_SECONDS:
            crashed, cut_off = draw.sample(["coordinator", *WORKERS], 2)
            if cut_off == "coordinator":
                crashed, cut_off = cut_off, crashed
            with project.disconnected(project.find(cut_off)):
                project.crash(project.find(crashed))
                time.sleep(draw.uniform(1.0, 6.0))
            time.sleep(draw.uniform(0.0, 6.0))
        project.wait_serving()
        time.sleep(2.0)
    return traffic.judge()


def _step(agent: str, id: str, needs: list[str]) -> dict[str, Any]:
    return {"id": id, "capability": f"{agent}-work", "needs": needs}


TASKS = {
    38: Fault("a budget that ends in the middle", "an odd agent counts the calls of ten tasks", spend_all),
    39: Fault("cancelled at any moment", "an odd agent, a chain of four steps, 12 moments", cancel_anywhere, 90.0),
    48: Fault("several faults at once", "a worker off the network while another is killed", break_several, 240.0),
}
