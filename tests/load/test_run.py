"""Whole runs against a coordinator that breaks."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from load.agents.slow import join, serve
from load.driving.calls import open_session

ROOT = Path(__file__).parents[2]


Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Fragile:
    """A coordinator in little: 4 tasks at once take 30 ms each, 8 may wait, more are refused."""

    running, waiting_at_most, seconds = 4, 8, 0.03

    def __init__(self) -> None:
        self.open = 0
        self.done = 0
        self.registered: dict[str, Any] = {}
        self.places = asyncio.Semaphore(self.running)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        status, said = await self.answer(scope["method"], scope["path"], body)
        headers = [(b"content-type", b"application/json"), (b"retry-after", b"1")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(said).encode()})

    async def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path == "/stats":
            now = {"running": min(self.open, self.running), "queued": max(0, self.open - self.running)}
            return 200, {"now": now, "agents": {"worker": {"steps": self.done, "avg_seconds": self.seconds}}}
        if path == "/execute_task":
            return await self.execute()
        if path == "/register_agent":
            self.registered = json.loads(body)
            return 201, {"agent_id": "load-slow-1", "name": self.registered["name"]}
        if method == "DELETE":
            self.registered = {}
            return 200, {}
        worker = {"name": "worker", "status": "healthy", "load": self.running, "max_concurrency": None}
        return 200, {"agents": [worker], "instances": [worker]}

    async def execute(self) -> tuple[int, Any]:
        if self.open >= self.running + self.waiting_at_most:
            return 429, {"type": "urn:muster:problem:overloaded", "detail": "8 tasks are waiting."}
        self.open += 1
        try:
            async with self.places:
                await asyncio.sleep(self.seconds)
        finally:
            self.open -= 1
        self.done += 1
        return 200, {"status": "completed", "results": []}


@pytest.fixture
def fragile() -> Iterator[tuple[str, Fragile]]:
    """Its address, and itself, served by a thread."""
    app = Fragile()
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None, http="httptools", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="fragile")
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", app
    server.should_exit = True
    thread.join(10)


def started(url: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "load.run", "--url", url, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(url: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    process = started(url, *arguments)
    out, err = process.communicate(timeout=40)
    return process.returncode, out, err


def test_the_search_finds_the_knee_and_why_it_broke(fragile, tmp_path):
    """4 at once: the best rate; 160 at once: most are refused. The page holds its charts itself."""
    url, _ = fragile
    page = tmp_path / "load.html"

    code, out, err = run(url, "--steps", "1,4,160,200", "--seconds", "0.8", "--json", "-", "--html", str(page))

    found = json.loads(out)
    assert code == 0, err
    assert [row["label"] for row in found["rows"]][-1] == "160"  # where it broke; 200 was never tried
    assert found["knee"]["label"] == "4"
    assert found["verdict"].startswith("It broke with 160 at once")
    assert found["rows"][-1]["reasons"]["overloaded"] > 0
    settings = [lever["setting"] for lever in found["settings"]]
    assert settings[-1] == "MAX_QUEUED_TASKS"
    assert "MAX_CONCURRENT_TASKS" in settings or settings[0].startswith("a quieter or a larger machine")
    if found["suggestion"] is None:  # other programs keep this machine busy, and it says so
        assert "No MAX_CONCURRENT_TASKS is suggested" in found["notes"][-1]
    else:
        assert found["suggestion"]["env_line"].startswith("MAX_CONCURRENT_TASKS=")
    assert "160" in err  # the rows went by while it ran
    html = page.read_text()
    assert html.count("<svg") == 3
    assert "http-equiv" not in html
    assert not [word for word in ("src=", "href=", "@import", "url(") if word in html]


def test_ctrl_c_ends_a_run_with_what_it_has(fragile, tmp_path):
    url, _ = fragile
    file = tmp_path / "load.json"
    process = started(url, "--steps", "2", "--seconds", "60", "--json", str(file))
    assert process.stdout is not None
    process.stdout.readline()  # the title: it runs
    time.sleep(0.7)

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)

    found = json.loads(file.read_text())
    assert (process.returncode, err) == (0, "")
    assert found["rows"][0]["completed"] > 0
    assert "Stopped early" in out


def test_worker_death_command_kills_and_reports(fragile):
    """Worker dies kills whom it was told and says what was felt."""
    url, _ = fragile
    victim = subprocess.Popen(["sleep", "60"])

    code, out, err = run(
        url,
        *("--scenario", "worker-dies", "--kill-pid", str(victim.pid)),
        *("--seconds", "3", "--rate", "20", "--json", "-"),
    )

    assert victim.wait(5) == -signal.SIGKILL
    assert code == 0, err
    figures = json.loads(out)["figures"]
    assert figures["success"] == 100
    assert figures["tasks that did not complete after the kill"] == 0
    assert figures["agent that lost an instance"] is None


def test_a_first_step_that_fails_is_exit_code_1(fragile):
    url, app = fragile
    app.running = 0
    app.waiting_at_most = 0

    code, out, _ = run(url, "--steps", "2,4", "--seconds", "0.5")

    assert code == 1
    assert "It broke in the first step: 0.0 %" in out


def test_nobody_there_is_one_sentence_and_exit_code_2():
    code, out, err = run("http://127.0.0.1:1")

    assert (code, out) == (2, "")
    assert err.startswith("python -m load.run: No coordinator answers at http://127.0.0.1:1")
    assert err.count("\n") == 1


async def test_the_slow_agent_joins_is_asked_and_leaves(fragile):
    url, app = fragile

    async with (
        open_session() as http,
        serve(0.05, "127.0.0.1") as (slow, endpoint),
        join(http, url, None, endpoint=endpoint, capability="research"),
    ):
        there = app.registered
        step = {"task_id": "t", "step_id": "s", "attempt": 2}
        async with http.post(f"{there['endpoint']}/execute", json=step) as answer:
            said = await answer.json()

    assert there["capabilities"] == ["research"]
    assert (said["status"], said["step_id"], said["attempt"]) == ("completed", "s", 2)
    assert slow.steps == 1
    assert app.registered == {}
