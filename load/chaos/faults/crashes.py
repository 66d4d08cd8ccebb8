"""Faults that end processes: crashes, a power cut, restarts on purpose, every order of starting."""

from __future__ import annotations

import random
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from load.chaos.engine import CannotPlay, docker, inspect, wait
from load.chaos.fault import Fault, at_most
from load.chaos.project import Project
from load.chaos.traffic import Traffic
from load.figures.figure import Figure

BEFORE_SECONDS, AFTER_SECONDS = 2.0, 2.0  # of traffic around a fault
NOTICED_SECONDS = 3.0
STREAMS = 50
ORDERS = 3
LATE_SECONDS = 5.0


def crash_worker(project: Project) -> list[Figure]:
    alone = len(project.find_all("analyzer")) == 1
    return _crash(project, [project.find("analyzer")], serving=8.0, completed=None if alone else 99.5)


def crash_coordinator(project: Project) -> list[Figure]:
    return _crash(project, [project.find("coordinator")], serving=8.0)


def cut_power(project: Project) -> list[Figure]:
    return _crash(project, project.list_containers(), serving=15.0)


def crash_database(project: Project) -> list[Figure]:
    return _crash(project, [_find(project, "postgres")], serving=15.0)


def crash_proxy(project: Project) -> list[Figure]:
    return _crash(project, [_find(project, "caddy")], serving=8.0)


def restart_gracefully(project: Project) -> list[Figure]:
    """A worker, then the coordinator while its events are read by many."""
    with Traffic(project) as traffic:
        time.sleep(BEFORE_SECONDS)
        docker("restart", "-t", "15", project.find("reporter"))
        back = project.wait_serving()
        over = threading.Event()
        with ThreadPoolExecutor(STREAMS) as pool:
            for _ in range(STREAMS):
                pool.submit(_read_streams, project, over)
            time.sleep(1.0)
            began = time.monotonic()
            docker("stop", "-t", "15", project.find("coordinator"))
            took = time.monotonic() - began
            docker("start", project.find("coordinator"))
            over.set()
        serving = project.wait_serving()
        time.sleep(AFTER_SECONDS)
    return [
        at_most(f"coordinator stops with {STREAMS} streams open", took, 10, "s"),
        at_most("worker takes steps again", back, 8, "s"),
        at_most("all serve again", serving, 8, "s"),
        *traffic.judge(),
    ]


def start_in_any_order(project: Project) -> list[Figure]:
    """All are stopped and started in an order drawn by lot, the coordinator last once, and 5 s late."""
    services = project.list_services()
    orders = [random.Random(seed).sample(services, len(services)) for seed in range(ORDERS - 1)]
    orders.append([name for name in services if name != "coordinator"] + ["coordinator"])
    slowest, restarts = 0.0, 0
    for number, order in enumerate(orders):
        everybody = [id for service in services for id in project.find_all(service)]
        docker("stop", "-t", "5", *everybody)
        for service in order:
            if service == order[-1] and number == len(orders) - 1:
                time.sleep(LATE_SECONDS)
            docker("start", *project.find_all(service))
        slowest = max(slowest, project.wait_serving())
        restarts += _count_restarts(project)
    return [
        at_most(f"{len(orders)} orders: all serve after the last start", slowest, 5, "s"),
        at_most("restarts by Docker", restarts, 0),
    ]


CRASHES = {
    1: Fault("kill -9 of a worker under load", "SIGKILL past Docker, which starts it again", crash_worker, 90.0),
    2: Fault("kill -9 of the coordinator under load", "SIGKILL past Docker", crash_coordinator, 90.0),
    3: Fault("kill -9 of everything at once", "SIGKILL of every container's first process", cut_power, 90.0),
    4: Fault(
        "graceful restarts under load", "docker restart, docker stop, 50 readers of events", restart_gracefully, 90.0
    ),
    14: Fault("any order of starting", "docker stop of all, docker start one by one", start_in_any_order, 120.0),
    49: Fault("kill -9 of PostgreSQL under load", "SIGKILL past Docker", crash_database, 90.0),
    50: Fault("kill -9 of Caddy under load", "SIGKILL past Docker", crash_proxy, 90.0),
}


def _find(project: Project, service: str) -> str:
    """The container of a service that only docker-compose.prod.yml has; raises `CannotPlay`."""
    found = project.find_all(service)
    if not found:
        raise CannotPlay(f"this project has no {service}")
    return found[0]


def _crash(project: Project, containers: list[str], *, serving: float, completed: float | None = None) -> list[Figure]:
    before = _count_restarts(project)
    with Traffic(project) as traffic:
        time.sleep(BEFORE_SECONDS)
        began = time.monotonic()
        project.crash(*containers)
        wait(lambda: _count_restarts(project) >= before + len(containers))
        wait(lambda: not project.is_serving(), seconds=NOTICED_SECONDS)  # what is gone is listed a moment longer
        project.wait_serving()
        took = time.monotonic() - began
        time.sleep(AFTER_SECONDS)
    return [at_most("all serve again", took, serving, "s"), *traffic.judge(completed=completed)]


def _count_restarts(project: Project) -> int:
    """How often Docker has started containers again by itself since they were started on purpose."""
    return sum(known["RestartCount"] for known in inspect(*project.list_containers()))


def _read_streams(project: Project, over: threading.Event) -> None:
    """Follows tasks of its own by their events until it is over."""
    body = b'{"task_description": "How does Muster survive a crash?", "timeout_seconds": 20}'
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream", **project.authorize()}
    while not over.is_set():
        try:
            request = urllib.request.Request(project.url + "/execute_task", body, headers)
            with urllib.request.urlopen(request, timeout=25) as answer:
                for _ in answer:
                    if over.is_set():
                        return
        except OSError:
            over.wait(0.2)
