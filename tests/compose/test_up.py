"""Up from nothing: four containers, healthy within seconds, locked down, and the README's calls."""

from __future__ import annotations

import json
import re
import shlex
import time

import pytest

from shared.documents.settings import UploadSettings
from shared.settings import CoordinatorSettings, ModelSettings, SearchSettings, WorkerSettings, fields
from tests.support.docker import ROOT, docker, inspected, run
from tests.support.stack import SERVICES, WORKERS, Stack

UP_SECONDS = 30.0  # 10 are promised with the images present; a machine that builds other things takes longer
SPARE_SECONDS = 10.0  # over which idle containers are watched
IDLE_SHARE = 0.1  # of one core: 0.01 is promised for the four containers
FIXED = {"advertise_url", "database_url", "coordinator_url", "open_url", "state_dir", "knowledge_dir"}

pytestmark = pytest.mark.timeout(120, func_only=True)


def test_up_to_the_first_answer(image):
    with Stack(image) as stack:
        began = time.monotonic()
        stack.up()
        up = time.monotonic() - began
        with stack.client() as client:
            answer = client.post("/execute_task", json={"task_description": "How does Muster survive a crash?"})
        seconds = time.monotonic() - began
        stack.wait_for(lambda: f"Open http://localhost:{stack.port}" in stack.logs("coordinator"))

        print(f"up --wait: {up:.1f} s; first answer: {seconds:.1f} s")
        assert answer.json()["status"] == "completed"
        assert answer.json()["result"]["sources"]
        assert seconds <= UP_SECONDS


def test_every_container_is_healthy_and_registered(stack):
    assert stack.healthy() == sorted(WORKERS)
    assert {stack.state(stack.container(service))["Health"]["Status"] for service in SERVICES} == {"healthy"}


def test_the_calls_of_the_readme(stack):
    """Every `curl` of the README's first calls, as it stands there, but for the port."""
    here = f"127.0.0.1:{stack.port}"
    text = (ROOT / "README.md").read_text().replace("localhost:8000", here)
    blocks = [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "curl" in block and here in block]
    calls = [
        call for block in blocks for call in re.split(r"\n(?=curl)", re.sub(r"\\\n", " ", block)) if "curl" in call
    ]
    assert len(calls) >= 5

    task_id = ""
    for call in calls:
        words = shlex.split(call, comments=True)
        words = words[: words.index(">")] if ">" in words else words
        words = [word.replace("TASK_ID", task_id).replace("…", "") for word in words if word != "…"]
        said = run("curl", "--fail-with-body", "--max-time", "60", *words[1:], seconds=70).stdout
        assert said, call
        task_id = "".join(re.findall(r'"task_id":\s?"(\w+)"', said)[:1]) or task_id
    assert task_id


@pytest.mark.parametrize("service", SERVICES)
def test_this_machine_has_a_name_in_the_container(stack, service):
    """Where a model listens that was started by hand; in a container, localhost is the container."""
    assert stack.exec(service, "getent", "hosts", "host.docker.internal")


def test_only_the_coordinator_is_published_on_localhost(stack):
    """Only the coordinator is published and only on this machine."""
    ports = {service: inspected(stack.container(service))["HostConfig"]["PortBindings"] for service in SERVICES}
    assert ports == {
        "coordinator": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(stack.port)}]},
        **{worker: {} for worker in WORKERS},
    }


@pytest.mark.parametrize("service", SERVICES)
def test_container_is_locked_down_and_bounded(stack, service):
    found = inspected(stack.container(service))
    host = found["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Init"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["Memory"] == (1024 if service == "coordinator" else 512) * 1024**2
    assert host["PidsLimit"] == 256
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    assert found["Config"]["StopTimeout"] == 15
    assert list(found["NetworkSettings"]["Networks"]) == [f"{stack.name}_muster"]
    mounts = {mount["Destination"]: mount for mount in found["Mounts"]}
    written = {path for path, mount in mounts.items() if mount["RW"] and mount["Type"] == "volume"}
    assert written <= ({"/data", "/app/data", "/backups", "/uploads"} if service == "coordinator" else {"/data"})
    assert not mounts.get("/knowledge", {"RW": False})["RW"]
    assert [p for p, m in mounts.items() if p == "/uploads" and m["RW"]] == ["/uploads"] * (service == "coordinator")
    status = stack.exec(service, "cat", "/proc/1/status")
    assert re.search(r"CapEff:\s+0{16}$", status, re.MULTILINE)
    assert re.search(r"NoNewPrivs:\s+1$", status, re.MULTILINE)


def test_network_is_a_bridge(stack):
    assert inspected(f"{stack.name}_muster")["Driver"] == "bridge"


def test_logs_are_json_lines_without_the_question(stack):
    """Logs are JSON lines without a word from the question."""
    with stack.client() as client:
        client.post("/execute_task", json={"task_description": "What is a lighthouse-word for?"})
    for service in SERVICES:
        lines = docker("logs", stack.container(service)).splitlines()
        assert all(json.loads(line)["service"] for line in lines), service
        assert "lighthouse-word" not in "".join(lines)


def test_four_idle_containers_cost_almost_nothing(stack):
    """Health checks included: they run inside the containers."""

    def spent() -> float:
        script = "cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2>/dev/null || grep usage_usec /sys/fs/cgroup/cpu.stat"
        words = [stack.exec(service, "bash", "-c", script).split() for service in SERVICES]
        return sum(int(word[0]) / 1e9 if len(word) == 1 else int(word[1]) / 1e6 for word in words)

    spent()
    before, began = spent(), time.monotonic()
    time.sleep(SPARE_SECONDS)
    share = (spent() - before) / (time.monotonic() - began)

    print(f"four idle containers: {100 * share:.2f} % of a core")
    assert share <= IDLE_SHARE


@pytest.mark.parametrize("file", ["docker-compose.yml", "docker-compose.prod.yml"])
def test_every_setting_reaches_its_service(file):
    """What stands in .env or the environment is what the container gets."""
    text = run("docker", "compose", "-f", file, "config", "--format", "json").stdout
    services = json.loads(text)["services"]
    wanted = {
        "coordinator": set(fields(CoordinatorSettings)) | set(fields(ModelSettings)) | set(fields(UploadSettings)),
        "analyzer": set(fields(WorkerSettings)) | set(fields(ModelSettings)),
        "reporter": set(fields(WorkerSettings)) | set(fields(ModelSettings)),
        "researcher": set(fields(WorkerSettings))
        | set(fields(SearchSettings))
        | set(fields(ModelSettings))
        | {"uploads_dir"},
    }
    for service, names in wanted.items():
        given = {name.lower() for name in services[service]["environment"]}
        given |= {name.removesuffix("_file") for name in given}  # a secret may come from a file
        own = set() if service == "coordinator" else {"public_url"}  # a worker's card would name the coordinator
        assert names - given - FIXED == own, service
