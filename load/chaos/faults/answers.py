"""Faults of an agent's answers: none, broken off, of every wrong kind, of another task, or from nobody."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from load.chaos.engine import docker, inspect, wait
from load.chaos.fault import Fault, at_least, at_most, holds
from load.chaos.odd import Odd, added_container, odd_agents
from load.chaos.odd_agent import BAD_BODIES, BAD_STATUSES
from load.chaos.project import Project
from load.figures.figure import Figure

TIMEOUT = 3.0  # of a task whose agent does not answer as it should
BROKEN_OFF = 60  # answers that are broken off in each way
WRONG = (*BAD_BODIES, *BAD_STATUSES, "huge")
STANDS = """
import time
from shared.worker import Agent, Reply, serve_worker

async def run(step, ctx):
    if step.attempt == 1:
        time.sleep(3600)
    return Reply("done")

if __name__ == "__main__":
    import sys
    sys.modules["__main__"].__file__ = "stands.py"
    serve_worker(lambda _: Agent(name="chaos-stands", description="", capabilities=("chaos-stands-work",), run=run))
"""


def hang(project: Project) -> list[Figure]:
    """It takes steps and answers none; then it does again."""
    with odd_agents(project, "hangs") as [odd]:
        odd.turn("hang")
        slowest = max(_ask_many(odd, 6, at_once=2))
        opened = odd.view().get("breaker") != "closed"
        closed = wait(lambda: odd.see()["closed"] >= odd.see()["steps"], seconds=10.0)
        odd.turn("answer")
        back = wait(lambda: project.run_task(odd.plan(timeout=2.0), seconds=5.0)[0].get("status") == "completed")
    return [
        at_most(f"slowest answer of {TIMEOUT:.0f} s tasks", slowest, TIMEOUT + 1, "s"),
        holds("breaker open after five", opened),
        at_most("connections closed within", closed, 2, "s"),
        at_most("gets steps again", back, 60, "s"),
    ]


def break_off(project: Project) -> list[Figure]:
    """Answers that are reset, end early, or come one byte a second."""
    figures: list[Figure] = []
    with odd_agents(project, "breaks-off") as [odd]:
        before = project.read_metrics()["process_open_fds"]
        for mode, count in (("reset", BROKEN_OFF), ("half", BROKEN_OFF), ("drip", 4)):
            odd.turn(mode)
            slowest = max(_ask_many(odd, count, at_once=10))
            figures.append(at_most(f"{mode}: slowest answer of {TIMEOUT:.0f} s tasks", slowest, TIMEOUT + 1, "s"))
        odd.turn("answer")
        wait(lambda: odd.see()["open"] <= 2, seconds=10.0)
        leaked = project.read_metrics()["process_open_fds"] - before
    return [*figures, at_most("connections that the coordinator keeps", max(0.0, leaked), 5)]


def answer_wrongly(project: Project) -> list[Figure]:
    """Errors, redirects, no JSON, too much of it, and 2 GB."""
    typed, mode_of = 0, {"500": "agent_error", "503": "agent_busy", "404": "agent_refused"}
    untyped: list[str] = []
    with odd_agents(project, "wrong") as [odd]:
        before = project.read_metrics()["process_resident_memory_bytes"]
        for mode in WRONG:
            wait(lambda: project.run_task(odd.plan(timeout=2.0), seconds=5.0)[0].get("status") == "completed")
            view, _ = project.run_task(odd.plan(timeout=4.0, mode=mode), seconds=10.0)
            step = (view.get("results") or [{}])[0]
            found = (step.get("error") or {}).get("type")
            if found == mode_of.get(mode, "bad_response"):
                typed += 1
            else:
                untyped.append(f"{mode}: {step.get('status')} {found}")
        grown = project.read_metrics()["process_resident_memory_bytes"] - before
        seen = odd.see()
    return [
        at_least(f"of {len(WRONG)} wrong answers, with the right type of error", typed, len(WRONG)),
        *(Figure(f"not so: {one}", 1, "") for one in untyped),
        at_most("redirects followed", seen["followed"], 0),
        at_most("of 2 GB, sent before it was cut off", seen["huge_bytes"] / 1e6, 32, "MB"),
        at_most("coordinator's memory grown by", grown / 1e6, 32, "MB"),
    ]


def lie(project: Project) -> list[Figure]:
    """Results of another task or step, and one that comes after the task was cancelled."""
    with odd_agents(project, "lies") as [odd]:
        taken = 0
        for mode in ("other_task", "other_step"):
            for _ in range(5):
                view, _ = project.run_task(odd.plan(timeout=2.0, mode=mode), seconds=5.0)
                taken += view.get("status") == "completed"
            wait(lambda: project.run_task(odd.plan(timeout=2.0), seconds=5.0)[0].get("status") == "completed")
        odd.turn("answer", seconds=2.0)
        _, said = project.call("/execute_task", odd.plan(timeout=20), headers={"Prefer": "respond-async"})
        wait(lambda: odd.see()["working"] > 0)
        project.call(f"/tasks/{said['task_id']}/cancel", {})
        time.sleep(2.5)
        _, view = project.call(f"/tasks/{said['task_id']}")
    return [
        at_most("of 10 lies, merged", taken, 0),
        holds("cancelled task stays so", view["status"] == "cancelled"),
        at_most("results merged after the cancel", sum(s["output"] is not None for s in view["results"]), 0),
    ]


def go_deaf(project: Project) -> list[Figure]:
    """One is well for `/health` and answers no step; the loop of another, a worker of Muster's, stands."""
    settings = {"COORDINATOR_URL": project.inner_url}
    with (
        odd_agents(project, "deaf", canary=True) as [odd],
        added_container(project, "stands", STANDS, settings, restart="unless-stopped") as stands,
        ThreadPoolExecutor(1) as pool,
    ):
        wait(lambda: "chaos-stands" in project.list_healthy(), seconds=30.0)
        plan = [{"id": "stands", "capability": "chaos-stands-work"}]
        project.call("/execute_task", odd.plan(timeout=60) | {"plan": plan}, headers={"Prefer": "respond-async"})
        ended = pool.submit(wait, lambda: bool(inspect(stands)[0]["RestartCount"]))
        odd.turn("deaf")
        out = wait(lambda: not odd.is_healthy(), seconds=40.0)
        odd.turn("answer")
        back = wait(odd.is_healthy, seconds=40.0)
        took = ended.result()
    return [
        at_most("out of rotation", out, 20, "s"),
        at_most("back once it answers", back, 8, "s"),
        at_most("worker whose loop stands is started again", took, 30, "s"),
    ]


def die_of_a_task(project: Project) -> list[Figure]:
    """A task of which the agent's process dies at each attempt."""
    with odd_agents(project, "dies", restart="unless-stopped") as [odd]:
        began = time.monotonic()
        view, _ = project.run_task(odd.plan(timeout=50, mode="die"), seconds=55.0)
        took = time.monotonic() - began
        step = (view.get("results") or [{}])[0]
        deaths = int(docker("inspect", "-f", "{{.RestartCount}}", odd.container))
        others, _ = project.run_task({"task_description": "What is a lease?", "timeout_seconds": 20}, seconds=25.0)
    return [
        at_most("processes that die", deaths, 3),
        holds("the error says so", _type(step) == "agent_lost"),
        at_most("ended after", took, 50, "s"),
        holds("other tasks go on", others.get("status") == "completed"),
    ]


def _type(step: dict[str, object]) -> object:
    error = step.get("error")
    return error.get("type") if isinstance(error, dict) else None


def _ask_many(odd: Odd, count: int, *, at_once: int) -> list[float]:
    """How long each of so many tasks for this agent took to be answered, in seconds."""
    with ThreadPoolExecutor(at_once) as pool:
        asked = [
            pool.submit(odd.project.run_task, odd.plan(timeout=TIMEOUT), seconds=TIMEOUT + 10) for _ in range(count)
        ]
        return [one.result()[1] if one.result()[0] else float("inf") for one in asked]


ANSWERS = {
    8: Fault("an agent that answers nothing", "an odd agent that hangs", hang, 120.0),
    9: Fault("answers that break off", "an odd agent that resets, ends early, sends a byte a second", break_off, 90.0),
    10: Fault(
        "answers of every wrong kind", f"an odd agent, {len(WRONG)} kinds, 2 GB among them", answer_wrongly, 120.0
    ),
    11: Fault("an agent that lies", "an odd agent answers with other ids, and after a cancel", lie, 60.0),
    12: Fault("agents that are deaf", "an odd agent with a canary; a worker in time.sleep", go_deaf, 150.0),
    43: Fault(
        "a task of which processes die", "an odd agent that ends itself, restarted by Docker", die_of_a_task, 90.0
    ),
}
