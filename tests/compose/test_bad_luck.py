"""What goes wrong before anything runs: each works, or ends in one sentence that says what to do."""

from __future__ import annotations

import io
import re
import shutil
import socket
import struct
import tarfile
from pathlib import Path

import pytest

from tests.support.docker import ROOT, docker, run
from tests.support.stack import SERVICES, V1, Stack

pytestmark = pytest.mark.timeout(180, func_only=True)


def refused(stack: Stack, *args: str) -> str:
    """What `up -d --wait` says when nothing becomes healthy; of a restart loop it may say nothing and end with 0."""
    done = stack.compose("up", "-d", "--wait", "--wait-timeout", "30", *args, check=False)
    assert "Healthy" not in done.stderr, done.stderr
    return done.stderr


def last_words(stack: Stack, service: str) -> list[str]:
    """What a container that does not start writes, each sentence once."""
    text = docker("logs", stack.container(service))
    return list(dict.fromkeys(run("docker", "logs", stack.container(service)).stderr.splitlines() or text.splitlines()))


def test_port_taken(make_stack):
    stack = make_stack()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", stack.port))
        other.listen()
        said = refused(stack, "coordinator")

    assert f"127.0.0.1:{stack.port}" in said
    assert re.search("already in use|already allocated", said)
    stack.up("coordinator")  # the same command, once the port is free


def test_starts_without_an_env_file_and_with_example(make_stack, tmp_path: Path):
    """`cp .env.example .env` changes nothing but what it says."""
    stack = make_stack()
    shutil.copy(ROOT / ".env.example", stack.env_file)
    stack.up().wait_serving()
    with stack.client() as client:
        answer = client.post("/execute_task", json={"task_description": "How does Muster survive a crash?"}).json()
    assert answer["status"] == "completed"
    assert answer["result"]["sources"]


def test_wrong_value_in_the_env_file(make_stack):
    stack = make_stack()
    stack.env_file.write_text("MAX_CONCURRENT_TASKS=abc\n")
    said = refused(stack, "coordinator")

    assert re.search(r"coordinator.*(exited \(2\)|unhealthy|is not running|restarting)", said), said
    words = last_words(stack, "coordinator")
    assert len(words) == 1, words
    assert words[0].startswith("MAX_CONCURRENT_TASKS: ")
    assert "abc" in words[0]

    stack.env_file.write_text("MAX_CONCURRENT_TASKS=8\n")
    stack.up("coordinator")


def test_state_volume_owned_by_root(make_stack):
    """It says which user the folder must belong to; the command it names mends it. A restored file is no different."""
    stack = make_stack()
    stack.compose("create", "coordinator")
    as_root = ("run", "--rm", "--user", "0", "-v", f"{stack.name}_journal:/data", stack.image)
    for what in ("/data", "/data/muster.db"):
        stack.compose("stop", "coordinator")
        docker(*as_root, "bash", "-c", f"chown 0:0 {what} && chmod u=rwX,go=rX {what}")
        refused(stack, "coordinator")

        words = last_words(stack, "coordinator")[-1]
        assert "The journal /data/muster.db cannot be opened: Permission denied." in words
        command = re.search(r"chown -R \d+ /data", words)
        assert command, words
        docker(*as_root, *command[0].split())
        stack.up("coordinator")


def test_index_volume_owned_by_root(make_stack):
    """The researcher runs, and its steps say what is wrong."""
    stack = make_stack()
    stack.compose("create", "researcher")
    as_root = ("run", "--rm", "--user", "0", "-v", f"{stack.name}_index:/data", stack.image)
    docker(*as_root, "bash", "-c", "chown 0:0 /data && chmod 755 /data")
    stack.up().wait_serving()
    with stack.client() as client:
        answer = client.post("/execute_task", json={"task_description": "How does Muster survive a crash?"})
    told = [step["error"] for step in (answer.json().get("task") or answer.json())["results"] if step["error"]]

    print(told[0])
    assert "/data" in told[0]["detail"]


@pytest.mark.parametrize("mode", [0o555, 0o755])
def test_knowledge_folder_that_nobody_may_write(make_stack, tmp_path: Path, mode: int):
    """It is read only."""
    folder = tmp_path / "knowledge"
    folder.mkdir()
    (folder / "lamp.md").write_text("# Lamps\n\nThe lamp of the lighthouse turns every seven seconds.\n")
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)
    folder.chmod(mode)
    stack = make_stack(env={"KNOWLEDGE_DIR": str(folder)})
    stack.up().wait_serving()
    with stack.client() as client:
        question = {"task_description": "How often does the lamp of the lighthouse turn?"}
        answer = client.post("/execute_task", json=question).json()

    assert "seven seconds" in answer["result"]["report"]
    folder.chmod(0o755)


def test_knowledge_folder_that_may_not_be_read(make_stack, tmp_path: Path):
    folder = tmp_path / "knowledge"
    folder.mkdir(mode=0o700)
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o755)
    stack = make_stack(env={"KNOWLEDGE_DIR": str(folder)})
    stack.up().wait_serving()
    with stack.client() as client:
        answer = client.post("/execute_task", json={"task_description": "How often does the lamp turn?"}).json()
    told = [step["error"] for step in (answer.get("task") or answer)["results"] if step["error"]]

    print(told[0])
    assert told[0]["type"] == "bad_setting"
    assert "KNOWLEDGE_DIR=/knowledge cannot be read" in told[0]["detail"]


def test_knowledge_folder_that_is_not_there(make_stack, tmp_path: Path):
    """Named, and not made: an empty folder of root's would answer every question with nothing."""
    missing = tmp_path / "nowhere"
    stack = make_stack(env={"KNOWLEDGE_DIR": str(missing)})

    assert f"bind source path does not exist: {missing}" in refused(stack)
    assert not missing.exists()


def test_a_second_stack_on_the_same_host(make_stack):
    """Its own name and port are all it needs; neither sees the other's agents or tasks."""
    one, two = make_stack(), make_stack()
    one.up().wait_serving()
    two.up().wait_serving()
    with one.client() as client:
        id = client.post("/execute_task", json={"task_description": "Whose is this?"}).json()["task_id"]
    with two.client() as client:
        assert client.get(f"/tasks/{id}").status_code == 404
    hosts = [{agent["endpoint"] for agent in stack.agents()} for stack in (one, two)]
    assert not hosts[0] & hosts[1]


def test_docker_compose_1_29_brings_it_up(make_stack):
    """`config` and a first `up` are promised; to update, version 2 is needed."""
    stack = make_stack(program=V1)
    assert "coordinator:" in stack.compose("config").stdout
    stack.compose("up", "-d", "--no-build")
    stack.wait_serving(seconds=30)
    states = {service: stack.state(stack.container(service))["Running"] for service in SERVICES}
    assert states == dict.fromkeys(SERVICES, True)


def test_image_of_another_architecture(image, tmp_path: Path):
    """The first word in its log says it: such an image has to be built here."""
    machine = docker("version", "--format", "{{.Server.Arch}}")
    foreign, elf_machine = ("arm64", 0xB7) if machine != "arm64" else ("amd64", 0x3E)
    program = b"\x7fELF\x02\x01\x01".ljust(16, b"\x00") + struct.pack("<HHI", 2, elf_machine, 1).ljust(48, b"\x00")
    with tarfile.open(tmp_path / "foreign.tar", "w") as tar:
        entry = tarfile.TarInfo("python")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
    tag = f"{image}-foreign"
    docker("import", "--platform", f"linux/{foreign}", str(tmp_path / "foreign.tar"), tag)
    try:
        done = run("docker", "run", "--rm", tag, "/python", check=False)
        print(done.stderr.strip())
        assert done.returncode != 0
        assert "exec format error" in done.stderr
    finally:
        docker("rmi", "--force", tag, check=False)


def test_limits_are_the_engines_to_keep(make_stack):
    """An engine without memory limits warns; this one keeps them."""
    warned = docker("info", "--format", "{{json .Warnings}}")
    kept = docker("info", "--format", "{{.MemoryLimit}}")
    assert kept == "true" or "memory limit" in warned
