"""Faults that would show in logs: injected lines, secrets, a flood."""

from __future__ import annotations

import contextlib
import json
import secrets
import time

from load.chaos.engine import docker, read_log
from load.chaos.fault import Fault, at_least, at_most
from load.chaos.odd import odd_agents
from load.chaos.project import WORKERS, Project
from load.chaos.traffic import QUESTION
from load.figures.figure import Figure

LOGGED = 40_000_000  # bytes: more than three files of 10 MB
EVIL = '\n{"level": "error", "event": "chaos.forged"}\r\n\x1b[31mred\x1b[0m\x00\u2028\x85'


def inject_lines(project: Project) -> list[Figure]:
    """Newlines, escape codes and whole log lines in everything that may be logged."""
    began = time.time()
    bodies = [
        {**QUESTION, "task_description": EVIL},
        {**QUESTION, "plan": [{"id": EVIL, "capability": EVIL}]},
        {**QUESTION, "agents": [EVIL]},
        {EVIL: EVIL},
        {**QUESTION, "context": {EVIL: EVIL}},
        {**QUESTION, "plan": [{"id": "a", "capability": "research", "input": EVIL}]},
    ]
    for body in bodies:
        project.call("/execute_task", body, seconds=30.0)
    project.call("/register_agent", {"name": EVIL, "endpoint": f"http://x/{EVIL}", "capabilities": [EVIL]})
    project.call(
        "/register_agent",
        {
            "name": "chaos-evil",
            "endpoint": "http://192.0.2.1:1",
            "capabilities": [],
            "description": EVIL,
            "version": EVIL,
        },
    )
    for path in ("/tasks/%0a%1b%5b31m", "/%0d%0a%7b%22event%22%3a1%7d", "/tasks?status=%0a%1b"):
        project.call(path)
    for name in ("X-Request-ID", "Idempotency-Key", "Muster-Tenant", "traceparent", "User-Agent"):
        project.call("/tasks", headers={name: 'x"} {"event": "chaos.forged"}\t\x1b[31m'.replace("\x1b", "\x7f")})
    project.withdraw_odd_agents()
    ours = [*project.coordinators, *(id for worker in WORKERS for id in project.find_all(worker))]
    lines = _read_logs(ours, began).split("\n")
    broken = [line for line in lines if line and not _is_event(line)]
    forged = [line for line in lines if line and _is_event(line) and json.loads(line)["event"] == "chaos.forged"]
    control = [line for line in lines if any(ord(sign) < 32 or ord(sign) in (127, 0x85, 0x2028) for sign in line)]
    return [
        at_least("lines logged", len(lines), 5),
        at_most("that are not one JSON object", len(broken), 0),
        at_most("forged", len(forged), 0),
        at_most("with control characters", len(control), 0),
    ]


def hide_secrets(project: Project) -> list[Figure]:
    """A secret of its own in each of many places; then all logs and metrics are searched."""
    began = time.time()
    planted: list[str] = []

    def plant() -> str:
        planted.append(f"canary{secrets.token_hex(12)}")
        return planted[-1]

    for header in ("Authorization", "Proxy-Authorization", "Cookie", "Muster-Secret", "X-Api-Key", "Muster-Hop"):
        value = plant()
        project.call("/tasks", headers={header: f"Bearer {value}" if "Auth" in header else value})
    for body in (
        {**QUESTION, "webhook_url": f"http://user:{plant()}@192.0.2.1/hook"},
        {**QUESTION, "webhook_url": f"http://192.0.2.1/hook?token={plant()}"},
        {**QUESTION, "task_description": f"My API key is {plant()}."},
        {**QUESTION, "context": {"password": plant(), "api_key": plant()}},
        {**QUESTION, "api_key": plant()},
        {**QUESTION, "plan": [{"id": "a", "capability": "research", "input": {"token": plant()}}]},
    ):
        project.call("/execute_task", body, seconds=30.0)
    agent = {"name": "chaos-secret", "endpoint": "http://192.0.2.1:1", "capabilities": []}
    project.call("/register_agent", agent | {"secret": plant()})
    project.call("/register_agent", agent | {"secret": plant()})
    project.call("/register_agent", agent | {"endpoint": f"http://user:{plant()}@192.0.2.1:1"})
    project.call("/register_agent", agent | {"metadata": {"api_key": plant()}})
    project.call(f"/tasks?api_key={plant()}")
    project.call("/execute_task", f'{{"api_key": "{plant()}", broken'.encode())
    project.call(
        "/v1/chat/completions", {"model": "muster", "messages": [{"role": "user", "content": plant()}]}, seconds=30
    )
    with odd_agents(project, "tells") as [odd]:
        project.run_task(odd.plan(timeout=5, mode="500") | {"context": plant()}, seconds=10.0)
    with contextlib.suppress(OSError):
        project.call("/delegate", {"agent": "x", "input": plant()}, headers={"Authorization": f"Bearer {plant()}"})
    output = _read_logs(project.list_containers(), began) + json.dumps(list(project.read_metrics()))
    if project.api_key:
        planted.append(project.api_key)
    return [at_most(f"of {len(planted)} secrets, found in logs or metrics", sum(one in output for one in planted), 0)]


def flood_log(project: Project) -> list[Figure]:
    """A service writes 40 MB; Docker keeps three files of 10 MB."""
    container = project.find("reporter")
    line = json.dumps({"level": "info", "event": "chaos.flood", "filler": "x" * 400})
    docker("exec", container, "sh", "-c", f"yes '{line}' | head -c {LOGGED} > /proc/1/fd/1")
    size = len(read_log(container).encode())
    return [at_least("kept of 40 MB", size / 1e6, 1, "MB"), at_most("kept of 40 MB", size / 1e6, 30, "MB")]


LOGS = {
    31: Fault("lines injected into the log", "newlines, escape codes, log lines in fields and paths", inject_lines),
    32: Fault("secrets in logs", "secrets in more than 20 places, all logs and metrics searched", hide_secrets),
    46: Fault("a log that is flooded", "40 MB written to a service's standard output", flood_log),
}


def _read_logs(containers: list[str], since: float) -> str:
    """What these containers have said since then."""
    time.sleep(1.0)  # lines are written a moment later
    return "\n".join(read_log(one, "--since", f"{since:.3f}") for one in containers)


def _is_event(line: str) -> bool:
    try:
        found = json.loads(line)
    except ValueError:
        return False
    return isinstance(found, dict) and "event" in found
