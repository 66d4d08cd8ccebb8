"""Containers that crash, stand still, lose the network or move, under load: nothing lost, everything back by itself."""

from __future__ import annotations

import contextlib
import secrets
import time

import httpx
import pytest

from tests.support.docker import docker, inspected
from tests.support.stack import SERVICES, WORKERS
from tests.support.traffic import TIMEOUT_SECONDS, Traffic, assert_nothing_lost

pytestmark = pytest.mark.timeout(180, func_only=True)


@pytest.mark.parametrize("service", SERVICES)
def test_crashed_container_serves_again_and_nothing_is_lost(stack, service):
    container = stack.container(service)
    before = stack.restarts(container)

    with Traffic(stack) as traffic:
        traffic.run_for(3)
        crashed_at = time.monotonic()
        stack.crash(container)
        stack.wait_for(lambda: stack.restarts(container) > before, why="restarted by Docker")
        stack.wait_for(lambda: stack.exec(service, "cat", "/proc/uptime", check=False), why="running")
        started = time.monotonic() - crashed_at
        stack.wait_for(lambda: stack.serves_anew(service, since=crashed_at))
        outage = time.monotonic() - crashed_at
        print(f"{service}: started after {started:.1f} s, serving after {outage:.1f} s")
        traffic.run_for(3)

    assert_nothing_lost(stack, traffic, f"{service} crashed", outage=outage)
    assert container == stack.container(service)


@pytest.mark.parametrize("service", ["researcher", "coordinator"])
def test_container_that_stands_still_for_eight_seconds(stack, service):
    with Traffic(stack) as traffic:
        traffic.run_for(2)
        began = time.monotonic()
        with stack.paused(stack.container(service)):
            time.sleep(8)
        print(f"{service}: serving {stack.wait_serving():.1f} s after it went on")
        outage = time.monotonic() - began
        traffic.run_for(2)

    assert_nothing_lost(stack, traffic, f"{service} paused for 8 s", outage=outage)


@pytest.mark.parametrize("service", ["analyzer", "coordinator"])
def test_container_that_loses_the_network_rejoins_by_itself(stack, service):
    with Traffic(stack) as traffic:
        traffic.run_for(2)
        began = time.monotonic()
        with stack.disconnected(stack.container(service), service):
            if service in WORKERS:
                seen = stack.wait_for(lambda: service not in stack.healthy())
                print(f"{service}: noticed after {seen:.1f} s")
            time.sleep(3)
        print(f"{service}: serving {stack.wait_serving():.1f} s after the network was back")
        outage = time.monotonic() - began
        traffic.run_for(2)

    assert_nothing_lost(stack, traffic, f"{service} disconnected", outage=outage)


def address(container: str, network: str) -> str:
    found: str = inspected(container)["NetworkSettings"]["Networks"][network]["IPAddress"]
    return found


def occupied(wanted: str, network: str, image: str) -> list[str]:
    """Containers on the network, the last of which has the wanted address: Docker gives them out in turn."""
    takers: list[str] = []
    while not takers or address(takers[-1], network) != wanted:
        assert len(takers) < 16
        takers.append(docker("run", "-d", "--rm", "--network", network, image, "sleep", "120"))
    return takers


@pytest.mark.parametrize("service", ["researcher", "coordinator"])
def test_container_made_anew_at_another_address(stack, service):
    network = f"{stack.name}_muster"
    container = stack.container(service)
    before = address(container, network)

    with Traffic(stack) as traffic:
        traffic.run_for(2)
        began = time.monotonic()
        stack.compose("rm", "--stop", "--force", service)
        takers = occupied(before, network, stack.image)
        try:
            stack.compose("up", "-d", "--no-recreate", service)
            print(f"{service}: serving {stack.wait_serving():.1f} s after it was made anew")
            outage = time.monotonic() - began
            traffic.run_for(2)
        finally:
            docker("rm", "--force", *takers)

    after = address(stack.container(service), network)
    assert after != before
    assert_nothing_lost(stack, traffic, f"{service} moved from {before} to {after}", outage=outage)


def test_all_four_crash_at_once(stack):
    """The power cut: whoever is first back waits for nobody."""
    with Traffic(stack) as traffic:
        traffic.run_for(3)
        for container in [stack.container(service) for service in SERVICES]:
            stack.crash(container)
        outage = stack.wait_serving()
        print(f"all four: serving after {outage:.1f} s")
        traffic.run_for(2)

    assert_nothing_lost(stack, traffic, "all four crashed", outage=outage)


def test_same_key_after_crash_gives_same_task(stack):
    """The same key after a crash gives the same task and its answer."""
    body = {"task_description": "How does Muster survive a crash?", "timeout_seconds": TIMEOUT_SECONDS}
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    with stack.client() as client:
        first = client.post("/execute_task", json=body, headers=headers | {"Prefer": "respond-async"}).json()
    stack.crash(stack.container("coordinator"))
    answers: list[httpx.Response] = []

    def answered() -> bool:
        with contextlib.suppress(httpx.TransportError), stack.client() as client:
            answers.append(client.post("/execute_task", json=body, headers=headers))
        return bool(answers)

    stack.wait_for(answered)
    assert answers[0].json()["task_id"] == first["task_id"]
    assert answers[0].json()["status"] == "completed"


def test_another_database_is_refused_not_ignored(make_stack):
    """With its address in the sentence, but for the password; the one that .env.example names is on the volume."""
    stack = make_stack(env={"DATABASE_URL": "mysql://muster:s3cret@db:3306/muster"})
    stack.compose("up", "-d", "--no-build", "coordinator")
    said = "DATABASE_URL='mysql://muster:[hidden]@db:3306/muster' cannot be used"
    stack.wait_for(lambda: said in stack.logs("coordinator"), seconds=90, why=said)
    assert "s3cret" not in stack.logs("coordinator")

    stack.env["DATABASE_URL"] = "sqlite:///data/muster.db"
    stack.compose("up", "-d", "--no-build", "--wait", "coordinator")
    assert stack.exec("coordinator", "ls", "/data/muster.db").strip() == "/data/muster.db"
