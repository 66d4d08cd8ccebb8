"""The doctor: inspects a running or a dead suite, says what is wrong with it, and which command fixes it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import httpx
from rich.console import Console
from rich.text import Text

from coordinator.cli.doctor import docker, http, model_calls
from coordinator.cli.doctor.docker import DockerFailed, RunDocker
from coordinator.cli.doctor.facts import COORDINATOR, Diagnosis, Disk, Facts, Project, TaskLimits, Unseen
from coordinator.cli.doctor.machine import find_available_memory, look_at_disk
from shared.settings import CoordinatorSettings, wrong

HEALTHY, PROBLEMS, CANNOT_LOOK = 0, 1, 2  # exit codes
MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}
TITLES = {
    "reach": "Reachability",
    "memory": "Memory",
    "disk": "Disk and logs",
    "health": "Health checks",
    "limits": "Limits",
    "documents": "Documents",
    "model": "Model",
    "keys": "Keys",
}


def look(
    url: str,
    key: str | None,
    *,
    name: str | None = None,
    folder: Path | None = None,
    run: RunDocker = docker.docker,
    transport: httpx.BaseTransport | None = None,
) -> Facts:
    """Everything that can be seen of the coordinator at `url` and its compose project (`name`, or found by port).

    Raises `http.NoAddress` for a URL that is none. `run` and `transport` replace docker and the network.
    """
    folder = folder or Path.cwd()
    at = time.time()
    coordinator, unseen = http.look(url, key, transport=transport)
    here = _is_local(httpx.URL(url).host)
    project: Project | None = None
    if here or name:
        project, more = docker.look(port=coordinator.port, name=name, folder=folder, at=at, run=run)
        unseen += more
    else:
        unseen.append(Unseen(what="containers and disks", why="the coordinator is on another machine"))
    home = project.service(COORDINATOR) if project else None
    if home is not None and coordinator.silent is None and home.status in ("exited", "created") and not name:
        project, home = None, None  # plain processes answer; the stopped containers are not theirs
    facts = Facts(at=at, coordinator=coordinator, project=project)
    if not here:
        return replace(facts, unseen=tuple(unseen), limits=_limits(home.environ) if home else None)
    seen, lacking, more = model_calls.look(project, folder, run)
    unseen += more
    disks, limits = _local(folder, unseen) if project is None else (_docker_disk(run), None)
    return replace(
        facts,
        disks=disks,
        memory_available=find_available_memory(),
        limits=_limits(home.environ) if home else limits,
        unseen=tuple(unseen),
        model=seen,
        model_lacking=lacking,
    )


def exit_code(facts: Facts, findings: list[Diagnosis]) -> int:
    """0 all is well, 1 something is not, 2 what matters could not be looked at."""
    if any(finding.severity == "problem" for finding in findings):
        return PROBLEMS
    return CANNOT_LOOK if any(one.essential for one in facts.unseen) else HEALTHY


def show(facts: Facts, findings: list[Diagnosis], console: Console) -> None:
    """The findings as a list: a mark, a sentence, and the command under it."""
    for finding in findings:
        mark, colour = MARKS[finding.severity]
        head = Text.assemble((mark, colour), f" {TITLES[finding.check]:<14} ", (finding.what, "bold"))
        console.print(head + Text(f" {finding.why}" if finding.why else ""), soft_wrap=True)
        if finding.mend:
            console.print(Text.assemble(" " * 17, ("→ ", colour), finding.mend), soft_wrap=True)
    for one in facts.unseen:
        console.print(Text(f"? Not checked: {one.what}, because {one.why}."), soft_wrap=True)
        if one.mend and not any(one.mend in (finding.mend or "") for finding in findings):
            console.print(Text(f"{' ' * 17}→ {one.mend}"), soft_wrap=True)


def as_json(facts: Facts, findings: list[Diagnosis]) -> str:
    """The same for programs."""
    body = {
        "healthy": exit_code(facts, findings) == HEALTHY,
        "findings": [asdict(finding) for finding in findings],
        "not_looked_at": [asdict(one) for one in facts.unseen],
    }
    return json.dumps(body, indent=2, ensure_ascii=False)


# --- this machine ---------------------------------------------------------------------------------


def _is_local(host: str) -> bool:
    return host in ("localhost", "::1", "0.0.0.0", socket.gethostname()) or host.startswith("127.")


def _local(folder: Path, unseen: list[Unseen]) -> tuple[tuple[Disk, ...], TaskLimits | None]:
    """The journal's disk and the limits, as plain processes in this folder have them."""
    try:
        settings = CoordinatorSettings()
    except ValueError as exc:
        why = f"settings are wrong: {' '.join(wrong(exc))}"
        unseen.append(Unseen(what="the journal's disk", why=why, mend="make run"))
        return (), None
    limits = TaskLimits(running=settings.max_concurrent_tasks, queued=settings.max_queued_tasks)
    scheme, _, path = settings.database_url.partition(":///")
    if scheme != "sqlite" or not path:
        return (), limits
    return look_at_disk(folder / Path(path).parent), limits


def _docker_disk(run: RunDocker) -> tuple[Disk, ...]:
    try:
        return look_at_disk(Path(docker.root_folder(run)))
    except (DockerFailed, IndexError):  # the volumes inside the containers were looked at
        return ()


def _limits(environ: Mapping[str, str]) -> TaskLimits:
    usual = TaskLimits()
    running, queued = (environ.get(f"MAX_{word}_TASKS", "") for word in ("CONCURRENT", "QUEUED"))
    return TaskLimits(
        running=int(running) if running.isdigit() else usual.running,
        queued=int(queued) if queued.isdigit() else usual.queued,
    )
