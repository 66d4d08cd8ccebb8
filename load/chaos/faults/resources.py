"""Faults of the machine: no memory, no processor time, a process that stands still."""

from __future__ import annotations

import contextlib
import time

from load.chaos.engine import Refused, docker, inspect, wait
from load.chaos.fault import Fault, at_least, at_most
from load.chaos.project import WORKERS, Project
from load.chaos.traffic import Traffic
from load.figures.figure import Figure

BEFORE_SECONDS, AFTER_SECONDS = 2.0, 2.0  # of traffic around a fault
STARVED_SECONDS = 20.0
STILL_SECONDS = 30.0
READ_MEMORY = "cat /sys/fs/cgroup/memory.current /sys/fs/cgroup/memory/memory.usage_in_bytes 2>/dev/null | head -1"
HEADROOM = 40  # megabytes above what it uses; then twice as much is taken


def run_out_of_memory(project: Project) -> list[Figure]:
    """Of a worker, then of the coordinator."""
    return [*_fill_memory(project, "researcher"), *_fill_memory(project, "coordinator")]


def starve_worker(project: Project) -> list[Figure]:
    """A tenth of a core for 20 s; who is slow is not taken for dead by the dozen."""
    least = sum(project.expected.values())
    with Traffic(project, rate=2.0) as traffic:
        time.sleep(BEFORE_SECONDS)
        with project.throttled(project.find("analyzer"), 0.1):
            until = time.monotonic() + STARVED_SECONDS
            while time.monotonic() < until:
                healthy = [name for name in project.list_healthy() if name in WORKERS]
                least = min(least, len(healthy))
                time.sleep(0.2)
        back = project.wait_serving()
        time.sleep(AFTER_SECONDS)
    return [
        at_most("workers out at once", sum(project.expected.values()) - least, 1),
        at_most("back by itself", back, 5, "s"),
        *traffic.judge(),
    ]


def stand_still(project: Project) -> list[Figure]:
    """A worker stands for 30 s and goes on as if nothing had been."""
    with Traffic(project) as traffic:
        time.sleep(BEFORE_SECONDS)
        with project.stopped(project.find("researcher")):
            noticed = wait(lambda: not project.is_serving())
            time.sleep(max(0.0, STILL_SECONDS - noticed))
        back = project.wait_serving()
        time.sleep(AFTER_SECONDS)
    return [at_most("noticed", noticed, 8, "s"), at_most("back by itself", back, 5, "s"), *traffic.judge()]


RESOURCES = {
    18: Fault("out of memory", "docker update --memory, dd into a tmpfs", run_out_of_memory, 150.0),
    19: Fault("starved of processor time", "docker update: a tenth of a core for 20 s", starve_worker, 90.0),
    20: Fault("a worker stands still for 30 s", "SIGSTOP and SIGCONT of all its processes", stand_still, 120.0),
}


def _fill_memory(project: Project, service: str) -> list[Figure]:
    """Files in /tmp are memory."""
    container = project.find(service)
    before = _count_restarts(container)
    with Traffic(project) as traffic:
        time.sleep(BEFORE_SECONDS)
        used = int(docker("exec", container, "sh", "-c", READ_MEMORY)) // 1_000_000
        with project.squeezed(container, used + HEADROOM):
            began = time.monotonic()
            with contextlib.suppress(Refused):  # it is killed with the rest
                fill = ("dd", "if=/dev/zero", "of=/tmp/much", "bs=1M", f"count={used + 2 * HEADROOM}")
                docker("exec", container, *fill)
            wait(lambda: _count_restarts(container) > before)
        project.wait_serving()
        took = time.monotonic() - began
        time.sleep(AFTER_SECONDS)
    return [
        at_least(f"{service} killed", _count_restarts(container) - before, 1),
        at_most("all serve again", took, 10, "s"),
        *traffic.judge(),
    ]


def _count_restarts(container: str) -> int:
    """How often Docker has started it again by itself."""
    count: int = inspect(container)[0]["RestartCount"]
    return count
