"""The doctor before real containers: each of the five failures is made, found, and mended by the command it names."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.docker import ROOT, Done, docker, inspected, run
from tests.support.stack import SERVICES, Stack

pytestmark = pytest.mark.timeout(300, func_only=True)
SMALL_VOLUME = {"driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": "size=2m,uid=10001,gid=10001"}}
FOUND_SECONDS = 90.0  # three failed checks, 5 s apart and of 3 s each, and looks of 4 s, on a busy machine
HANG = ("bash", "-c", "kill -STOP $(</proc/1/task/1/children)")  # the service itself, not Docker's checks of it


# failures show after some 5 s instead of 25
QUICK = {
    "environment": {"PROBE_LOOKS": "0"},
    "healthcheck": {"interval": "1s", "timeout": "2s", "retries": 3, "start_period": "60s"},
}
QUICK_CHECKS = {"services": dict.fromkeys(SERVICES, QUICK)}


@pytest.fixture
def make_stack(make_stack: Callable[..., Stack]) -> Callable[..., Stack]:
    def make(**options: Any) -> Stack:
        stack = make_stack(**options)
        stack.override(QUICK_CHECKS)
        return stack

    return make


@pytest.fixture(scope="module")
def _doctors_stack(image: str) -> Iterator[Stack]:
    with Stack(image, override=QUICK_CHECKS) as stack:
        stack.up()
        yield stack


@pytest.fixture
def stack(_doctors_stack: Stack) -> Stack:
    """The stack that these tests share: whoever breaks it mends it with the doctor's commands."""
    _doctors_stack.wait_serving()
    return _doctors_stack


def look(stack: Stack, *options: str, **env: str) -> Done:
    command = (sys.executable, "-m", "coordinator.cli", "doctor", "--url", stack.url, *options)
    return run(*command, check=False, seconds=60, env=env)


def findings(stack: Stack) -> list[dict[str, Any]]:
    """What the doctor finds besides that all is well."""
    done = look(stack, "--json")
    found = [finding for finding in json.loads(done.stdout)["findings"] if finding["severity"] != "ok"]
    assert (done.returncode == 1) == any(finding["severity"] == "problem" for finding in found)
    return found


def found(stack: Stack, check: str, words: str) -> dict[str, Any]:
    """Waits until the doctor finds this, in this check."""
    until = time.monotonic() + FOUND_SECONDS
    seen: list[dict[str, Any]] = []
    while time.monotonic() < until:
        seen = findings(stack)
        matching = [f for f in seen if f["check"] == check and words in f"{f['what']} {f['why']}"]
        if matching:
            assert len(matching) == 1
            return matching[0]
    raise AssertionError(f"{check}: {words!r} is not found within {FOUND_SECONDS:.0f} s; last seen: {seen}")


def mend(stack: Stack, finding: dict[str, Any]) -> None:
    """Runs the command that a finding names, as a user would, in the project's folder."""
    run("bash", "-c", finding["mend"], env=stack.env)


def wait_well(stack: Stack) -> None:
    stack.wait_serving(seconds=FOUND_SECONDS)
    stack.wait_for(lambda: not findings(stack), seconds=FOUND_SECONDS, why="no finding")


def test_a_well_stack_has_no_finding(stack):
    done = look(stack)

    assert done.returncode == 0, done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["✓"] * 7


def test_a_worker_that_is_off_the_network(stack):
    docker("network", "disconnect", f"{stack.name}_muster", stack.container("researcher"))

    finding = found(stack, "reach", "researcher cannot reach the coordinator")
    mend(stack, finding)

    wait_well(stack)


def test_a_coordinator_that_came_back_without_its_name(stack):
    """Disconnected and connected again, as guides for Docker say: Compose's alias is gone, and with it every worker."""
    network, name = f"{stack.name}_muster", stack.container("coordinator")
    docker("network", "disconnect", network, name)
    docker("network", "connect", network, name)

    finding = found(stack, "reach", "lacks the alias 'coordinator' there")
    mend(stack, finding)

    wait_well(stack)


def test_a_service_whose_health_check_fails(stack):
    stack.exec("analyzer", *HANG)

    finding = found(stack, "health", "analyzer's health check fails. Health check exceeded timeout")
    assert [f for f in findings(stack) if f["check"] == "reach"] == []  # its silence is explained
    mend(stack, finding)

    wait_well(stack)


def test_a_coordinator_that_hangs(stack):
    stack.exec("coordinator", *HANG)

    finding = found(stack, "reach", "The coordinator does not answer")
    found(stack, "health", "coordinator's health check fails")
    mend(stack, finding)

    wait_well(stack)


def test_a_coordinator_that_was_stopped(stack):
    stack.compose("stop", "coordinator")

    finding = found(stack, "reach", "Its container was stopped")
    mend(stack, finding)

    wait_well(stack)


def test_a_wrong_port_is_answered_with_the_right_one(stack):
    done = run(
        *(sys.executable, "-m", "coordinator.cli", "doctor", "--url", "http://127.0.0.1:9", "--project", stack.name),
        check=False,
    )

    assert done.returncode == 1
    assert f"doctor --url http://127.0.0.1:{stack.port}" in done.stdout


def test_docker_that_is_not_there(stack, tmp_path):
    """What HTTP shows is shown, and what was not looked at is named."""
    done = look(stack, PATH=str(tmp_path))

    assert done.returncode == 0, done.stdout
    assert "reaches 3 agents" in done.stdout
    assert "Not checked: containers, because docker is not installed." in done.stdout


def test_addresses_that_lead_nowhere(make_stack):
    """A worker with a wrong COORDINATOR_URL, and one whose own address is wrong though its heartbeats arrive."""
    stack = make_stack(
        override={
            "services": {
                "analyzer": {"environment": {"COORDINATOR_URL": "http://nowhere:8000"}},
                "reporter": {"environment": {"ADVERTISE_URL": "http://nowhere:8000"}},
            }
        }
    ).up()

    lost = found(stack, "reach", "analyzer cannot reach the coordinator. It tries http://nowhere:8000")
    unreached = found(stack, "reach", "The coordinator cannot reach reporter. It sends heartbeats")
    mended = stack.override(
        {"services": {"analyzer": {"environment": {"COORDINATOR_URL": "http://coordinator:8000"}},
                      "reporter": {"environment": {"ADVERTISE_URL": ""}}}}
    )  # fmt: skip
    for finding in (lost, unreached):
        mend(stack, finding | {"mend": finding["mend"].replace(" up -d", f" -f {mended} up -d")})

    wait_well(stack)


def test_keys_that_differ(make_stack):
    stack = make_stack(
        env={"API_KEY": "right"}, override={"services": {"analyzer": {"environment": {"API_KEY": "wrong"}}}}
    ).up()

    blind = look(stack)
    assert "the coordinator requires a key; set API_KEY" in blind.stdout
    stack.wait_for(
        lambda: "rejects its API_KEY; set the same API_KEY for all" in look(stack, API_KEY="right").stdout,
        seconds=FOUND_SECONDS,
    )


def test_out_of_memory(make_stack):
    """A limit too small to start in: killed and restarted again and again."""
    stack = make_stack(env={"WORKER_MEMORY": "24m"})
    stack.compose("up", "-d")

    finding = found(stack, "memory", "reporter ran out of memory. Its container was killed at its limit of 24 MB")

    assert finding["mend"].startswith("WORKER_MEMORY=512m docker compose")
    assert inspected(stack.container("reporter"))["RestartCount"] > 0
    for service in ("researcher", "analyzer", "reporter"):
        mend(stack, found(stack, "memory", f"{service} ran out of memory"))
    wait_well(stack)


def test_a_full_disk(make_stack):
    """The journal's volume has no room: found while the coordinator runs on, and over when there is room."""
    stack = make_stack(override={"volumes": {"journal": SMALL_VOLUME}}).up()
    stack.wait_serving()
    stack.exec("coordinator", "bash", "-c", "cat /dev/zero > /data/ballast", check=False)
    with stack.client() as client:
        assert client.post("/execute_task", json={"task_description": "tides"}).status_code == 503

    finding = found(stack, "disk", "coordinator: /data is full.")

    shown = run("bash", "-c", finding["mend"], env=stack.env).stdout
    assert "/data/ballast" in shown
    stack.exec("coordinator", "rm", "/data/ballast")
    stack.wait_for(lambda: not [f for f in findings(stack) if f["severity"] == "problem"], seconds=FOUND_SECONDS)


def test_a_disk_too_full_to_start(make_stack):
    """The coordinator cannot even open its journal: the reason comes from its log."""
    stack = make_stack(
        override={
            "volumes": {"journal": {"driver_opts": SMALL_VOLUME["driver_opts"] | {"o": "size=8k,uid=10001,gid=10001"}}}
        }
    )
    stack.compose("up", "-d")

    found(stack, "disk", "coordinator's disk is full. Its log says")
    assert "disk is full" in found(stack, "reach", "The coordinator does not answer")["why"]


def test_logs_that_are_not_rotated(make_stack, tmp_path):
    """The file without its limits on logs: no override can take them away."""
    file = tmp_path / "docker-compose.yml"
    limit = '    options: {max-size: 10m, max-file: "3"}'
    text = (ROOT / file.name).read_text()
    assert limit in text
    file.write_text(text.replace(limit, ""))
    stack = make_stack(file=str(file), env={"KNOWLEDGE_DIR": str(ROOT / "docs")}).up()

    for service in SERVICES:
        finding = found(stack, "disk", f"{service}'s log is not rotated")
        assert f"-f {file} " in finding["mend"]
        assert finding["mend"].endswith(f" up -d --no-deps --force-recreate {service}")


def test_limits_that_are_reached(make_stack):
    stack = make_stack(env={"MAX_CONCURRENT_TASKS": "1", "MAX_QUEUED_TASKS": "1"}).up()
    stack.wait_serving()

    def execute(number: int) -> int:
        return httpx.post(
            f"{stack.url}/execute_task", json={"task_description": f"tides {number}"}, timeout=60
        ).status_code

    with ThreadPoolExecutor(12) as pool:
        codes = set(pool.map(execute, range(24)))
    assert 429 in codes
    finding = found(stack, "limits", "The coordinator refuses tasks. It answered 429")
    mend(stack, finding)

    wait_well(stack)
    environ = inspected(stack.container("coordinator"))["Config"]["Env"]
    assert "MAX_CONCURRENT_TASKS=2" in environ


def test_a_setting_that_is_wrong(make_stack):
    """A start that is refused: its own sentence is shown."""
    stack = make_stack(env={"MAX_CONCURRENT_TASKS": "many"})
    stack.compose("up", "-d")

    why = found(stack, "health", "coordinator keeps restarting")["why"]

    assert "MAX_CONCURRENT_TASKS" in why


def test_the_doctor_inside_the_coordinator_s_container(stack):
    """No docker in there: HTTP and the journal's own disk are looked at."""
    done = run(
        *("docker", "exec", stack.container("coordinator"), "python", "-m", "coordinator.cli", "doctor"), check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "There is room in /data." in done.stdout
    assert ROOT.name not in done.stdout
