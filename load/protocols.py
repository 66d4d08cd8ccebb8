"""What the façades cost: a chat against a plain step on a worker that does nothing, and memory before and after use."""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from rich.console import Console
from rich.progress import track

from load.figures.figure import Figure
from load.figures.table import show
from load.processes.ports import free_port
from load.processes.programs import ROOT
from load.processes.stage import Stage
from load.processes.usage import read_pss_megabytes

MAX_OVERHEAD_MS = 5.0
MAX_UNCALLED_MEGABYTES = 5.0  # what façades may cost a worker that is never called through them
MAX_USED_MEGABYTES = 100.0  # one service, every façade called
WARM_UP = 50
SETTLE_SECONDS = 2.0
WORKER = """
import os
from shared.worker import Agent, Reply, app, serve_worker

if os.environ.get("FACADES") == "none":
    app.FACADES = ()

async def run(step, ctx):
    return Reply("Nothing was done.")

if __name__ == "__main__":
    serve_worker(lambda state_dir: Agent(name="noop", description="Does nothing.", capabilities=("noop",), run=run))
"""
CHAT = {"model": "noop", "messages": [{"role": "user", "content": "Why are there tides?"}]}
A2A = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "Why are there tides?"}]}
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "load", "version": "1"}}
Body = Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class FacadeUse:
    """The first call through one façade; the same call again is its usual one."""

    facade: str
    path: str
    body: Body | None
    headers: tuple[tuple[str, str], ...] = ()


def build_rpc(method: str, params: dict[str, Any]) -> Body:
    """Returns what builds a JSON-RPC 2.0 request."""
    return lambda: {"jsonrpc": "2.0", "id": uuid4().hex, "method": method, "params": params}


USES = (
    FacadeUse("OpenAI", "/v1/chat/completions", lambda: CHAT),
    FacadeUse("KAOS", "/.well-known/agent", None),
    FacadeUse("MCP", "/mcp", build_rpc("initialize", HELLO), (("Accept", "application/json, text/event-stream"),)),
    FacadeUse("A2A", "/a2a", build_rpc("SendMessage", {"message": A2A}), (("A2A-Version", "1.0"),)),
)


def build_step() -> dict[str, Any]:
    """Returns a step that no worker has seen yet."""
    return {"task_id": uuid4().hex, "step_id": "s", "attempt": 1, "capability": "noop", "input": "Why?"}


class Service:
    """A process and one connection to it that is kept."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def call(self, use: FacadeUse) -> int:
        """Makes a call, reads the answer to its end, and returns the status."""
        content = json.dumps(use.body()) if use.body else None
        headers = {"Content-Type": "application/json", **dict(use.headers)}
        self._connection.request("POST" if content else "GET", use.path, content, headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def hang_up(self) -> None:
        """Closes the connection, as the service does with an idle one; the next call opens another."""
        self._connection.close()

    def time_call(self, use: FacadeUse) -> float:
        """Returns the milliseconds of a call; exits when it failed."""
        began = time.perf_counter()
        status = self.call(use)
        elapsed = (time.perf_counter() - began) * 1000
        if status != 200:
            sys.exit(f"{use.path} answered {status}.")
        return elapsed

    def read_megabytes(self) -> float:
        return read_pss_megabytes(self.process.pid)


def main() -> int:
    given = _parse_arguments()
    with Stage() as stage:
        (stage.folder / "noop_worker.py").write_text(WORKER)
        bare, worker = _start(stage, "noop_worker", "none"), _start(stage, "noop_worker", "all")
        stage.pin(0, 1)
        _sleep(SETTLE_SECONDS, "settling")
        without, uncalled = bare.read_megabytes(), worker.read_megabytes()
        stage.end(bare.process)
        worker_memory, missing = _use_facades(worker)
        coordinator = _start(stage, "coordinator", "all")
        _sleep(SETTLE_SECONDS, "settling")
        resting = coordinator.read_megabytes()
        coordinator_memory, _ = _use_facades(coordinator)
        stage.end(coordinator.process)
        forgetful = _start(stage, "noop_worker", "all", MEMORY_ENABLED="false")
        times = _time_calls(worker, forgetful, given.requests)
    step_ms = times["execute"]
    figures = [
        Figure("chat over /execute, p50", times["chat"] - step_ms, "ms", target=MAX_OVERHEAD_MS),
        Figure("streamed chat over /execute, p50", times["streamed"] - step_ms, "ms", target=MAX_OVERHEAD_MS),
        Figure("chat that is not remembered over /execute, p50", times["forgotten"] - step_ms, "ms"),
        *(Figure(f"  {name}, p50", value, "ms") for name, value in times.items()),
        Figure("memory (PSS) of unused façades", uncalled - without, "MB", target=MAX_UNCALLED_MEGABYTES),
        Figure("  a worker without façades", without, "MB"),
        Figure("  an unused worker", uncalled, "MB"),
        Figure("memory of a worker, all in use", list(worker_memory.values())[-1], "MB", target=MAX_USED_MEGABYTES),
        *(Figure(f"  after {name}", value, "MB") for name, value in worker_memory.items()),
        Figure(
            "memory of the coordinator, all in use",
            list(coordinator_memory.values())[-1],
            "MB",
            target=MAX_USED_MEGABYTES,
        ),
        Figure("  at rest", resting, "MB"),
        *(Figure(f"  after {name}", value, "MB") for name, value in coordinator_memory.items()),
    ]
    notes = [
        f"{given.requests} calls of each kind, in turns, over one connection, after {WARM_UP} of each.",
        "A chat that is remembered is on the disk before its answer ends: one fsync.",
    ]
    if missing:
        notes.append(f"A worker does not have: {', '.join(missing)}.")
    return show("What the façades cost", figures, notes, as_json=given.json)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.protocols",
        description="""Starts a worker that does nothing, with and without façades, and a coordinator; measures a chat
        against a plain step, and memory before and after the first call through each façade. MB are 10^6 bytes; pages
        that processes share count once. Linux only. Ends what it started. Exit code 1: a target was missed.""",
    )
    parser.add_argument("--requests", type=int, default=300, help="of each kind (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args()


def _start(stage: Stage, module: str, facades: str, **settings: str) -> Service:
    port = free_port()
    env = {"PYTHONPATH": f"{stage.folder}:{ROOT}", "FACADES": facades, "LOG_LEVEL": "WARNING", **settings}
    process = stage.start(module, "--port", str(port), env=env, core=0)
    stage.wait(process, f"http://127.0.0.1:{port}/ready")
    return Service(process, port)


def _use_facades(service: Service) -> tuple[dict[str, float], list[str]]:
    """Calls each façade; returns the memory after each, and the façades that are not there."""
    memory, missing = {}, []
    for use in USES:
        found = [service.call(use) for _ in range(3)]
        if found[0] == 404 and use.facade != "OpenAI":
            missing.append(use.facade)
        else:
            memory[use.facade] = service.read_megabytes()
    service.hang_up()
    return memory, missing


def _time_calls(worker: Service, forgetful: Service, requests: int) -> dict[str, float]:
    """Returns median milliseconds of each kind of call. Kinds take turns, so that a slow moment meets all alike."""
    kinds = {
        "execute": (worker, FacadeUse("", "/execute", build_step)),
        "chat": (worker, USES[0]),
        "streamed": (worker, FacadeUse("", "/v1/chat/completions", lambda: CHAT | {"stream": True})),
        "forgotten": (forgetful, USES[0]),
    }
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    for round_ in track(range(WARM_UP + requests), "measuring", console=Console(stderr=True), transient=True):
        for name, (service, use) in kinds.items():
            elapsed = service.time_call(use)
            if round_ >= WARM_UP:
                taken[name].append(elapsed)
    return {name: statistics.median(values) for name, values in taken.items()}


def _sleep(seconds: float, what: str) -> None:
    for _ in track(range(round(seconds * 10)), description=what, console=Console(stderr=True), transient=True):
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
