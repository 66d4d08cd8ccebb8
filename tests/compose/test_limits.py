"""Memory that runs out, a state volume that is full, a loop that dies: everything comes back by itself."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.docker import ROOT, docker
from tests.support.stack import AGAIN_SECONDS, SERVICES, WORKERS, Stack
from tests.support.traffic import TIMEOUT_SECONDS, Traffic, assert_nothing_lost

INSIDE = ROOT / "tests" / "compose" / "inside"
FREED_SECONDS = 20.0  # 5 are promised
VOLUME = "24m"  # a task and its report take up to 0.1 MB
TIGHT = "92m"  # enough to work, not for 60 MB more

KEEP_FULL = """
until [ -e /tmp/enough ]; do dd if=/dev/zero of=/data/ballast bs=4k oflag=append conv=notrunc; sleep 0.1; done
rm /data/ballast
"""

pytestmark = pytest.mark.timeout(180, func_only=True)


def mounted(file: str, target: str) -> dict[str, object]:
    return {"type": "bind", "source": str(INSIDE / file), "target": target, "read_only": True}


@contextlib.contextmanager
def deaths(container: str) -> Iterator[Callable[[], list[tuple[str, int]]]]:
    """What Docker tells about a container meanwhile: ("oom", 0) and ("die", exit code).

    Listened to as it is told: Docker remembers 256 events, and health checks are events too.
    """
    filters = ("--filter", f"container={container}", "--filter", "event=die", "--filter", "event=oom")
    command = ("docker", "events", "--since", str(time.time()), *filters, "--format", "{{json .}}")
    with tempfile.NamedTemporaryFile() as told, subprocess.Popen(command, stdout=told) as listener:

        def seen() -> list[tuple[str, int]]:
            events = [json.loads(line) for line in Path(told.name).read_text().splitlines() if line.endswith("}")]
            return [(event["Action"], int(event["Actor"]["Attributes"].get("exitCode", 0))) for event in events]

        try:
            yield seen
        finally:
            listener.terminate()


@pytest.mark.parametrize("service", ["coordinator", "researcher"])
def test_out_of_memory(image, service):
    """Killed with 137, started again by Docker, serving again; what was accepted is carried on."""
    variable = "COORDINATOR_MEMORY" if service == "coordinator" else "WORKER_MEMORY"
    with Stack(image, env={variable: TIGHT}) as stack:
        stack.up().wait_serving()
        container = stack.container(service)
        with Traffic(stack) as traffic, deaths(container) as seen:
            traffic.run_for(2)
            began = time.monotonic()
            # files in /tmp are memory, and gone with the container's end
            docker("exec", container, "dd", "if=/dev/zero", "of=/tmp/much", "bs=1M", "count=60", check=False)
            stack.wait_for(lambda: ("die", 137) in seen(), why="killed with 137")
            stack.wait_for(lambda: stack.serves_anew(service, since=began))
            outage = time.monotonic() - began
            print(f"{service} out of memory: {seen()}, serving again after {outage:.1f} s")
            traffic.run_for(2)
            assert ("oom", 0) in seen()

        assert_nothing_lost(stack, traffic, f"{service} out of memory", outage=outage)


def test_task_that_kills_workers_ends_others_go_on(image):
    """Three deaths are enough; the queue moves on."""
    patient = {
        "image": image,
        "command": ["python", "-m", "workers.patient", "--host", "0.0.0.0", "--port", "8000"],
        "environment": {"COORDINATOR_URL": "http://coordinator:8000", "LOG_FORMAT": "json"},
        "volumes": [mounted("patient.py", "/app/workers/patient.py")],
        "networks": ["muster"],
        "restart": "unless-stopped",
        "init": True,
        "mem_limit": "128m",
        "memswap_limit": "128m",
    }
    with Stack(image, override={"services": {"patient": patient}}) as stack:
        stack.up("coordinator", "patient").wait_serving(["patient"])
        body = {"task_description": "Wait", "timeout_seconds": TIMEOUT_SECONDS}
        plan = [{"id": "wait", "capability": "wait", "input": {"seconds": 0.2}}]
        poison = body | {"plan": [{"id": "eat", "capability": "wait", "input": {"eat": True}}]}
        container = stack.container("patient")
        with stack.client(TIMEOUT_SECONDS + 5) as client:
            answer = client.post("/execute_task", json=poison)
            stack.wait_for(lambda: stack.restarts(container) == 3, why="three deaths")

            error = answer.json()["task"]["results"][0]["error"]
            print(f"a task that kills its workers: HTTP {answer.status_code}, {error}")
            assert answer.status_code == 500
            assert error["type"] == "agent_lost"
            stack.wait_serving(["patient"])
            assert client.post("/execute_task", json=body | {"plan": plan}).json()["status"] == "completed"


def test_a_full_state_volume(image):
    """New tasks are refused by name, reads go on; freed space is enough, without a restart."""
    options = {"type": "tmpfs", "device": "tmpfs", "o": f"size={VOLUME},uid=10001,gid=10001"}
    with Stack(image, override={"volumes": {"journal": {"driver_opts": options}}}) as stack:
        stack.up().wait_serving()
        container = stack.container("coordinator")
        body = {"task_description": "How does Muster survive a crash?", "timeout_seconds": TIMEOUT_SECONDS}

        def asked() -> httpx.Response:
            return client.post("/execute_task", json=body, headers={"Prefer": "respond-async"})

        with stack.client() as client, Traffic(stack, rate=2) as traffic:
            traffic.run_for(2)
            docker("exec", "-d", container, "bash", "-c", KEEP_FULL)
            stack.wait_for(lambda: asked().status_code == 503, why="503 on a full volume")
            assert asked().json()["type"] == "urn:muster:problem:storage_full"
            for path in ("/health", "/agents", "/tasks", "/stats"):
                assert client.get(path).status_code == 200, path
            assert client.get("/ready").status_code == 503
            traffic.run_for(2)
            docker("exec", container, "touch", "/tmp/enough")
            seconds = stack.wait_for(lambda: asked().status_code == 202, seconds=FREED_SECONDS)
            print(f"a full volume: tasks are taken again {seconds:.1f} s after there was room")
            traffic.run_for(2)

        assert stack.restarts(container) == 0
        assert_nothing_lost(stack, traffic, "state volume full")


def test_a_dead_background_loop_ends_its_process(image):
    """Docker starts again what exits; it leaves alone what merely stopped working."""
    paths = {"environment": {"PYTHONPATH": "/app:/inside"}}
    mount = {"volumes": [mounted("sitecustomize.py", "/inside/sitecustomize.py")]}
    with Stack(image, override={"services": dict.fromkeys(SERVICES, paths | mount)}) as stack:
        stack.up().wait_serving()
        for service in ("coordinator", WORKERS[0]):
            container = stack.container(service)
            began = time.monotonic()
            with deaths(container) as seen:
                docker("exec", container, "bash", "-c", "kill -USR1 1")
                stack.wait_for(lambda seen=seen: ("die", 1) in seen(), why="exit code 1")
                stack.wait_for(
                    lambda service=service, began=began: stack.serves_anew(service, since=began), seconds=AGAIN_SECONDS
                )
            print(f"a loop of the {service} died: serving again after {time.monotonic() - began:.1f} s")
            assert "loop.died" in docker("logs", container)
