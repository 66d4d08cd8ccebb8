"""Logs as somebody reads them: one line an event and a request, JSON where asked for, task ids, and no secrets."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from load.processes.ports import free_port
from shared import logs
from shared.settings import SearchSettings
from tests.support.fakes import eventually
from tests.support.processes import start

CANARY = "canary-5f1d0c"


@pytest.fixture
async def lines(tmp_path: Path) -> list[dict[str, object]]:
    """What a coordinator with a key logs while it is asked this and that, with the key in every place."""
    port = free_port()
    env = {"LOG_FORMAT": "json", "API_KEY": CANARY, "DATABASE_URL": "memory:"}
    with start("coordinator", "--port", str(port), folder=tmp_path, env=env) as running:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def up() -> bool:
                try:
                    return (await client.get("/ready")).is_success
                except httpx.TransportError:
                    return False

            await eventually(up, seconds=40)
            known = {"Authorization": f"Bearer {CANARY}"}
            await client.get("/stats", headers={"Authorization": f"Bearer {CANARY}x"})
            await client.get(f"/tasks/{CANARY}", headers=known, params={"key": CANARY})
            body = {"task_description": f"my key is {CANARY}", "timeout_seconds": 1}
            await client.post("/execute_task", json=body, headers=known)
            await client.get("/tasks/two%0Alines%1B[31m", headers=known)
            text = await eventually(lambda: running.output if "two" in running.output else None)
    return [json.loads(line) for line in text.splitlines()]


async def test_every_line_is_one_json_object_with_the_service(lines: list[dict[str, object]]) -> None:
    assert len(lines) >= 5
    assert {line["service"] for line in lines} == {"coordinator"}


async def test_every_request_has_one_line(lines: list[dict[str, object]]) -> None:
    asked = [(line["method"], line["status"]) for line in lines if line["event"] == "request.done"]

    assert [a for a in asked if a != ("GET", 503)] == [("GET", 401), ("GET", 404), ("POST", 500), ("GET", 404)]


async def test_what_belongs_to_a_task_names_it(lines: list[dict[str, object]]) -> None:
    ended = next(line for line in lines if line["event"] == "task.finished")
    request = next(line for line in lines if (line["event"], line.get("path")) == ("request.done", "/execute_task"))

    assert ended["task_id"]
    assert request["task_id"] == ended["task_id"]


async def test_no_secret_is_in_any_line(lines: list[dict[str, object]]) -> None:
    assert [line for line in lines if CANARY in json.dumps(line)] == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer [hidden]"),
        ('{"authorization": "Bearer abc", "x": 1}', '{"authorization": "Bearer [hidden]", "x": 1}'),
        ("http://user:pass@host/path", "http://user:[hidden]@host/path"),
        ("key sk-abcdefgh1234 sent", "key sk-[hidden] sent"),
        ("the own one: hush", "the own one: [hidden]"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_secrets_are_hidden_wherever_they_stand(text: str, shown: str) -> None:
    assert logs.redacted(text, ["hush"]) == shown


def test_the_secrets_of_a_service_are_its_secret_settings() -> None:
    settings = SearchSettings(_env_file=None, search_api_key=SecretStr("one"), api_key=SecretStr("two"))

    assert sorted(logs.secrets_of(settings)) == ["one", "two"]


def test_log_line_cannot_forge_or_reveal() -> None:
    """What others have sent cannot begin a line of its own, and no short secret slips through."""
    said = {"why": "two\nlines", "said": 'a "b"', "path": "/x\x1b[31m", "own": "hush", "api_key": "k", "ms": 1.5}

    line = logs.ConsoleLine(["hush"])(None, "info", {"event": "task.finished"} | said)

    fields = "api_key=[hidden] ms=1.5 own=[hidden] path='/x\\x1b[31m' said='a \"b\"' why='two\\nlines'"
    assert re.fullmatch(r"\d\d:\d\d:\d\d \[info     \] task\.finished          (.+)", line)[1] == fields


FORGED = "/x\x1b]0;owned\a\x9b2J\u202e\u2066\u2028\u2029\x85\r\n12:00:00 [info     ] task.finished\udcff"
LOGGING = f"""
import logging
from shared import logs
from shared.settings import Settings
logs.configure(Settings(_env_file=None), service="x")
logs.get().info("request.done", path={FORGED!r}, many=[{FORGED!r}])
logging.getLogger("uvicorn.error").warning("%s", {FORGED!r})
try:
    raise ValueError({FORGED!r})
except ValueError as exc:
    logs.get().error("request.broke", exc_info=exc)
"""


@pytest.mark.parametrize("terminal", [True, False])
def test_every_console_line_is_visible_text(terminal: bool) -> None:
    """Escapes, direction marks and line separators from outside are shown, not obeyed, in fields, words and errors."""
    reading, writing = pty.openpty() if terminal else os.pipe()
    env = os.environ | {"TERM": "xterm"}
    with os.fdopen(reading, "rb", closefd=True) as log:
        subprocess.run([sys.executable, "-c", LOGGING], stdout=writing, check=True, timeout=50, env=env)
        os.close(writing)
        text = _rest(log.fileno()).decode("utf-8")

    bare = re.sub(r"\x1b\[[0-9;]*m", "", text) if terminal else text  # structlog's own colours
    lines = bare.replace("\r\n", "\n").rstrip("\n").split("\n")
    assert [line for line in lines if not line.isprintable()] == []
    assert len([line for line in lines if re.match(r"\d\d:", line)]) == 3


def _rest(fd: int) -> bytes:
    """Everything until the other end is closed, which a terminal says with an error."""
    text = b""
    while True:
        try:
            piece = os.read(fd, 65_536)
        except OSError:
            return text
        if not piece:
            return text
        text += piece
