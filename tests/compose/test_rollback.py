"""docs/rollback.md in containers: an image of the version before, on the journal of this one, and forward again."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from shared.version import VERSION
from tests.compose.conftest import BUILD_SECONDS
from tests.support.docker import docker, run
from tests.support.previous import find_previous
from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(900, func_only=True)
PREVIOUS = find_previous()


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image of the version before, out of the sources of its commit."""
    sources = PREVIOUS.unpack(tmp_path_factory.mktemp("previous"))
    tag = f"muster:test-{secrets.token_hex(4)}"
    run("docker", "build", "--quiet", "--tag", tag, str(sources), seconds=BUILD_SECONDS)
    yield tag
    docker("rmi", "--force", tag, check=False)


def execute(stack: Stack) -> str:
    with stack.client() as client:
        answer = client.post("/execute_task", json={"task_description": "What is a lease?"})
        assert answer.status_code == 200, answer.text
        id: str = answer.json()["task_id"]
        return id


def seen(stack: Stack, *ids: str) -> tuple[str, set[str]]:
    """The coordinator's version, and the statuses of tasks."""
    with stack.client() as client:
        return client.get("/health").json()["version"], {client.get(f"/tasks/{id}").json()["status"] for id in ids}


def test_one_version_back_and_forward(make_stack, image: str, older: str) -> None:
    """No task is lost either way; without the downgrade the older image refuses, and loses nothing."""
    stack: Stack = make_stack().up()
    stack.wait_serving()
    ids = [execute(stack)]
    stack.compose("stop", "coordinator")

    stack.env["MUSTER_IMAGE"] = older
    stack.compose("up", "-d", "--no-build", "coordinator")
    stack.wait_for(lambda: "newer Muster" in stack.logs("coordinator"), seconds=90, why="the older image refuses")
    stack.compose("stop", "coordinator")
    stack.env["MUSTER_IMAGE"] = image
    stack.compose("run", "--rm", "--no-deps", "-T", "coordinator", "python", "-m", "coordinator.cli", "downgrade")

    stack.env["MUSTER_IMAGE"] = older
    stack.up("--no-build")
    stack.wait_serving(seconds=90)
    assert seen(stack, *ids) == (PREVIOUS.version, {"completed"})
    ids.append(execute(stack))

    stack.env["MUSTER_IMAGE"] = image
    stack.compose("up", "-d", "--no-build", "--no-deps", "--wait", "coordinator")  # beside the older workers
    stack.wait_serving(seconds=90)
    ids.append(execute(stack))
    assert seen(stack, *ids) == (VERSION, {"completed"})
