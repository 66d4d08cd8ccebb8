"""Workers in containers keep their secrets in memory, but for the researcher: nothing has to be kept for them."""

from __future__ import annotations

import pytest

from tests.support.stack import WORKERS, Stack

pytestmark = pytest.mark.timeout(240, func_only=True)

FIVE = ["analyzer", "reporter", "researcher", "researcher", "researcher"]
BODY = {"task_description": "How does Muster survive a crash?", "timeout_seconds": 30}


def completed(stack: Stack) -> bool:
    with stack.client() as client:
        status: str = client.post("/execute_task", json=BODY).json()["status"]
    return status == "completed"


def test_replicas_restarts_and_new_containers_work(image):
    """`--scale 3`, then `restart` and `--force-recreate` of each worker: each is back, and takes steps at once."""
    with Stack(image) as stack:
        stack.up("--scale", "researcher=3").wait_serving(FIVE)
        for worker in WORKERS:
            stack.compose("restart", worker)
            stack.wait_serving(FIVE)
            assert completed(stack), f"after restart {worker}"
        for worker in WORKERS:
            scale = ("--scale", "researcher=3") if worker == "researcher" else ()
            stack.compose("up", "-d", "--force-recreate", "--no-deps", *scale, worker)
            stack.wait_serving(FIVE)
            assert completed(stack), f"after --force-recreate {worker}"

        stack.wait_for(lambda: len(stack.agents()) == len(FIVE), why="no ghost of an earlier self")
        shown = {key: value for key, value in stack.agents()[0].items() if key in ("name", "instance", "endpoint")}
        with stack.client() as client:
            stolen = client.post("/register_agent", json=shown | {"capabilities": ["report"]})
            kept = client.delete(f"/agents/{stack.agents()[0]['agent_id']}")
        assert (stolen.status_code, kept.status_code) == (403, 403)


def test_killed_worker_is_back_with_another_instance(image):
    """The process of a killed worker starts again in its container without the secret it had: no task fails."""
    with Stack(image) as stack:
        stack.up().wait_serving()
        stack.crash(stack.container("analyzer"))

        assert all(completed(stack) for _ in range(5))
        stack.wait_serving()
        stack.wait_for(lambda: len(stack.agents()) == len(WORKERS), why="its earlier self is gone")
