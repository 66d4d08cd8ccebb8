"""A worker of one's own in containers: the README's file, and the README's block of YAML below `services`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from load.processes.ports import free_port
from tests.support.docker import ROOT, docker, run
from tests.support.processes import start
from tests.support.stack import WORKERS, Stack

pytestmark = pytest.mark.timeout(180, func_only=True)
MODULE = "tests.examples.fourth_worker"
README = (ROOT / "README.md").read_text()


def shown(language: str) -> str:
    """The README's first block in a language."""
    found = re.search(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert found
    return found.group(1)


@pytest.fixture
def image_with_counter(image: str, tmp_path: Path) -> Iterator[str]:
    """The image as `docker compose build` makes it when the file lies in `workers/`."""
    (tmp_path / "counter.py").write_text(shown("python"))
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nCOPY counter.py /app/workers/\n")
    run("docker", "build", "--quiet", "--tag", f"{image}-counter", str(tmp_path))
    yield f"{image}-counter"
    docker("rmi", "--force", f"{image}-counter", check=False)


@pytest.mark.parametrize("file", ["docker-compose.yml", "docker-compose.prod.yml"])
def test_the_block_is_all_that_compose_needs(file: str, tmp_path: Path) -> None:
    """In both files; the new service has what the analyzer has, but for its command."""
    key = tmp_path / "key"
    key.write_text("k\n")

    config = run(
        *("docker", "compose", "-f", str(with_counter(tmp_path, file)), "config"), env={"API_KEY_FILE": str(key)}
    )

    services = dict(re.findall(r"^  (\w+):\n((?:    .*\n)+)", config.stdout, re.MULTILINE))
    assert services["counter"].replace("workers.counter", "workers.analyzer") == services["analyzer"]


def with_counter(folder: Path, file: str) -> Path:
    """A copy of a compose file with the README's block below `services`."""
    copy = folder / "with-counter.yml"
    copy.write_text((ROOT / file).read_text().replace("\nservices:\n", f"\nservices:\n{shown('yaml')}\n", 1))
    return copy


def test_a_fourth_worker_takes_steps(image_with_counter: str, make_stack: Callable[..., Stack], tmp_path: Path) -> None:
    env = {"KNOWLEDGE_DIR": str(ROOT / "docs"), "MUSTER_IMAGE": image_with_counter}
    stack = make_stack(file=str(with_counter(tmp_path, "docker-compose.yml")), env=env).up()
    stack.wait_serving([*WORKERS, "counter"])
    plan = [{"id": "words", "capability": "count", "input": "one two two"}]

    with stack.client() as client:
        answer = client.post("/execute_task", json={"task_description": "How many words?", "plan": plan}).json()

    assert answer["status"] == "completed", answer
    assert answer["results"][0]["output"] == {"words": 3, "common": ["two", "one"]}


def test_a_process_on_the_host_is_reached(make_stack: Callable[..., Stack], tmp_path: Path) -> None:
    """The README's line: `--advertise` finds the address at which the container reaches it, and `doctor` says which.

    Without it the worker registers an address that only this machine knows, and `doctor` says so.
    """
    stack = make_stack(env={"KNOWLEDGE_DIR": str(ROOT / "docs")}).up()
    env, port = {"PUBLISH_PORT": str(stack.port)}, f"--port={free_port()}"

    def look() -> str:
        return run(sys.executable, "-m", "coordinator.cli", "doctor", check=False, seconds=60, env=env).stdout

    def states() -> set[str]:
        return {agent["status"] for agent in stack.agents() if agent["name"] == "counter"}

    counter = start(MODULE, port, folder=tmp_path, env=env | {"COORDINATOR_URL": stack.url})
    try:
        stack.wait_for(lambda: "unreachable" in states())
        explained = look()
        counter.kill()
        counter = start(MODULE, port, "--advertise", folder=tmp_path, env=env)
        stack.wait_serving([*WORKERS, "counter"])
        plan = [{"id": "words", "capability": "count", "input": "one two two"}]
        with stack.client() as client:
            answer = client.post("/execute_task", json={"task_description": "How many words?", "plan": plan}).json()
            [seen] = client.get("/agents/counter").json()["instances"]
        well = look()
    finally:
        counter.kill()

    assert "The coordinator cannot reach counter. It sends heartbeats" in explained
    assert "… --advertise" in explained
    assert answer["status"] == "completed", answer
    assert "//127." not in seen["endpoint"]
    assert f"counter is at {seen['endpoint']}." in well
