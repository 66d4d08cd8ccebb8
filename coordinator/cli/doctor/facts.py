"""PURE: what the doctor has seen, as plain facts, and what it says about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from shared.report.sources import IndexState

Check = Literal["reach", "memory", "disk", "health", "limits", "documents", "model", "keys"]
Severity = Literal["ok", "warning", "problem"]
COORDINATOR = "coordinator"
PYTHON = ".venv/bin/python" if Path(".venv/bin/python").exists() else "python"  # where the doctor was called
CLI = f"{PYTHON} -m coordinator.cli"
KILLED = 137  # exit code: 128 + SIGKILL
TOLD_TO_STOP = (0, 130, 143)  # exit codes after SIGINT and SIGTERM are no failures
LOOP_SECONDS = 60.0  # a container that was restarted and runs for less may still be in its loop
LOOP_RESTARTS = 2  # one restart is a crash that healed
BEAT_SECONDS = 6.0  # an agent heard within this time is alive
RECENT_SECONDS = 600.0  # what is older in a log explains nothing now


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One sentence about the suite; `mend` is the command that fixes it."""

    check: Check
    severity: Severity
    what: str
    why: str = ""
    mend: str | None = None


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """Something that could not be looked at; if it is `essential`, the suite cannot be called healthy."""

    what: str
    why: str
    mend: str | None = None
    essential: bool = False


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """A line of a container's log; `event` is empty if the line is not Muster's."""

    at: float  # Unix seconds
    event: str
    fields: Mapping[str, str] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Disk:
    """The file system under a folder."""

    folder: str
    total_bytes: int
    free_bytes: int

    @property
    def used(self) -> float:
        return 1 - self.free_bytes / self.total_bytes if self.total_bytes else 1.0


@dataclass(frozen=True, kw_only=True)
class Container:
    """One container of the compose project; `environ` holds only what the rules ask for, no secrets."""

    name: str
    service: str
    hostname: str = ""
    status: str = "running"  # created, running, paused, restarting, exited, dead
    exit_code: int = 0
    oom_killed: bool = False
    restarts: int = 0
    running_seconds: float = 0.0
    health: str = "healthy"  # starting, healthy, unhealthy, none
    health_said: str = ""
    log_driver: str = "json-file"
    log_rotated: bool = True
    log_bytes: int | None = None
    memory_limit: int = 512 * 2**20  # bytes; 0: none
    memory_share: float | None = None  # of the limit
    networks: tuple[str, ...] = ("muster",)
    nameless: tuple[str, ...] = ()  # those of its networks on which its service's name does not lead to it
    published: tuple[str, ...] = ()  # "127.0.0.1:8000"
    environ: Mapping[str, str] = field(default_factory=dict)
    disks: tuple[Disk, ...] = ()
    log: tuple[LogLine, ...] = ()

    @property
    def running(self) -> bool:
        return self.status == "running"

    @property
    def well(self) -> bool:
        """Running, and no check of its own has failed: what is wrong with it is to be looked for elsewhere."""
        return self.running and self.health != "unhealthy" and not self.oom_killed

    @property
    def killed(self) -> bool:
        return self.exit_code == KILLED and not self.running

    @property
    def looping(self) -> bool:
        """It ends, is restarted, and ends again; one that passes its health check has healed."""
        return self.status == "restarting" or (
            self.running
            and self.restarts >= LOOP_RESTARTS
            and self.running_seconds < LOOP_SECONDS
            and self.health != "healthy"
        )

    @property
    def ending(self) -> str:
        """How it is and how it got there, as the end of a sentence."""
        if self.status in ("exited", "created") and self.exit_code in TOLD_TO_STOP:
            return "was stopped" if self.status == "exited" else "was never started"
        if self.status == "paused":
            return "is paused"
        if self.status == "restarting" or self.running:
            code = f", last with exit code {self.exit_code}" if self.exit_code else ""
            times = "once" if self.restarts == 1 else f"{self.restarts} times"
            how = f"ended {times}{code}, and is restarted each time"
        else:
            how = f"is {self.status} with exit code {self.exit_code}"
        memory = "; it ran out of memory" if self.oom_killed else ""
        said = f"; its last log line: {self.log[-1].text[:300].rstrip('.')}" if self.log else ""
        return f"{how}{memory}{said}"

    def last(self, *events: str) -> LogLine | None:
        return next((line for line in reversed(self.log) if line.event in events), None)


@dataclass(frozen=True, kw_only=True)
class Project:
    """The containers of one compose project; `compose` is how its commands begin."""

    compose: str = "docker compose"
    containers: tuple[Container, ...] = ()

    def service(self, name: str) -> Container | None:
        return next((c for c in self.containers if c.service == name), None)


@dataclass(frozen=True, kw_only=True)
class SeenAgent:
    """An agent as `/agents` shows it."""

    id: str
    name: str
    endpoint: str
    instance: str = ""  # a worker of ours: its host name and port
    capabilities: tuple[str, ...] = ()
    status: str = "healthy"
    load: int = 0
    max_concurrency: int | None = None
    breaker: str = "closed"
    last_error: str = ""
    canary_error: str = ""  # why it left its last canary unanswered
    silent_seconds: float | None = None  # since its last sign of life
    reached_at: str = ""  # where the coordinator finds it, which does not reach it at its endpoint

    @property
    def is_alive(self) -> bool:
        """Whether it has sent a heartbeat just now."""
        return self.silent_seconds is not None and self.silent_seconds <= BEAT_SECONDS

    @property
    def hosts(self) -> tuple[str, str]:
        """The names of the machine it runs on, by its own word and by its address."""
        return self.instance.rpartition("-")[0], urlsplit(self.endpoint).hostname or ""


@dataclass(frozen=True, kw_only=True)
class SeenUploads:
    """The folder of uploads as `GET /documents` shows it: what it holds, what may still come, who searches it."""

    documents: int = 0
    bytes: int = 0
    most_documents: int = 1_000
    most_bytes: int = 10**9
    free_bytes: int = 10**12  # of its disk, but for what is kept free
    trouble: str | None = None
    searched: bool = True


@dataclass(frozen=True, kw_only=True)
class Coordinator:
    """What the coordinator said over HTTP; None where it was not asked or did not say."""

    url: str
    silent: str | None = None  # why it gave no answer
    stranger: str | None = None  # who answers there instead
    missing: str | None = None  # why it is not ready
    agents: tuple[SeenAgent, ...] | None = None
    running: int = 0
    queued: int = 0
    refused: int = 0  # answers 429 since its start
    failed: int = 0  # tasks in the last ten minutes
    failed_status: str = "failed"  # of most of them: failed or timed_out
    last_error: str = ""
    last_error_type: str = ""
    index: IndexState | None = None  # of the researcher, where it has one and told it
    uploads: SeenUploads | None = None  # where they are on
    keyless: bool = False  # it answered without a key

    @property
    def failures(self) -> str:
        return "1 task" if self.failed == 1 else f"{self.failed} tasks"

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)


@dataclass(frozen=True, kw_only=True)
class TaskLimits:
    """How many tasks the coordinator runs at once, and lets wait."""

    running: int = 64
    queued: int = 1_000


@dataclass(frozen=True, kw_only=True)
class SeenModel:
    """What was seen of the language model that agents ask; see `shared.agent_loop.model_checkup.Checkup`."""

    name: str
    url: str
    silent: str = ""
    names: tuple[str, ...] = ()
    format: str = ""
    shaped: bool = False
    tools: str = ""
    context: int | None = None
    reading: float | None = None
    writing: float | None = None

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> SeenModel:
        """A checkup as JSON."""
        return cls(**{**found, "names": tuple(found.get("names") or ())})


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that was seen, at Unix second `at`."""

    at: float
    coordinator: Coordinator
    project: Project | None = None
    disks: tuple[Disk, ...] = ()  # of this machine: the journal's, Docker's
    memory_available: float | None = None  # share of this machine's memory
    limits: TaskLimits | None = None
    unseen: tuple[Unseen, ...] = ()
    model: SeenModel | None = None
    model_lacking: str = ""  # what to set, where settings speak of a model and name none

    @property
    def containers(self) -> tuple[Container, ...]:
        return self.project.containers if self.project else ()

    @property
    def compose(self) -> str:
        return self.project.compose if self.project else "docker compose"

    def container_of(self, agent: SeenAgent) -> Container | None:
        """The container that an agent runs in, if it is one of the project's."""
        names = [host for host in agent.hosts if host]
        return next((c for c in self.containers for n in names if n in (c.hostname, c.service, c.name)), None)

    def curl(self, url: str) -> str:
        """The command that asks a service for its health; from inside, where only a container knows its name."""
        if self.project is None or self.project.service(COORDINATOR) is None:
            return f"curl -s -m 3 {url}/health"
        ask = f"import urllib.request as r; print(r.urlopen('{url}/health', timeout=3).read())"
        return f'{self.compose} exec {COORDINATOR} python -c "{ask}"'

    def up(self, service: str, *options: str, environ: str = "") -> str:
        """The command that recreates one service and leaves the others alone."""
        words = (environ, self.compose, "up -d --no-deps", *options, service)
        return " ".join(word for word in words if word)
