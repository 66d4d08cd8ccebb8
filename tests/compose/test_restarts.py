"""Restarts and upgrades on purpose, under load: no accepted task is lost, and a stop takes seconds."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.docker import docker, run
from tests.support.stack import SERVICES, Stack
from tests.support.traffic import Traffic, assert_nothing_lost

STOP_SECONDS = 10.0
STREAMS = 100

pytestmark = pytest.mark.timeout(180, func_only=True)


def test_restart_of_the_coordinator(stack):
    with Traffic(stack) as traffic:
        traffic.run_for(3)
        began = time.monotonic()
        stack.compose("restart", "coordinator")
        stack.wait_for(lambda: stack.serves_anew("coordinator", since=began))
        outage = time.monotonic() - began
        print(f"restart coordinator: serving again {outage:.1f} s after the command")
        traffic.run_for(3)

    assert_nothing_lost(stack, traffic, "restart coordinator", outage=outage)


def test_down_and_up_again(stack):
    """The volumes are kept, the containers are others."""
    with Traffic(stack) as traffic:
        traffic.run_for(3)
        began = time.monotonic()
        stack.compose("down")
        down = time.monotonic() - began
        stack.compose("up", "-d")
        stack.wait_serving()
        outage = time.monotonic() - began
        print(f"down: {down:.1f} s; serving again {outage:.1f} s after it began")
        traffic.run_for(3)

    assert_nothing_lost(stack, traffic, "down && up -d", outage=outage)


def test_upgrade_to_a_new_image(stack):
    """`up -d` with another image: every container is made anew, the journal is taken over."""
    new = f"{stack.image}-new"
    run("docker", "build", "--quiet", "--tag", new, "-", stdin=f"FROM {stack.image}\nLABEL upgrade=1\n")
    before = {service: stack.container(service) for service in SERVICES}
    try:
        with Traffic(stack) as traffic:
            traffic.run_for(3)
            began = time.monotonic()
            stack.env["MUSTER_IMAGE"] = new
            stack.compose("up", "-d")
            stack.wait_serving()
            outage = time.monotonic() - began
            print(f"up -d with a new image: serving again {outage:.1f} s after it began")
            traffic.run_for(3)

        assert all(stack.container(service) != before[service] for service in SERVICES)
        assert_nothing_lost(stack, traffic, "up -d with a new image", outage=outage)
    finally:
        stack.env["MUSTER_IMAGE"] = stack.image
        stack.compose("up", "-d")
        docker("rmi", "--force", new, check=False)


def test_graceful_stop_with_a_hundred_open_streams(image):
    """Streams are told to end, waiting callers get 503 with Location, and the tasks go on after the next start."""
    with Stack(image, override={"services": {"researcher": {"deploy": {"replicas": 0}}}}) as stack:
        stack.up()
        stack.wait_serving(["analyzer", "reporter"])
        body = {
            "task_description": "What waits?",
            "timeout_seconds": 120,
            "plan": [{"id": "a", "capability": "analyze"}],
        }
        stack.compose("pause", "analyzer")  # the task is running and does not end
        with stack.client() as client:
            waiting = client.post("/execute_task", json=body, headers={"Prefer": "respond-async"}).json()["task_id"]

        opened = threading.Semaphore(0)

        def stream(_: int) -> str:
            with stack.client() as client, client.stream("GET", f"/tasks/{waiting}/events") as answer:
                assert answer.status_code == 200
                lines = answer.iter_lines()
                next(lines)
                opened.release()
                try:
                    for _ in lines:
                        pass
                except httpx.TransportError as exc:
                    return type(exc).__name__
            return "ended"

        def wait(_: int) -> tuple[int, str]:
            with stack.client() as client:
                answer = client.post("/execute_task", json=body)
            return answer.status_code, answer.headers.get("Location", "")

        with ThreadPoolExecutor(STREAMS + 5) as pool:
            streams = [pool.submit(stream, n) for n in range(STREAMS)]
            for _ in range(STREAMS):
                assert opened.acquire(timeout=30)
            callers = [pool.submit(wait, n) for n in range(5)]
            time.sleep(1)
            began = time.monotonic()
            stack.compose("stop", "coordinator")
            seconds = time.monotonic() - began
            ends = [future.result(timeout=30) for future in streams]
            answers = [future.result(timeout=30) for future in callers]

        print(f"stop with {STREAMS} streams: {seconds:.1f} s; streams {set(ends)}; callers {answers}")
        assert seconds <= STOP_SECONDS
        assert set(ends) == {"ended"}
        assert {status for status, _ in answers} == {503}
        assert all(location.startswith("/tasks/") for _, location in answers)
        assert stack.state(stack.container("coordinator"))["ExitCode"] in (0, 143)

        stack.compose("unpause", "analyzer")
        stack.compose("start", "coordinator")
        stack.wait_serving(["analyzer", "reporter"])
        with stack.client() as client:
            ids = [waiting, *(location.removeprefix("/tasks/") for _, location in answers)]
            ended = ("completed", "partial", "failed")
            stack.wait_for(
                lambda: {client.get(f"/tasks/{id}").json()["status"] for id in ids} <= set(ended), seconds=30
            )
