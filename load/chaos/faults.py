"""The faults that are played: each breaks something and returns its figures beside what is demanded."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from load.chaos.project import WORKERS, Project, docker, wait
from load.chaos.traffic import Traffic
from load.figures.figure import Figure

Play = Callable[[Project], Sequence[Figure]]
BEFORE_SECONDS, AFTER_SECONDS = 2.0, 3.0  # of traffic around a fault
TASK = {"task_description": "How does Muster survive a crash?", "timeout_seconds": 20}


def crash_worker(project: Project) -> list[Figure]:
    return _crash(project, "analyzer", serving=8.0)


def crash_coordinator(project: Project) -> list[Figure]:
    return _crash(project, "coordinator", serving=8.0)


def cut_power(project: Project) -> list[Figure]:
    return _crash(project, "coordinator", *WORKERS, serving=15.0)


def restart_worker(project: Project) -> list[Figure]:
    """A graceful stop under load."""
    with Traffic(project) as traffic:
        time.sleep(BEFORE_SECONDS)
        began = time.monotonic()
        docker("restart", "--timeout", "15", project.find("reporter"))
        took = time.monotonic() - began
        serving = project.wait_serving()
        time.sleep(AFTER_SECONDS)
    return [Figure("stop and start", took, "s", target=15.0), Figure("serving again", serving, "s", target=8.0),
            *_judge(traffic)]  # fmt: skip


def partition_worker(project: Project) -> list[Figure]:
    with Traffic(project) as traffic:
        time.sleep(BEFORE_SECONDS)
        with project.disconnected("analyzer"):
            noticed = wait(lambda: "analyzer" not in project.list_healthy())
        back = project.wait_serving()
        time.sleep(AFTER_SECONDS)
    return [Figure("noticed", noticed, "s", target=8.0), Figure("back by itself", back, "s", target=5.0),
            *_judge(traffic)]  # fmt: skip


def pause_worker(project: Project) -> list[Figure]:
    """It stands still for ten seconds and goes on as if nothing had been."""
    with Traffic(project) as traffic:
        time.sleep(BEFORE_SECONDS)
        with project.paused("researcher"):
            time.sleep(10.0)
        back = project.wait_serving()
        time.sleep(AFTER_SECONDS)
    return [Figure("back by itself", back, "s", target=5.0), *_judge(traffic)]


def refuse_large_body(project: Project) -> list[Figure]:
    """A body that is announced as too large."""
    began = time.monotonic()
    status, _ = project.call("/execute_task", b"[" + b"1," * 1_500_000 + b"1]")
    return [Figure("answer is 413", float(status == 413), "", target=1.0, at_least=True),
            Figure("answered within", time.monotonic() - began, "s", target=10.0)]  # fmt: skip


def cross_paths(project: Project) -> list[Figure]:
    """Ids that are paths."""
    names = ("..%2f..%2fetc%2fpasswd", "%2e%2e%2f", "a%00b", "..%5c..%5c", "%2fetc%2fpasswd", "a%0d%0ab", "....%2f%2f")
    paths = [f"/tasks/{name}{end}" for name in names for end in ("", "/report", "/events", "/sources/1")]
    found = [path for path in paths if project.call(path)[0] == 200]
    return [Figure(f"of {len(paths)} paths, answered with a file", float(len(found)), "", target=0.0)]


def loop_plan(project: Project) -> list[Figure]:
    """Plans whose steps need each other, or themselves."""
    plans = [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "a"}]
    bodies = [
        TASK | {"plan": [{"id": id, "capability": "research", "needs": [needs]} for id, needs in plan.items()]}
        for plan in plans
    ]
    refused = sum(project.call("/execute_task", body)[0] == 422 for body in bodies)
    return [Figure(f"of {len(plans)} loops, refused", float(refused), "", target=float(len(plans)), at_least=True)]


def ask_twice(project: Project) -> list[Figure]:
    """One key, two hundred times at once, and once with another body."""
    key = {"Idempotency-Key": f"chaos-{time.time_ns()}"}
    with ThreadPoolExecutor(50) as pool:
        asked = [pool.submit(project.call, "/execute_task", TASK, headers=key, seconds=60.0) for _ in range(200)]
        ids = {one.result()[1].get("task_id") for one in asked}
    other, _ = project.call("/execute_task", TASK | {"priority": 1}, headers=key, seconds=60.0)
    return [Figure("tasks made by 200 requests", float(len(ids)), "", target=1.0),
            Figure("another body is 422", float(other == 422), "", target=1.0, at_least=True)]  # fmt: skip


PLAYED: dict[int, tuple[str, Play]] = {
    1: ("kill -9 of a worker under load", crash_worker),
    2: ("kill -9 of the coordinator under load", crash_coordinator),
    3: ("kill -9 of everything at once", cut_power),
    4: ("graceful restart of a worker under load", restart_worker),
    5: ("a worker off the network, and back", partition_worker),
    20: ("a worker stands still for 10 s", pause_worker),
    29: ("a body that is too large", refuse_large_body),
    34: ("path traversal in ids", cross_paths),
    36: ("loops in plans", loop_plan),
    41: ("one Idempotency-Key 200 times at once", ask_twice),
}


def _crash(project: Project, *services: str, serving: float) -> list[Figure]:
    with Traffic(project) as traffic:
        time.sleep(BEFORE_SECONDS)
        for service in services:
            project.crash(service)
        began = time.monotonic()
        wait(lambda: not set(WORKERS) <= set(project.list_healthy()), seconds=3.0)
        project.wait_serving()
        took = time.monotonic() - began
        time.sleep(AFTER_SECONDS)
    return [Figure("serving again", took, "s", target=serving), *_judge(traffic)]


def _judge(traffic: Traffic) -> list[Figure]:
    return [
        Figure(f"of {len(traffic.ends)} tasks, lost", float(traffic.lost), "", target=0.0),
        Figure("completed", traffic.completed, "%"),
    ]
