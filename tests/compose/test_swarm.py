"""The production file as a Swarm stack of one node: updated and rolled back while callers ask, and taken away."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from load.processes.ports import free_port
from tests.compose.conftest import KEY
from tests.compose.test_prod import FILE, keyed
from tests.support.docker import ROOT, docker, run

OVERRIDE = "docs/deploy/swarm-without-ipvs.yml"  # for kernels such as this test may meet; elsewhere it does no harm
REPLICAS = {"caddy": 1, "postgres": 1, "coordinator": 1, "coordinator-2": 1} | dict.fromkeys(
    ("researcher", "analyzer", "reporter"), 2
)
MUSTER = sorted(REPLICAS.keys() - {"caddy", "postgres"})
SECONDS = 240.0
ASKER = """
import httpx, json, os, threading, time, uuid
said, again = [], []
def ask():
    while not os.path.exists("/tmp/over"):
        headers = {"Authorization": "Bearer KEY", "Idempotency-Key": uuid.uuid4().hex}
        for _ in range(100):
            try:
                answer = httpx.post("http://caddy:8000/execute_task", timeout=90, headers=headers,
                    json={"task_description": "How does Muster survive a crash?", "timeout_seconds": 60})
                what = f"{answer.status_code} {answer.json().get('status')}"
            except Exception as exc:
                what = repr(exc)
            if what.startswith(("200", "500", "504")):
                break
            again.append(what)
            time.sleep(1)
        said.append(what)
        if len(said) == 6:
            open("/tmp/began", "w").close()
threads = [threading.Thread(target=ask) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps({"said": said, "again": again}))
""".replace("KEY", KEY)
pytestmark = pytest.mark.timeout(900, func_only=True)


def wait_for(what: Callable[[], Any], why: Callable[[], Any]) -> None:
    until = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < until, why()
        time.sleep(0.5)


@pytest.fixture
def swarm() -> Iterator[None]:
    """Swarm mode, which is left again if it was off."""
    on = docker("info", "--format", "{{.Swarm.LocalNodeState}}") == "active"
    if not on:
        docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    yield
    if not on:
        docker("swarm", "leave", "--force")


class SwarmStack:
    """The production file as a stack, under a name of its own."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.name = f"muster-test-{secrets.token_hex(4)}"
        self._env = dict(env)

    def deploy(self, image: str) -> None:
        files = [part for file in (FILE, OVERRIDE) for part in ("--compose-file", file)]
        command = ("docker", "stack", "deploy", "--detach=true", "--resolve-image", "never", *files, self.name)
        run(*command, env=self._env | {"MUSTER_IMAGE": image})

    def replicas(self) -> dict[str, str]:
        lines = docker("stack", "services", self.name, "--format", "{{.Name}} {{.Replicas}}").splitlines()
        return dict(line.removeprefix(f"{self.name}_").split(maxsplit=1) for line in lines)

    def wait_running(self) -> None:
        wanted = {service: f"{number}/{number}" for service, number in REPLICAS.items()}
        wait_for(lambda: self.replicas() == wanted, self.replicas)

    def states(self) -> dict[str, tuple[str, str]]:
        """Of each service of Muster's, how its last change ended, and its image."""
        form = "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}} {{.Spec.TaskTemplate.ContainerSpec.Image}}"
        found = (docker("service", "inspect", "--format", form, f"{self.name}_{service}") for service in MUSTER)
        return {service: tuple(said.split()) for service, said in zip(MUSTER, found, strict=True)}  # type: ignore[misc]

    def remove(self) -> None:
        docker("stack", "rm", self.name, check=False)
        mine = ("--filter", f"label=com.docker.stack.namespace={self.name}")
        wait_for(lambda: not docker("ps", "--all", "--quiet", *mine), lambda: docker("ps", "--all", *mine))
        wait_for(lambda: not docker("network", "ls", "--quiet", *mine), lambda: docker("network", "ls", *mine))
        if volumes := docker("volume", "ls", "--quiet", *mine).split():
            docker("volume", "rm", *volumes, check=False)


@contextmanager
def asking(stack: SwarmStack, image: str) -> Iterator[dict[str, list[str]]]:
    """Callers in a container on the stack's network, who ask again with their key where there was no answer.

    What they were `said`, and what made them ask `again`, is there at the end.
    """
    said: dict[str, list[str]] = {}
    name = f"{stack.name}-asker"
    docker("run", "--detach", "--name", name, "--network", f"{stack.name}_muster", image, "python", "-c", ASKER)
    try:
        wait_for(lambda: run("docker", "exec", name, "ls", "/tmp/began", check=False).returncode == 0, stack.replicas)
        yield said
        docker("exec", name, "touch", "/tmp/over")
        docker("wait", name)
        said |= json.loads(docker("logs", name).splitlines()[-1])
    finally:
        docker("rm", "--force", name, check=False)


def test_stack_is_updated_and_rolled_back_under_load(swarm, image, next_image, key_file: Path, tmp_path: Path) -> None:
    """No task fails, whatever state its coordinator and its workers are in."""
    worker_key = tmp_path / "worker_key"
    worker_key.write_text("another-key-0123456789\n")
    worker_key.chmod(0o644)
    env = keyed(key_file) | {
        "WORKER_KEY_FILE": str(worker_key),
        "WORKER_SECRET": "worker_key",
        "PUBLISH_PORT": str(free_port()),
    }
    stack = SwarmStack(env | {"KNOWLEDGE_DIR": str(ROOT / "docs")})
    try:
        stack.deploy(image)
        stack.wait_running()
        with asking(stack, image) as heard:
            stack.deploy(next_image)
            updated = dict.fromkeys(MUSTER, ("completed", next_image))
            wait_for(lambda: stack.states() == updated, stack.states)
            for service in MUSTER:
                docker("service", "rollback", "--detach", f"{stack.name}_{service}")
            back = dict.fromkeys(MUSTER, ("rollback_completed", image))
            wait_for(lambda: stack.states() == back, stack.states)
            stack.wait_running()
    finally:
        stack.remove()

    said, again = heard["said"], heard["again"]
    print({"answers": len(said), "again": again})  # on a machine that is not overloaded, nobody has to
    assert {each: said.count(each) for each in said} == {"200 completed": len(said)}
