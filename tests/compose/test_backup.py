"""The README's lines for a backup and for what it is for, as they stand there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support.docker import ROOT, Refused, run
from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(180, func_only=True)
A2A = {"A2A-Version": "1.0"}


def commands(what: str) -> list[str]:
    """The commands of one row of the README's table."""
    row = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(f"| {what} |"))
    return re.findall(r"`(docker [^`]+)`", row)


def follow(stack: Stack, folder: Path, lines: list[str]) -> None:
    """Runs a row's commands in `folder`, one after the other, as somebody would who copies them."""
    env = stack.env | {"COMPOSE_FILE": str(ROOT / "docker-compose.yml"), "COMPOSE_PROJECT_NAME": stack.name}
    env |= {"KNOWLEDGE_DIR": str(ROOT / "docs"), "PATH": os.environ["PATH"]}
    for command in lines:
        run("bash", "-c", f"cd {folder} && {command}", env=env)


def asked(stack: Stack) -> str:
    with stack.client() as client:
        answer = client.post("/execute_task", json={"task_description": "What is a lease?"})
        assert answer.status_code == 200, answer.text
        id: str = answer.json()["task_id"]
        return id


def a2a(stack: Stack, method: str, **params: object) -> dict[str, object]:
    """The result of an A2A call, or its error."""
    with stack.client() as client:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = client.post("/a2a", json=body, headers=A2A).json()
        found: dict[str, object] = answer.get("result") or answer["error"]
        return found


def asked_over_a2a(stack: Stack, id: str) -> str:
    message = {"messageId": id, "role": "ROLE_USER", "parts": [{"text": "What is a lease?"}]}
    task = a2a(stack, "SendMessage", message=message)["task"]
    assert isinstance(task, dict)
    return str(task["id"])


def test_back_up_lose_everything_and_restore(make_stack, tmp_path):
    """Twice; then the volume is emptied and something new begun, and what was backed up is there again, alone."""
    stack = make_stack().up()
    stack.wait_serving()
    ids, kept = [asked(stack)], asked_over_a2a(stack, "kept")
    for _ in range(2):  # a second backup replaces the first
        ids.append(asked(stack))
        follow(stack, tmp_path, commands("back up"))
    stack.compose("stop", "coordinator")  # from one that runs the journal cannot be taken: it would be rescued
    stack.compose("run", "--rm", "--no-deps", "-T", "coordinator", "bash", "-c", "rm -r /data/*")
    stack.compose("start", "coordinator")
    stack.wait_serving()
    lost, lost_too = asked(stack), asked_over_a2a(stack, "lost")
    follow(stack, tmp_path, commands("restore"))
    stack.wait_serving()

    with stack.client() as client:
        assert [client.get(f"/tasks/{id}").json()["status"] for id in ids] == ["completed"] * len(ids)
        assert client.get(f"/tasks/{lost}").status_code == 404
        assert client.get("/memory/sessions").json()["total"] == 1
    assert a2a(stack, "GetTask", id=kept)["id"] == kept
    assert "not found" in str(a2a(stack, "GetTask", id=lost_too)).lower()
    assert asked(stack)

    (tmp_path / "backup.tar").write_bytes((tmp_path / "backup.tar").read_bytes()[:50_000])  # a copy that broke off
    with pytest.raises(Refused, match="Unexpected EOF"):
        follow(stack, tmp_path, commands("restore")[1:2])  # the coordinator may stay: nothing of its is touched
    with stack.client() as client:
        assert client.get(f"/tasks/{ids[0]}").json()["status"] == "completed"
