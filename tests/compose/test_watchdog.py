"""A worker whose loop stands in a container: it ends itself, Docker starts it again, and its task is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.compose.test_fourth_worker import with_counter
from tests.support.docker import ROOT, docker, run
from tests.support.stack import WORKERS, Stack

pytestmark = pytest.mark.timeout(180, func_only=True)
BLOCKS_ONCE = """
import time

from shared.worker import Agent, Reply, serve_worker


async def run(step, ctx):
    if step.attempt == 1:
        time.sleep(3600)
    return Reply("done")


def make_agent(state_dir):
    return Agent(name="counter", description="Blocks once.", capabilities=("count",), run=run)


if __name__ == "__main__":
    serve_worker(make_agent)
"""


@pytest.fixture
def image_that_blocks(image: str, tmp_path: Path) -> Iterator[str]:
    (tmp_path / "counter.py").write_text(BLOCKS_ONCE)
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nCOPY counter.py /app/workers/\n")
    run("docker", "build", "--quiet", "--tag", f"{image}-blocks", str(tmp_path))
    yield f"{image}-blocks"
    docker("rmi", "--force", f"{image}-blocks", check=False)


def test_blocked_worker_is_restarted(image_that_blocks: str, make_stack: Callable[..., Stack], tmp_path: Path) -> None:
    """Its loop stands in `time.sleep`: no heartbeat, no health check."""
    env = {"KNOWLEDGE_DIR": str(ROOT / "docs"), "MUSTER_IMAGE": image_that_blocks, "WATCHDOG_SECONDS": "2"}
    stack = make_stack(file=str(with_counter(tmp_path, "docker-compose.yml")), env=env).up()
    stack.wait_serving([*WORKERS, "counter"])
    plan = [{"id": "words", "capability": "count", "input": "one"}]

    with stack.client() as client:
        body = {"task_description": "How many words?", "plan": plan, "timeout_seconds": 60}
        answer = client.post("/execute_task", json=body).json()

    assert (answer["status"], answer["results"][0]["output"]) == ("completed", "done"), answer
    assert stack.restarts(stack.container("counter")) == 1
    assert "worker.blocked" in stack.logs("counter")
