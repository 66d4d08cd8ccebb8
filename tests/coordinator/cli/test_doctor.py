"""The doctor without docker: every rule over facts, every reader over what docker and the coordinator say."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner

from coordinator.cli.commands import cli
from coordinator.cli.doctor import docker, http, inspect
from coordinator.cli.doctor.docker import DockerFailed, container_of, disk_lines, log_line
from coordinator.cli.doctor.facts import (
    Container,
    Coordinator,
    Diagnosis,
    Disk,
    Facts,
    LogLine,
    Project,
    SeenAgent,
    SeenUploads,
    TaskLimits,
    Unseen,
)
from coordinator.cli.doctor.rules import examine
from shared.report.sources import IndexState, Skipped
from tests.support.processes import Coordinator as Running

URL = "http://127.0.0.1:8000"
AT = 1_795_266_735.0
GB, MB = 2**30, 2**20
TRIO = tuple(
    SeenAgent(id=f"{name}-1", name=name, endpoint=f"http://{name}:8000", capabilities=(word,), max_concurrency=8)
    for name, word in (("researcher", "research"), ("analyzer", "analyze"), ("reporter", "report"))
)
WELL = Coordinator(url=URL, agents=TRIO)
SILENT = Coordinator(url=URL, silent="Connection refused")


def home(**values: Any) -> Container:
    return Container(**{"name": "m-coordinator-1", "service": "coordinator", "published": ("127.0.0.1:8000",)} | values)


def worker(**values: Any) -> Container:
    usual = {"name": "m-analyzer-1", "service": "analyzer", "environ": {"COORDINATOR_URL": "http://coordinator:8000"}}
    return Container(**usual | values)


def said(event: str, *, ago: float = 5.0, text: str = "", **fields: str) -> tuple[LogLine, ...]:
    return (LogLine(at=AT - ago, event=event, fields=fields, text=text),)


def contained(*containers: Container, coordinator: Coordinator = WELL, **values: Any) -> Facts:
    """Facts of a compose project; the coordinator's container is well unless another is given."""
    if not any(c.service == "coordinator" for c in containers):
        containers = (home(), *containers)
    return Facts(at=AT, coordinator=coordinator, project=Project(containers=containers), **values)


def plain(coordinator: Coordinator = WELL, **values: Any) -> Facts:
    return Facts(at=AT, coordinator=coordinator, **values)


def agents(**values: Any) -> Coordinator:
    """The three, the analyzer being different."""
    named = {"id": "analyzer-1", "name": "analyzer", "endpoint": "http://analyzer:8000", "capabilities": ("analyze",)}
    return Coordinator(url=URL, agents=(TRIO[0], SeenAgent(**named | values), TRIO[2]))


def bad(facts: Facts) -> list[Diagnosis]:
    return [finding for finding in examine(facts) if finding.severity != "ok"]


HEALED = worker(restarts=1, running_seconds=2.0, health="starting")  # by its restart policy, after one crash
BACK = worker(restarts=7, running_seconds=20.0, health="healthy")
FORMER = tuple(
    SeenAgent(id=f"{name}-{n}", name=name, endpoint="http://f3a:8000", status="unreachable")
    for name in ("analyzer", "reporter")
    for n in range(10, 21)
)
# What is seen, and the one finding that follows: check, severity, words of what and why, words of the command.
FOUND: dict[str, tuple[Facts, str, str, str, str]] = {
    "nothing listens": (plain(SILENT), "reach", "problem", "does not answer at http://127.0.0.1:8000", "make run"),
    "somebody else listens": (
        plain(Coordinator(url=URL, stranger="The reporter")), "reach", "problem", "The reporter answers", "ss -ltnp",
    ),
    "another port is published": (
        contained(home(published=("127.0.0.1:9000",)), coordinator=SILENT),
        "reach", "problem", "published at 127.0.0.1:9000", "doctor --url http://127.0.0.1:9000",
    ),
    "the coordinator is off its network": (
        contained(home(networks=()), coordinator=SILENT),
        "reach", "problem", "on no network", "up -d --no-deps --force-recreate coordinator",
    ),
    "a worker cannot reach": (
        contained(worker(log=said("coordinator.unreachable", coordinator="http://nowhere:8000", why="UnknownHost"))),
        "reach", "problem", "It tries http://nowhere:8000: UnknownHost. Set its COORDINATOR_URL", "--no-deps analyzer",
    ),
    "a worker has the wrong key": (
        contained(
            worker(log=said("coordinator.unreachable", coordinator="http://coordinator:8000", why="HTTP 401: no"))
        ),
        "reach", "problem", "API_KEY", "--no-deps analyzer",
    ),
    "a worker has the wrong key, and failed otherwise first": (
        contained(
            home(log=said("request.done", path="/register_agent", status="401")),
            worker(log=said("coordinator.unreachable", coordinator="http://coordinator:8000", why="refused")),
        ),
        "reach", "problem", "rejects its API_KEY", "--no-deps analyzer",
    ),
    "a worker is off the network": (
        contained(worker(networks=())),
        "reach", "problem", "not on the coordinator's network",
        "docker network connect --alias analyzer muster m-analyzer-1",
    ),
    "an agent beats and answers no steps": (
        plain(agents(status="unreachable", canary_error="No answer within 4.0 s.", silent_seconds=1.0)),
        "reach", "problem", "analyzer does not work. It sends heartbeats, but answers no steps", "curl -s -m 3 http://",
    ),
    "a container beats and answers no steps": (
        contained(
            worker(), coordinator=agents(status="unreachable", canary_error="No answer.", silent_seconds=1.0)
        ),
        "reach", "problem", "analyzer does not work", "docker compose restart analyzer",
    ),
    "an agent beats and cannot be reached": (
        plain(agents(status="unreachable", last_error="Connection refused", silent_seconds=1.0)),
        "reach", "problem", "cannot reach analyzer. It sends heartbeats", "… --advertise",
    ),
    "an agent beats and is reached elsewhere": (
        plain(agents(status="unreachable", silent_seconds=1.0, reached_at="http://172.18.0.1:8000")),
        "reach", "problem", "http://172.18.0.1:8000 does: set its ADVERTISE_URL to that", "… --advertise",
    ),
    "an agent is silent": (
        contained(worker(), coordinator=agents(status="unreachable", last_error="silent for 9 s", silent_seconds=9.0)),
        "reach", "problem", "analyzer has gone silent", "docker compose restart analyzer",
    ),
    "a process of ours has ended": (
        plain(agents(endpoint="http://127.0.0.1:8002", status="unreachable", last_error="Connection refused")),
        "reach", "problem", "analyzer cannot be reached",
        "COORDINATOR_URL=http://127.0.0.1:8000 .venv/bin/python -m workers.analyzer --port 8002",
    ),
    "a process of ours hangs": (
        plain(agents(endpoint="http://127.0.0.1:8002", status="unreachable", last_error="No answer within 2.0 s")),
        "reach", "problem", "analyzer cannot be reached", "fuser -k -KILL 8002/tcp",
    ),
    "one of two is away": (
        plain(Coordinator(url=URL, agents=(*TRIO, SeenAgent(id="analyzer-2", name="analyzer", endpoint="http://x:1",
                                                            status="unreachable")))),
        "reach", "warning", "another analyzer is healthy", "curl -X DELETE 'http://127.0.0.1:8000/agents/analyzer-2'",
    ),
    "the coordinator came back without its name": (
        contained(home(nameless=("muster",)), worker(log=said("coordinator.unreachable", coordinator="http://c:1"))),
        "reach", "problem", "lacks the alias 'coordinator' there",
        "docker network connect --alias coordinator muster m-coordinator-1",
    ),
    "many were replaced": (
        plain(Coordinator(url=URL, agents=(*TRIO, *FORMER))),
        "reach", "warning", "22 former instances are away. Others of the same name are healthy: analyzer, reporter.",
        "curl -X DELETE 'http://127.0.0.1:8000/agents/{analyzer-10,",
    ),
    "the engine is down": (
        plain(SILENT, unseen=(Unseen(what="containers", why="the Docker engine is not running", mend="start docker"),)),
        "reach", "problem", "the Docker engine is not running", "start docker && docker compose up -d",
    ),
    "an agent that only the network knows": (
        contained(worker(), coordinator=agents(name="mine", endpoint="http://f3a:8001", status="unreachable",
                                               capabilities=("analyze",))),
        "reach", "problem", "mine cannot be reached",
        "docker compose exec coordinator python -c \"import urllib.request as r; print(r.urlopen('http://f3a:8001/health",
    ),
    "tasks ran out of time": (
        plain(Coordinator(url=URL, agents=TRIO, failed=2, failed_status="timed_out", last_error_type="no_agent")),
        "reach", "warning", "2 tasks failed", "tasks --status timed_out",
    ),
    "nobody can analyze": (
        plain(Coordinator(url=URL, agents=(TRIO[0], TRIO[2]))), "reach", "warning", "No agent can analyze", "make run",
    ),
    "tasks failed for want of an agent": (
        plain(Coordinator(url=URL, agents=TRIO, failed=3, last_error="No agent.", last_error_type="no_agent")),
        "reach", "warning", "3 tasks failed", "tasks --status failed",
    ),
    "out of memory": (
        contained(worker(oom_killed=True, restarts=4, memory_limit=24 * MB, status="restarting", exit_code=137)),
        "memory", "problem", "killed at its limit of 24 MB, and was restarted 4 times",
        "WORKER_MEMORY=512m docker compose up -d --no-deps analyzer",
    ),
    "the coordinator is out of memory": (
        contained(home(oom_killed=True, memory_limit=GB)), "memory", "problem", "coordinator ran out of memory",
        "COORDINATOR_MEMORY=2048m docker compose up -d --no-deps coordinator",
    ),
    "killed, nobody knows by whom": (
        contained(worker(status="exited", exit_code=137)), "memory", "problem", "Exit code 137", "--no-deps analyzer",
    ),
    "nearly out of memory": (
        contained(worker(memory_share=0.95)), "memory", "warning", "95% of its limit of 512 MB", "WORKER_MEMORY=1024m",
    ),
    "no memory limit": (
        contained(worker(memory_limit=0)), "memory", "warning", "no memory limit", "WORKER_MEMORY=512m",
    ),
    "the machine is short of memory": (plain(memory_available=0.02), "memory", "warning", "2% is available", "ps aux"),
    "a full volume": (
        contained(home(disks=(Disk(folder="/data", total_bytes=2 * MB, free_bytes=0),))),
        "disk", "problem", "coordinator: /data is full. 100% of 2.0 MB", "exec coordinator du -ah /data",
    ),
    "less room than the journal needs": (
        contained(home(disks=(Disk(folder="/data", total_bytes=10 * MB, free_bytes=MB // 2),))),
        "disk", "problem", "/data is full. 95% of 10 MB are used, 512 KB are free", "exec coordinator du -ah /data",
    ),
    "a full disk": (
        contained(home(disks=(Disk(folder="/data", total_bytes=100 * GB, free_bytes=GB),))),
        "disk", "problem", "99% of 100 GB are used, 1.0 GB are free", "docker image prune -f",
    ),
    "a disk that fills": (
        plain(disks=(Disk(folder="data", total_bytes=100 * GB, free_bytes=10 * GB),)),
        "disk", "warning", "data is nearly full", "du -xh data",
    ),
    "a journal that says it is full": (
        contained(home(log=said("journal.full"))), "disk", "problem", "journal.full", "logs --tail 50 coordinator",
    ),
    "a disk that was full": (
        contained(home(log=said("journal.full"), disks=(Disk(folder="/data", total_bytes=GB, free_bytes=GB),))),
        "disk", "warning", "there is room now", "logs --tail 50 coordinator",
    ),
    "a log without an end": (
        contained(worker(log_rotated=False, log_bytes=3 * MB)),
        "disk", "warning", "its log has 3.0 MB", "--force-recreate",
    ),
    "a log that is large already": (
        contained(worker(log_rotated=False, log_bytes=GB)), "disk", "problem", "its log has 1.0 GB", "--force-recreate",
    ),
    "a failing health check": (
        contained(worker(health="unhealthy", health_said="Health check exceeded timeout (3s)")),
        "health", "problem", "exceeded timeout (3s). Docker does not restart", "docker compose restart analyzer",
    ),
    "no health check": (contained(worker(health="none")), "health", "warning", "no health check", "--force-recreate"),
    "paused": (contained(worker(status="paused")), "health", "problem", "is paused", "docker compose unpause analyzer"),
    "stopped": (contained(worker(status="exited")), "health", "problem", "was stopped", "--no-deps analyzer"),
    "a wrong setting, keeps restarting": (
        contained(worker(status="restarting", exit_code=2, restarts=7, log=said("", text="MAX_CONCURRENCY: no"))),
        "health", "problem", "exit code 2, and is restarted each time; its last log line: MAX_CONCURR",
        "logs --tail 50 analyzer",
    ),
    "running for a moment, for the seventh time": (
        contained(worker(restarts=7, running_seconds=2.0, health="starting")),
        "health", "problem", "keeps restarting", "logs --tail 50",
    ),
    "not ready": (
        plain(Coordinator(url=URL, agents=TRIO, missing="starting")), "health", "problem", "starting", "make run",
    ),
    "tasks failed for other reasons": (
        plain(Coordinator(url=URL, agents=TRIO, failed=1, last_error="Bug.", last_error_type="agent_error")),
        "health", "warning", "The last: Bug.", "tasks --status failed",
    ),
    "refused lately": (
        contained(home(log=said("request.done", status="429"))), "limits", "problem", "It answered 429 1 times",
        "MAX_CONCURRENT_TASKS=128 docker compose up -d --no-deps coordinator",
    ),
    "refused some time ago": (
        plain(Coordinator(url=URL, agents=TRIO, refused=5)), "limits", "warning", "429 5 times since",
        "MAX_CONCURRENT_TASKS=128 make run",
    ),
    "a full queue": (
        plain(Coordinator(url=URL, agents=TRIO, running=2, queued=3), limits=TaskLimits(running=2, queued=3)),
        "limits", "problem", "2 tasks run and 3 wait; MAX_QUEUED_TASKS is 3", "MAX_CONCURRENT_TASKS=4 make run",
    ),
    "all places taken": (
        plain(Coordinator(url=URL, agents=TRIO, running=2, queued=1), limits=TaskLimits(running=2, queued=3)),
        "limits", "warning", "MAX_CONCURRENT_TASKS is 2", "MAX_CONCURRENT_TASKS=4 make run",
    ),
    "a full agent": (
        contained(worker(), coordinator=agents(load=8, max_concurrency=8)), "limits", "warning",
        "works on 8 steps and takes 8", "up -d --no-deps --no-recreate --scale analyzer=2 analyzer",
    ),
    "an open breaker": (
        plain(agents(breaker="open", last_error="HTTP 500: boom.")), "limits", "problem",
        "breaker is open. Five calls in a row failed, the last with: HTTP 500: boom.", "curl -s -m 3 http://analyzer:8000",
    ),
    "a worker that refused steps": (
        contained(worker(log=said("request.done", status="429"))),
        "limits", "warning", "429 1 times", "--scale analyzer=2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_one_cause_is_one_finding(name):
    """Each failure is found by one rule, in words, with the command that helps."""
    facts, check, severity, words, command = FOUND[name]

    (finding,) = bad(facts)

    assert (finding.check, finding.severity) == (check, severity)
    assert words in f"{finding.what} {finding.why}"
    assert command in (finding.mend or "")


@pytest.mark.parametrize(
    "facts", [plain(memory_available=0.5), contained(worker()), contained(HEALED), contained(BACK)]
)
def test_a_well_suite_has_no_finding(facts):
    assert bad(facts) == []
    assert inspect.exit_code(facts, examine(facts)) == inspect.HEALTHY


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        (
            home(status="exited", exit_code=1, log=said("", text="boom")),
            "exited with exit code 1; its last log line: boom.",
        ),
        (home(status="restarting", exit_code=137, oom_killed=True), "; it ran out of memory."),
        (home(health="unhealthy", health_said="timeout"), "its health check fails: timeout."),
        (home(health="starting", running_seconds=3.0), "started 3 s ago. Give it 20 s."),
        (
            home(health="starting", running_seconds=3.0, restarts=1, exit_code=1, log=said("", text="Disk full.")),
            "ended once, last with exit code 1, and is restarted each time; its last log line: Disk full.",
        ),
        (home(published=()), "publishes no port"),
        (home(), "running, but: Connection refused"),
    ],
)
def test_a_silent_coordinator_is_explained_by_its_container(container, expected):
    facts = contained(container, worker(), coordinator=SILENT)

    assert expected in next(f.why for f in examine(facts) if f.check == "reach")


def test_a_project_of_other_agents_lacks_none_of_ours():
    """As `render` makes it: the command that would start them names services that it does not have."""
    poet = SeenAgent(id="poet-1", name="poet", endpoint="http://agent-poet:8000")
    box = worker(name="m-agent-poet-1", service="agent-poet")

    assert bad(contained(box, coordinator=Coordinator(url=URL, agents=(poet,)))) == []
    assert [f.what for f in bad(contained(coordinator=Coordinator(url=URL, agents=())))] == [
        "No agent can research, analyze, report."
    ]


def test_the_same_of_two_replicas_is_said_once():
    """One command mends both."""
    stopped = [worker(name=f"m-analyzer-{n}", status="exited") for n in (1, 2)]

    assert [f.what for f in bad(contained(*stopped))] == ["analyzer does not run."]


def test_a_dead_coordinator_is_not_blamed_on_its_workers():
    """What the workers complain of follows from it."""
    complaint = said("coordinator.unreachable", coordinator="http://coordinator:8000", why="refused")
    facts = contained(home(status="exited"), worker(log=complaint), coordinator=SILENT)

    assert [f.what for f in bad(facts)] == [f"The coordinator does not answer at {URL}.", "coordinator does not run."]


def test_a_worker_that_registered_again_is_well():
    log = said("coordinator.unreachable", ago=9, coordinator="http://coordinator:8000") + said("agent.registered")

    assert bad(contained(worker(log=log))) == []


def test_what_was_long_ago_is_no_finding():
    log = said("journal.full", ago=900) + said("request.done", ago=900, status="429")

    assert bad(contained(home(log=log))) == []


# --- reading what docker says ---------------------------------------------------------------------


def inspected(service: str, **state: Any) -> dict[str, Any]:
    """An object of `docker inspect`, as Docker 20.10 to 28 write it."""
    port = {"8000/tcp": [{"HostIp": "", "HostPort": "8000"}]} if service == "coordinator" else {}
    return {
        "Id": service * 8,
        "Name": f"/m-{service}-1",
        "RestartCount": 4,
        "LogPath": "/nowhere/x-json.log",
        "State": {"Status": "running", "OOMKilled": False, "ExitCode": 0, "StartedAt": "2026-11-21T13:12:05.5Z"}
        | state,
        "HostConfig": {
            "Memory": 24 * MB,
            "PortBindings": port,
            "LogConfig": {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}},
        },
        "NetworkSettings": {"Networks": {"m_muster": {"Aliases": ["m-analyzer-1", "analyzer"]}}},
        "Mounts": [{"Destination": "/data", "RW": True}, {"Destination": "/tmp", "RW": True}],
        "Config": {
            "Hostname": "af014e2e2ef9",
            "Env": ["COORDINATOR_URL=http://coordinator:8000", "API_KEY=s3cret", "MAX_CONCURRENT_TASKS="],
            "Labels": {
                "com.docker.compose.project": "m",
                "com.docker.compose.service": service,
                "com.docker.compose.project.config_files": "/srv/m/docker-compose.yml",
                "com.docker.compose.project.working_dir": "/srv/m",
            },
        },
    }


class FakeDocker:
    """Answers by the first word of a command; an exception is raised."""

    def __init__(self, *containers: dict[str, Any], **answers: str | Exception) -> None:
        self.asked: list[Sequence[str]] = []
        self._answers: dict[str, str | Exception] = {
            "ps": "\n".join(c["Id"] for c in containers),
            "inspect": json.dumps(containers),
            "stats": "\n".join(f"{c['Id']} 14.70%" for c in containers),
            "logs": "2026-11-21T13:12:14.705186976Z MAX_CONCURRENCY: no number",
            "exec": "Filesystem 1024-blocks Used Available Capacity Mounted on\ntmpfs 2048 2048 0 100% /data",
            "info": "/",
        } | answers

    def __call__(self, arguments: Sequence[str]) -> str:
        self.asked.append(arguments)
        answer = self._answers[arguments[0]]
        if isinstance(answer, Exception):
            raise answer
        return answer


def looked(run: Callable[[Sequence[str]], str], **values: Any) -> tuple[Project | None, list[Unseen]]:
    return docker.look(**{"port": 8000, "name": None, "folder": Path("/srv/m"), "at": AT, "run": run} | values)


def test_a_container_is_read():
    timeout = {"ExitCode": -1, "Output": "Health check exceeded timeout (3s)\n"}
    health = {"Status": "unhealthy", "Log": [{"ExitCode": 0, "Output": ""}, timeout]}

    found = container_of(inspected("analyzer", Health=health), at=AT)

    assert found == Container(
        name="m-analyzer-1",
        service="analyzer",
        hostname="af014e2e2ef9",
        restarts=4,
        running_seconds=9.5,
        health="unhealthy",
        health_said="Health check exceeded timeout (3s)",
        memory_limit=24 * MB,
        networks=("m_muster",),
        environ={"COORDINATOR_URL": "http://coordinator:8000"},
    )


@pytest.mark.parametrize(
    ("driver", "options", "rotated"),
    [
        ("json-file", {"max-size": "10m"}, True),
        ("json-file", {}, False),
        ("json-file", None, False),
        ("local", {}, True),
        ("journald", {}, True),
    ],
)
def test_a_log_is_rotated(driver, options, rotated):
    one = inspected("analyzer")
    one["HostConfig"]["LogConfig"] = {"Type": driver, "Config": options}

    assert container_of(one).log_rotated is rotated


@pytest.mark.parametrize(
    "line",
    [
        '{"status": 429, "event": "request.done", "path": "/execute_task"}',
        "13:12:14 [info     ] request.done           path=/execute_task status=429",
    ],
)
def test_a_log_line_of_ours_is_read(line):
    found = log_line(f"2026-11-21T13:12:15.000000000Z {line}")

    assert found is not None
    assert (found.at, found.event, found.fields["status"]) == (AT, "request.done", "429")


@pytest.mark.parametrize("line", ["Traceback", '{"half": ', "[1, 2]", '"event"', ""])
def test_a_log_line_of_somebody_else_is_text(line):
    found = log_line(f"2026-11-21T13:12:15Z {line}")

    assert found == LogLine(at=AT, event="", text=line.strip())


def test_a_line_without_a_time_is_no_log_line():
    assert log_line("Error response from daemon") is None


def test_df_is_read():
    text = (
        "Filesystem     1024-blocks     Used Available Capacity Mounted on\n"
        "/dev/vda         264212084 26219140  80171772      25% /data dir\n"
        "overlay - - - - /x\n"
    )

    assert disk_lines(text) == (Disk(folder="/data dir", total_bytes=106390912 * 1024, free_bytes=80171772 * 1024),)


def test_the_project_is_found_by_the_port():
    run = FakeDocker(inspected("analyzer"), inspected("coordinator"))

    project, unseen = looked(run, folder=Path("/elsewhere"))

    assert project is not None
    assert unseen == []
    assert project.compose == "docker compose -p m -f /srv/m/docker-compose.yml"
    assert [(c.service, c.memory_share, c.disks[0].used) for c in project.containers] == [
        ("analyzer", 0.147, 1.0),
        ("coordinator", 0.147, 1.0),
    ]
    assert project.containers[0].log[0].text == "MAX_CONCURRENCY: no number"


def test_commands_are_short_in_the_project_s_own_folder():
    project, _ = looked(FakeDocker(inspected("coordinator")), port=1)

    assert project is not None
    assert project.compose == "docker compose"


def test_a_project_of_somebody_else_is_not_looked_at():
    run = FakeDocker(inspected("coordinator"))

    assert looked(run, port=1, folder=Path("/elsewhere")) == (None, [])
    assert {arguments[0] for arguments in run.asked} == {"ps", "inspect"}


def test_a_project_that_is_not_there_is_named():
    project, unseen = looked(FakeDocker(inspected("coordinator")), name="other")

    assert project is None
    assert [(one.why, one.essential) for one in unseen] == [("there is no compose project 'other'", True)]


def test_another_project_s_container_that_goes_meanwhile_hides_nothing():
    """`docker inspect` fails as a whole where one of the listed containers has been removed since."""
    whole = FakeDocker(inspected("coordinator"))
    removed = ["old"]

    def run(arguments: Sequence[str]) -> str:
        if arguments[0] == "inspect" and removed:
            raise DockerFailed(f"Error: No such object: {removed.pop()}")
        return whole(arguments)

    project, unseen = looked(run)

    assert project is not None
    assert [c.service for c in project.containers] == ["coordinator"]
    assert unseen == []


def test_what_docker_hides_is_named_the_rest_shown():
    """What Docker does not say is named and the rest is seen."""
    failed = DockerFailed("docker stats did not respond within 10 s")
    run = FakeDocker(inspected("coordinator"), stats=failed, logs=DockerFailed("no log"), exec=DockerFailed("gone"))

    project, unseen = looked(run)

    assert project is not None
    assert [one.what for one in unseen] == ["memory in use", "the log of m-coordinator-1"]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (None, "docker is not installed"),
        ("echo permission denied while trying to connect >&2; exit 1", "this user may not use docker"),
        ("echo 'Cannot connect to the Docker daemon at unix:///x' >&2; exit 1", "the Docker engine is not running"),
        ("echo boom >&2; exit 3", "boom"),
        ("exec sleep 30", "docker ps did not respond within 0 s"),
    ],
)
def test_docker_that_cannot_be_asked_says_why(script, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(docker, "DOCKER_SECONDS", 0.4)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin" if script else str(tmp_path))
    if script:
        path = tmp_path / "docker"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    project, unseen = looked(docker.docker)

    assert project is None
    assert [(one.what, one.why) for one in unseen] == [("containers", expected)]


# --- asking the coordinator -----------------------------------------------------------------------


def no_docker(_: Sequence[str]) -> str:
    raise DockerFailed("docker is not installed")


@pytest.fixture
def running(tmp_path):
    with Running(tmp_path / "c", api_key="s3cret", max_concurrent_tasks=1) as coordinator:
        yield coordinator.start().ready()


def test_a_running_coordinator_is_seen(running, tmp_path):
    """Plain processes: no docker is needed, and what it would have shown is named."""
    facts = inspect.look(running.url, "s3cret", folder=tmp_path, run=no_docker)

    assert facts.coordinator == Coordinator(url=running.url, agents=())
    assert [(one.what, one.essential) for one in facts.unseen] == [("containers", False)]
    assert [f.what for f in bad(facts)] == ["No agent can research, analyze, report."]


def test_a_task_that_failed_is_seen(running, tmp_path):
    headers = {"Authorization": "Bearer s3cret"}
    plan = {"task_description": "x", "plan": [{"id": "a", "capability": "nothing"}]}
    assert httpx.post(f"{running.url}/execute_task", json=plan, headers=headers).status_code == 500

    seen = inspect.look(running.url, "s3cret", folder=tmp_path, run=no_docker).coordinator

    assert (seen.failed, seen.last_error_type) == (1, "no_agent")


@pytest.mark.parametrize(
    ("key", "why"), [(None, "the coordinator requires a key; set API_KEY"), ("wrong", "rejected the one sent")]
)
def test_a_missing_key_is_asked_for(running, tmp_path, key, why):
    facts = inspect.look(running.url, key, folder=tmp_path, run=no_docker)

    asked = next(one for one in facts.unseen if one.essential)
    assert why in asked.why
    assert asked.mend == f"API_KEY=… .venv/bin/python -m coordinator.cli doctor --url {running.url}"
    assert inspect.exit_code(facts, examine(facts)) == inspect.CANNOT_LOOK


def answers(routes: dict[str, httpx.Response]) -> httpx.MockTransport:
    return httpx.MockTransport(lambda request: routes.get(request.url.path, httpx.Response(404)))


@pytest.mark.parametrize(
    ("answer", "who"),
    [
        (httpx.Response(200, json={"name": "reporter"}), "The reporter"),
        (httpx.Response(200, text="<html>"), "Something that is not Muster (HTTP 200)"),
        (httpx.Response(404, json=[]), "Something that is not Muster (HTTP 404)"),
    ],
)
def test_somebody_else_at_the_address_is_noticed(answer, who):
    seen, _ = http.look(URL, None, transport=answers({"/health": answer}))

    assert seen.stranger == who


def test_a_coordinator_that_stops_says_so():
    routes = {
        "/health": httpx.Response(200, json={"name": "coordinator"}),
        "/ready": httpx.Response(503, json={"missing": "stopping"}),
        "/agents": httpx.Response(503, json={}),
    }

    seen, unseen = http.look(URL, None, transport=answers(routes))

    assert seen.missing == "stopping"
    assert [(one.why, one.essential) for one in unseen] == [("/agents answered HTTP 503", True)]


def test_refusals_and_load_are_read():
    agent = {"agent_id": "a-1", "name": "a", "endpoint": "http://a:1", "last_seen": "2026-11-21T13:12:05Z", "load": 2}
    metrics = 'muster_http_requests_total{method="POST",status="429"} 7.0\nmuster_http_requests_total{status="200"} 9.0'
    routes = {
        "/health": httpx.Response(200, json={"name": "coordinator"}),
        "/ready": httpx.Response(200, json={}),
        "/agents": httpx.Response(200, json={"agents": [agent]}, headers={"Date": "Sat, 21 Nov 2026 13:12:15 GMT"}),
        "/stats": httpx.Response(200, json={"now": {"running": 1, "queued": 2}, "last_error": None}),
        "/metrics": httpx.Response(200, text=metrics),
        "/tasks": httpx.Response(200, json={"tasks": [{"finished_at": "2026-11-21T13:12:00Z"}, {"finished_at": None}]}),
    }

    seen, _ = http.look(f"{URL}/", None, transport=answers(routes))

    known = SeenAgent(id="a-1", name="a", endpoint="http://a:1", status="", load=2, silent_seconds=10.0)
    assert seen == Coordinator(url=URL, agents=(known,), running=1, queued=2, refused=7, failed=2, keyless=True)


def indexed(*skipped: Skipped, files: int = 7) -> Facts:
    state = IndexState(provider="local", folder="/docs", files=files, passages=9, skipped=list(skipped))
    return plain(Coordinator(url=URL, agents=TRIO, index=state))


def test_documents_that_are_not_searched_are_named():
    """What could not be read by name and reason, what rules leave out by number."""
    failed = [Skipped(what=f"{n}.pdf", why="is encrypted", failed=True) for n in range(5)]
    ruled = [Skipped(what="*.png", why="is of an unsupported type", files=8)]
    ruled += [Skipped(what=".git/", why="is hidden", files=0)]

    unread, left_out = bad(indexed(*failed, *ruled))

    assert (unread.check, unread.severity) == ("documents", "warning")
    assert unread.what == "5 documents or folders could not be read, or only in part."
    assert unread.why == "0.pdf is encrypted; 1.pdf is encrypted; 2.pdf is encrypted; and 2 more."
    assert left_out.what == "8 files are left out by rule."
    assert left_out.why == "8 *.png: of an unsupported type."
    assert unread.mend == left_out.mend == f"curl -s {URL}/agents/researcher/index"


@pytest.mark.parametrize(
    ("seen", "severity", "what", "mend"),
    [
        (
            {"trouble": "UPLOADS_DIR=/uploads cannot be used: Permission denied."},
            "problem",
            "cannot be uploaded",
            "chown",
        ),
        (
            {"trouble": "UPLOADS_DIR=up cannot be used: Read-only."},
            "problem",
            "cannot be uploaded",
            "UPLOADS_DIR=/uploads",
        ),
        ({"searched": False}, "problem", "No researcher searches the uploaded", "up -d --no-deps researcher"),
        ({"bytes": 950_000_000}, "warning", "folder of uploads is nearly full", "documents --url"),
        ({"documents": 950}, "warning", "folder of uploads is nearly full", "documents --url"),
        ({"free_bytes": 5_000_000}, "warning", "disk of uploads is nearly full", "documents --url"),
    ],
)
def test_uploads_that_cannot_come_in_are_found(seen: dict[str, Any], severity: str, what: str, mend: str) -> None:
    """Whose the folder is, who searches it, and how full it is."""
    facts = contained(coordinator=replace(WELL, uploads=SeenUploads(**seen)))

    (found,) = [one for one in bad(facts) if one.check == "documents"]

    assert (found.severity, what in found.what) == (severity, True)
    assert mend in (found.mend or "")


def test_uploads_that_are_well_are_counted() -> None:
    facts = contained(coordinator=replace(WELL, uploads=SeenUploads(documents=3, bytes=4_200_000)))

    assert bad(facts) == []
    assert "3 were uploaded, 4.2 MB." in [one.what for one in examine(facts)]


def test_uploads_are_seen_over_http(tmp_path: Path) -> None:
    """Also a folder that somebody else owns; off is not unwell."""
    (tmp_path / "uploads").write_text("no folder")
    with Running(tmp_path, uploads_dir=tmp_path / "uploads") as running:
        seen, _ = http.look(running.start().ready().url, None)
    with Running(tmp_path / "off") as running:
        off, _ = http.look(running.start().ready().url, None)

    assert "Not a directory" in (seen.uploads.trouble or "" if seen.uploads else "")
    assert off.uploads is None


def test_folder_without_documents_is_a_problem():
    """A folder without documents is a problem and a whole one is well."""
    assert [f.what for f in bad(indexed(files=0))] == ["The researcher has no documents below /docs."]
    assert bad(indexed(Skipped(what=".git/", why="is hidden", files=0))) == []
    assert bad(indexed(Skipped(what="deploy/*.yml", why="is named in .musterignore", files=3))) == []
    assert "7 documents below /docs are searched." in [f.what for f in examine(indexed())]


@pytest.mark.parametrize(
    ("answer", "files", "unseen"),
    [
        (httpx.Response(200, json={"provider": "local", "folder": "/docs", "files": 3, "passages": 9}), 3, []),
        (httpx.Response(404), None, []),
        (httpx.Response(502), None, ["the researcher's documents"]),
    ],
)
def test_the_researchers_index_is_asked_for_through_the_gateway(answer, files, unseen):
    agent = {"agent_id": "r-1", "name": "researcher", "endpoint": "http://r:1", "status": "healthy"}
    routes = {
        "/health": httpx.Response(200, json={"name": "coordinator"}),
        "/ready": httpx.Response(200, json={}),
        "/agents": httpx.Response(200, json={"agents": [agent]}),
        "/agents/researcher/index": answer,
    }

    seen, missed = http.look(URL, None, transport=answers(routes))

    assert (seen.index.files if seen.index else None) == files
    assert [one.what for one in missed] == unseen


@pytest.mark.parametrize(
    ("exc", "why"),
    [(httpx.ReadTimeout(""), "No answer within 3 s"), (httpx.ConnectError("Connection refused"), "Connection refused")],
)
def test_silence_is_named(exc, why):
    def refuse(_: httpx.Request) -> httpx.Response:
        raise exc

    seen, _ = http.look(URL, None, transport=httpx.MockTransport(refuse))

    assert seen.silent == why


def test_another_machine_is_not_looked_for_here(tmp_path):
    seen = answers({"/health": httpx.Response(200, json={"name": "coordinator"})})

    facts = inspect.look("http://muster.example", None, folder=tmp_path, run=no_docker, transport=seen)

    assert (facts.disks, facts.memory_available, facts.coordinator.port) == ((), None, 80)
    assert "on another machine" in facts.unseen[-1].why


def test_stopped_containers_are_told_from_live_processes(tmp_path):
    """`make run` on the port of a project that was stopped."""
    run = FakeDocker(inspected("coordinator", Status="exited"))
    well = answers({"/health": httpx.Response(200, json={"name": "coordinator"})})

    assert inspect.look(URL, None, folder=tmp_path, run=run, transport=well).project is None


def test_limits_come_from_the_container(tmp_path):
    one = inspected("coordinator")
    one["Config"]["Env"] = ["MAX_CONCURRENT_TASKS=1", "MAX_QUEUED_TASKS="]
    well = answers({"/health": httpx.Response(200, json={"name": "coordinator"})})

    facts = inspect.look(URL, None, folder=tmp_path, run=FakeDocker(one), transport=well)

    assert facts.limits == TaskLimits(running=1, queued=1_000)
    assert [place.folder for place in facts.disks] == ["/"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MAX_CONCURRENT_TASKS", "many", "MAX_CONCURRENT_TASKS: Input should be"),
        ("API_KEY", "schlüssel", "API_KEY must be"),
        ("API_KEY_FILE", "/nowhere", "API_KEY_FILE=/nowhere cannot be read"),
    ],
)
def test_wrong_settings_are_named(tmp_path, monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)

    facts = inspect.look(URL, None, folder=tmp_path, run=no_docker, transport=answers({}))

    assert facts.unseen[-1].why.startswith(f"settings are wrong: {said}")


# --- the command ----------------------------------------------------------------------------------


def test_a_dead_coordinator_is_a_finding(tmp_path, monkeypatch):
    """One sentence with the reason, the command under it, and exit code 1."""
    monkeypatch.setenv("PATH", str(tmp_path))  # no docker

    done = CliRunner().invoke(cli, ["doctor", "--url", "http://127.0.0.1:9"])

    assert done.exit_code == inspect.PROBLEMS
    assert "✗ Reachability   The coordinator does not answer at http://127.0.0.1:9." in done.output
    assert "→ make run" in done.output
    assert "? Not checked: containers, because docker is not installed." in done.output


def test_the_same_for_programs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    done = CliRunner().invoke(cli, ["doctor", "--json", "--url", "http://127.0.0.1:9"])

    body = json.loads(done.output)
    assert body["healthy"] is False
    assert body["findings"][0] | {"why": ""} == {
        "check": "reach",
        "severity": "problem",
        "what": "The coordinator does not answer at http://127.0.0.1:9.",
        "why": "",
        "mend": "make run",
    }
    assert body["not_looked_at"][0]["what"] == "containers"


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://[", "http://x:99999999"])
def test_what_is_no_address_cannot_be_looked_at(url):
    done = CliRunner().invoke(cli, ["doctor", "--url", url])

    assert done.exit_code == inspect.CANNOT_LOOK
    assert url in done.output


def test_what_others_wrote_is_shown_as_it_is():
    """Names and errors of agents are no markup."""
    out = io.StringIO()
    facts = plain(agents(breaker="open", last_error="[red]boom[/red]"))

    inspect.show(facts, examine(facts), Console(file=out))

    assert "[red]boom[/red]" in out.getvalue()
