"""The README's lines for a backup and for what it is for, as they stand there."""

from __future__ import annotations

import os
import re

import pytest

from tests.compose.docker import ROOT, run

pytestmark = pytest.mark.timeout(180, func_only=True)


def commands(what: str) -> list[str]:
    """The commands of one row of the README's table."""
    row = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(f"| {what} |"))
    return re.findall(r"`(docker [^`]+)`", row)


def test_back_up_lose_everything_and_restore(make_stack, tmp_path):
    """Under load, twice; then the volume is emptied, and every task that was backed up is there again."""
    stack = make_stack().up()
    stack.wait_serving()
    env = stack.env | {"COMPOSE_FILE": str(ROOT / "docker-compose.yml"), "COMPOSE_PROJECT_NAME": stack.name}
    env |= {"KNOWLEDGE_DIR": str(ROOT / "docs"), "PATH": os.environ["PATH"]}

    def asked() -> str:
        with stack.client() as client:
            answer = client.post("/execute_task", json={"task_description": "What is a lease?"})
            assert answer.status_code == 200, answer.text
            id: str = answer.json()["task_id"]
            return id

    ids = [asked()]
    for _ in range(2):  # a second backup replaces the first
        ids.append(asked())
        for command in commands("back up"):
            run("bash", "-c", f"cd {tmp_path} && {command}", env=env)
    lost = asked()
    stack.exec("coordinator", "bash", "-c", "rm /data/muster.db*; kill 1", check=False)
    for command in commands("restore"):
        run("bash", "-c", f"cd {tmp_path} && {command}", env=env)
    stack.wait_serving()

    with stack.client() as client:
        assert [client.get(f"/tasks/{id}").json()["status"] for id in ids] == ["completed"] * len(ids)
        assert client.get(f"/tasks/{lost}").status_code == 404
    assert asked()
