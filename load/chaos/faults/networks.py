"""Faults of the network: a worker off it, one that cannot be called, one at another address."""

from __future__ import annotations

import time

from load.chaos.engine import docker, inspect, wait
from load.chaos.fault import Fault, at_most, holds
from load.chaos.project import LABEL, Project
from load.chaos.traffic import Traffic
from load.figures.figure import Figure

BEFORE_SECONDS, AFTER_SECONDS = 2.0, 2.0  # of traffic around a fault
MOST_TAKERS = 16  # addresses that Docker may give out before the one that is wanted


def partition_worker(project: Project) -> list[Figure]:
    with Traffic(project) as traffic:
        time.sleep(BEFORE_SECONDS)
        with project.disconnected(project.find("analyzer")):
            noticed = wait(lambda: not project.is_serving())
        back = project.wait_serving()
        time.sleep(AFTER_SECONDS)
    return [at_most("noticed", noticed, 8, "s"), at_most("back by itself", back, 5, "s"), *traffic.judge()]


def block_calls_to_worker(project: Project) -> list[Figure]:
    """Its heartbeats arrive all the time."""
    with Traffic(project, rate=2.0) as traffic:
        time.sleep(BEFORE_SECONDS)
        with project.deaf_to_calls(project.find("analyzer")):
            noticed = wait(lambda: not project.is_serving())
            time.sleep(4.0)
            still = not project.is_serving()
        back = project.wait_serving()
        time.sleep(AFTER_SECONDS)
    return [
        at_most("not routed to", noticed, 8, "s"),
        holds("stays so although it sends heartbeats", still),
        at_most("back by itself", back, 8, "s"),
        *traffic.judge(),
    ]


def move_worker(project: Project) -> list[Figure]:
    """Somebody else gets its address meanwhile."""
    container = project.find("researcher")
    before = _find_address(project, container)
    with Traffic(project) as traffic:
        time.sleep(BEFORE_SECONDS)
        with project.disconnected(container):
            takers: list[str] = []
            while len(takers) < MOST_TAKERS and before not in [_find_address(project, one) for one in takers]:
                options = ("--rm", "--network", project.network, "--label", f"{LABEL}={project.name}")
                takers.append(docker("run", "-d", *options, project.image, "sleep", "120"))
        back = project.wait_serving()
        after = _find_address(project, container)
        docker("rm", "--force", *takers)
        time.sleep(AFTER_SECONDS)
    return [holds("has another address", after != before), at_most("back by itself", back, 5, "s"), *traffic.judge()]


NETWORKS = {
    5: Fault("a worker off the network, and back", "docker network disconnect, connect", partition_worker, 90.0),
    6: Fault(
        "a worker that can call and cannot be called",
        "iptables in its network drops what is sent to it",
        block_calls_to_worker,
        90.0,
    ),
    13: Fault(
        "a worker at another address",
        "docker network disconnect, another container takes its address, connect",
        move_worker,
        90.0,
    ),
}


def _find_address(project: Project, container: str) -> str:
    address: str = inspect(container)[0]["NetworkSettings"]["Networks"][project.network]["IPAddress"]
    return address
