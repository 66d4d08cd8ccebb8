"""The suite as plain processes: starts them, shows their logs by name, restarts those that crash, stops them all."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FrameType

import httpx

from shared.logs.output import LogOutput
from shared.server.parent import PARENT_VARIABLE, is_orphan

WORKERS = ("researcher", "analyzer", "reporter")
STOP_SECONDS = 10.0
RESTART_SECONDS = (0.5, 10.0)  # pause before a crashed process is started again: first and longest
COLOURS = {"coordinator": "36", "researcher": "32", "analyzer": "33", "reporter": "35"}
USAGE_ERROR = 2  # exit code of a process that starting again would not help

Show = Callable[[str, str], None]


@dataclass
class _Service:
    name: str
    command: list[str]
    environ: dict[str, str]
    process: subprocess.Popen[str] | None = None
    pause: float = RESTART_SECONDS[0]
    again_at: float = 0.0
    started_at: float = field(default=0.0)


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind((host, 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def prefixed() -> Show:
    """Prints a line under the name of its service, in the service's colour on a terminal."""
    output = LogOutput(sys.stdout, lambda lines: f"{'':<11} | {lines} lines are missing here\n")
    colour = sys.stdout.isatty()

    def show(name: str, line: str) -> None:
        head = f"\033[{COLOURS[name]}m{name:<11}\033[0m" if colour else f"{name:<11}"
        output.write(f"{head} | {line}\n")

    return show


class SuiteFailed(Exception):
    """A process ended in a way that a restart would not fix; the text says which and what it said."""


class Suite:
    """Coordinator and three workers as child processes, on `ports` (coordinator first)."""

    def __init__(
        self, *, ports: list[int], show: Show, host: str = "127.0.0.1", environ: Mapping[str, str] | None = None
    ) -> None:
        self.url = f"http://{host}:{ports[0]}"
        self._host, self._ports = host, ports
        self._show = show
        self._stopping = threading.Event()
        ours = {"PYTHONUNBUFFERED": "1", PARENT_VARIABLE: str(os.getpid())}
        base = dict(os.environ) | ours | dict(environ or {})
        self._services = [
            _Service(
                name,
                [sys.executable, "-m", module, "--host", host, "--port", str(port)],
                base if name == "coordinator" else base | {"COORDINATOR_URL": self.url},
            )
            for name, module, port in zip(
                ("coordinator", *WORKERS),
                ("coordinator", *(f"workers.{w}" for w in WORKERS)),
                ports,
                strict=True,
            )
        ]

    def __enter__(self) -> Suite:
        """Starts all four; raises `SuiteFailed` where one of the ports is taken."""
        for port in self._ports:
            if not _is_free(self._host, port):  # before any starts: workers would register at who is there already
                raise SuiteFailed(
                    f"Port {port} on {self._host} is in use. Choose four consecutive free ports, for instance: "
                    f".venv/bin/python -m coordinator.cli run --port 9000"
                )
        for service in self._services:
            self._start(service)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        running = [s.process for s in self._services if s.process is not None and s.process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def wait_ready(self, seconds: float = 30.0, *, key: str | None = None) -> None:
        """Waits until every agent is healthy; raises `SuiteFailed` when one cannot start or the time runs out.

        `key` is the bearer token that the coordinator asks for.
        """
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        until = time.monotonic() + seconds
        why = "the coordinator is not responding"
        with httpx.Client(base_url=self.url, headers=headers, timeout=2, trust_env=False) as client:
            while time.monotonic() < until:
                self.tend()
                try:
                    agents = client.get("/agents?status=healthy").json()["agents"]
                    away = set(WORKERS) - {agent["name"] for agent in agents}
                    if not away:
                        return
                    why = f"still waiting for: {', '.join(sorted(away))}"
                except (httpx.HTTPError, ValueError, KeyError):
                    pass
                time.sleep(0.05)
        raise SuiteFailed(f"The suite was not ready within {seconds:.0f} s: {why}.")

    def tend(self) -> None:
        """Starts again what has crashed; raises `SuiteFailed` for what would only fail again."""
        for service in self._services:
            process = service.process
            if process is None and time.monotonic() >= service.again_at:
                self._start(service)
            elif process is not None and (code := process.poll()) is not None and not self._stopping.is_set():
                if code == USAGE_ERROR:
                    raise SuiteFailed(f"{service.name} cannot start; see its last lines above.")
                if time.monotonic() - service.started_at > RESTART_SECONDS[1]:
                    service.pause = RESTART_SECONDS[0]
                self._show(service.name, f"ended with {_ending(code)}; starting again in {service.pause:g} s")
                service.process, service.again_at = None, time.monotonic() + service.pause
                service.pause = min(RESTART_SECONDS[1], service.pause * 2)

    def run_for_ever(self) -> None:
        """Tends the processes until SIGINT, SIGTERM or SIGHUP, or until the parent that was named is gone."""

        def stop(_: int, __: FrameType | None) -> None:
            self._stopping.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, stop)
        while not self._stopping.wait(0.2) and not is_orphan():
            self.tend()

    def _start(self, service: _Service) -> None:
        service.started_at = time.monotonic()
        service.process = subprocess.Popen(
            service.command,
            env=service.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches us, and we end them in order
        )
        threading.Thread(target=self._relay, args=(service.name, service.process), daemon=True).start()

    def _relay(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._show(name, line.rstrip("\n"))


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as exc:
            return exc.errno != errno.EADDRINUSE  # what else is wrong, the service that binds it says
        return True


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
