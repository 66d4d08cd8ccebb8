"""Commands whose coordinator is away, refuses, is another or no Muster at all, and whose reader or user stops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from coordinator.cli.commands import cli
from tests.support.fakes import ROOT
from tests.support.processes import Coordinator

ID = "0" * 32
COMMANDS = [
    ["ask", "Why?"],
    ["ask", "Why?", "--async"],
    ["tasks"],
    ["show", ID],
    ["why", ID],
    ["tail", ID],
    ["rerun", ID],
    ["rerun", "--status", "failed"],
    ["report", ID],
    ["cancel", ID],
    ["agents"],
    ["agents", "drain", "a"],
    ["agents", "remove", "a", "--database-url", "memory:"],
]
every_command = pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
WAITS = [{"id": "wait", "capability": "away"}]


@contextmanager
def answering(status: int, body: bytes, *, health: dict[str, Any] | None = None) -> Iterator[str]:
    """The URL of a server that answers everything with this, and `/health` with that."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            about = health if self.path == "/health" else None
            self.send_response(200 if about else status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(about).encode() if about else body)

        do_GET = do_POST = do_PATCH = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, name="answering", daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def muster(url: str, *arguments: str) -> Any:
    return CliRunner().invoke(cli, [*arguments, "--url", url])


def problem(detail: str) -> bytes:
    return json.dumps({"detail": detail}).encode()


@every_command
@pytest.mark.parametrize(("status", "code"), [(401, 1), (403, 1), (404, 1), (500, 1), (502, 4), (503, 4)])
def test_a_refusal_is_one_sentence(command: list[str], status: int, code: int) -> None:
    """With the exit code that says whether it may go better later."""
    with answering(status, problem("It says no."), health={"name": "coordinator", "version": "0.0.9"}) as url:
        done = muster(url, *command)

    said = [line for line in done.output.splitlines() if line]
    assert (done.exit_code, len(said)) == (code, 1), done.output
    assert f"HTTP {status}: It says no." in said[0]
    assert ("The coordinator has version 0.0.9, this command line" in said[0]) == (status == 404)


@every_command
def test_what_is_no_coordinator_is_named(command: list[str]) -> None:
    """Some other service on the port, which answers 200 to everything."""
    with answering(200, b"<html>Welcome</html>") as url:
        done = muster(url, *command)

    if command[0] == "report":
        return  # a report is any text
    assert (done.exit_code, len(done.output.splitlines())) == (4, 1), done.output
    assert f"{url} is no coordinator" in done.output


@every_command
def test_nobody_there_is_exit_code_4(command: list[str]) -> None:
    done = muster("http://127.0.0.1:9", *command)

    assert (done.exit_code, len(done.output.splitlines())) == (4, 1), done.output
    assert "No coordinator answers at http://127.0.0.1:9: Connection refused." in done.output


def test_a_key_that_no_header_carries_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "s3cret\nline")

    done = muster("http://127.0.0.1:9", "tasks")

    assert done.exit_code == 2
    assert "one line of ASCII" in done.output
    assert "s3cret" not in done.output


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Coordinator(tmp_path_factory.mktemp("coordinator")) as coordinator:
        yield let_wait(coordinator.start().ready().url)


def let_wait(url: str) -> str:
    """Registers an agent that never comes, which the step of `WAITS` waits for."""
    body = {"name": "away", "endpoint": "http://127.0.0.1:9", "capabilities": ["away"]}
    httpx.post(f"{url}/register_agent", json=body).raise_for_status()
    return url


def start(url: str, *arguments: str, **more: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "coordinator.cli", *arguments, "--url", url]
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # one that is ignored would be so there, too
    try:
        return subprocess.Popen(command, cwd=ROOT, env=environ, text=True, stderr=subprocess.PIPE, **more)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_stopped_ask_says_that_the_task_goes_on(url: str) -> None:
    """Ctrl-C ends the command with 130, and stops no task."""
    plan = json.dumps(WAITS)
    with start(url, "ask", "Why?", "--plan", "/dev/stdin", stdin=subprocess.PIPE) as asking:
        assert asking.stdin is not None
        assert asking.stderr is not None
        asking.stdin.write(plan)
        asking.stdin.close()
        assert "task.accepted" in asking.stderr.readline()
        asking.send_signal(signal.SIGINT)
        said = asking.stderr.read()
        code = asking.wait(30)

    [task] = httpx.get(f"{url}/tasks", params={"limit": 1}).json()["tasks"]
    assert code == 130
    assert f"The task {task['task_id']} goes on" in said
    assert task["status"] in ("queued", "running")
    assert "Traceback" not in said


@pytest.mark.parametrize("command", [["agents"], ["tasks", "--json"], ["--help"]], ids=" ".join)
def test_a_reader_that_stops_is_no_error_to_tell(url: str, command: list[str]) -> None:
    """`muster agents | head -0`: nothing is printed about it."""
    reading, writing = os.pipe()
    os.close(reading)
    arguments = [sys.executable, "-m", "coordinator.cli", *command, *([] if command == ["--help"] else ["--url", url])]
    done = subprocess.run(arguments, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)

    assert (done.returncode, done.stderr) == (1, "")


def test_ask_comes_back_after_a_restart(tmp_path: Path) -> None:
    """The task goes on in a coordinator that was killed and started again, and `ask` waits for it."""
    with Coordinator(tmp_path) as coordinator:
        url = let_wait(coordinator.start().ready().url)
        with start(url, "ask", "Why?", "--json", "--plan", "/dev/stdin", stdin=subprocess.PIPE, stdout=-1) as asking:
            assert asking.stdin is not None
            assert asking.stderr is not None
            assert asking.stdout is not None
            asking.stdin.write(json.dumps(WAITS))
            asking.stdin.close()
            assert "task.accepted" in asking.stderr.readline()
            coordinator.kill()
            coordinator.start().ready()
            task = json.loads(asking.stdout.read())
            code = asking.wait(60)

    assert (code, task["status"]) == (1, "failed")
