"""Looks at the containers of a compose project through the `docker` command, and reads what it says into facts."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tenacity import retry, retry_if_exception, stop_after_attempt

from coordinator.cli.doctor.facts import COORDINATOR, Container, Disk, LogLine, Project, Unseen

DOCKER_SECONDS = 10.0  # for each command
LOG_LINES = 2_000  # of each container
READ_ENVIRON = (
    "COORDINATOR_URL",
    "ADVERTISE_URL",
    "MAX_CONCURRENT_TASKS",
    "MAX_QUEUED_TASKS",
    "MAX_CONCURRENCY",
    "MODEL_NAME",
)
LABEL = "com.docker.compose."
ROTATING = ("local", "none", "journald", "syslog")  # bound their size themselves, or somebody else does
_FIELD = re.compile(r"(\w+)=('[^']*'|\"[^\"]*\"|\S+)")
_PLAIN = re.compile(r"\S+ \[(?:debug|info|warning|error|critical) *\] ([a-z_]+\.[a-z_]+)(.*)")

RunDocker = Callable[[Sequence[str]], str]


class DockerFailed(Exception):
    """The command cannot be run or failed; the text says why, `mend` how to fix it."""

    def __init__(self, why: str, mend: str | None = None) -> None:
        super().__init__(why)
        self.mend = mend


def docker(arguments: Sequence[str]) -> str:
    """What `docker …` says, standard error last; raises `DockerFailed`, after 10 s at the latest."""
    try:
        done = subprocess.run(
            ["docker", *arguments],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DOCKER_SECONDS,
        )
    except FileNotFoundError as exc:
        raise DockerFailed("docker is not installed") from exc
    except subprocess.TimeoutExpired as exc:
        raise DockerFailed(f"docker {arguments[0]} did not respond within {DOCKER_SECONDS:.0f} s") from exc
    except OSError as exc:
        raise DockerFailed(f"cannot run docker: {exc.strerror}") from exc
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        if "permission denied" in said.lower():
            raise DockerFailed("this user may not use docker", "sudo usermod -aG docker $USER && newgrp docker")
        if "cannot connect" in said.lower():
            raise DockerFailed("the Docker engine is not running", "sudo systemctl start docker")
        raise DockerFailed(said[:300])
    return done.stdout + done.stderr


def look(
    *, port: int, name: str | None, folder: Path, at: float, run: RunDocker = docker
) -> tuple[Project | None, list[Unseen]]:
    """The project called `name`, else the one that publishes `port`, else the one that was started in `folder`.

    None where docker cannot be asked, or has no such project; what could not be seen is named.
    """
    try:
        inspected = _every_container(run)
    except (DockerFailed, ValueError) as exc:
        why, mend = (str(exc), exc.mend) if isinstance(exc, DockerFailed) else ("its output is not JSON", None)
        return None, [Unseen(what="containers", why=why, mend=mend, essential=name is not None)]
    chosen = name or _project_of(inspected, port=port, folder=folder)
    ours = [one for one in inspected if _labels(one).get(LABEL + "project") == chosen]
    if not ours:
        return None, [_no_project(name)] if name else []
    unseen: list[Unseen] = []
    shares = _memory_shares([one["Id"] for one in ours if one["State"]["Status"] == "running"], run, unseen)
    containers = [
        container_of(one, share=shares.get(one["Id"]), log=_log(one, run, unseen), disks=_disks(one, run), at=at)
        for one in sorted(ours, key=lambda one: str(one["Name"]))
    ]
    return Project(compose=_compose(_labels(ours[0]), folder), containers=tuple(containers)), unseen


def root_folder(run: RunDocker = docker) -> str:
    """Where Docker keeps images, volumes and logs; raises `DockerFailed`."""
    return run(["info", "--format", "{{.DockerRootDir}}"]).splitlines()[0].strip()


def container_of(
    one: Mapping[str, Any],
    *,
    share: float | None = None,
    log: tuple[LogLine, ...] = (),
    disks: tuple[Disk, ...] = (),
    at: float = 0.0,
) -> Container:
    """One object of `docker inspect` as facts."""
    state, host, labels = one["State"], one["HostConfig"], _labels(one)
    service = labels.get(LABEL + "service", "")
    networks = (one.get("NetworkSettings") or {}).get("Networks") or {}
    checks = state.get("Health") or {}
    failed = [entry for entry in checks.get("Log") or () if entry.get("ExitCode")]
    environ = dict(pair.partition("=")[::2] for pair in one["Config"].get("Env") or ())
    options = host["LogConfig"].get("Config") or {}
    driver = host["LogConfig"]["Type"]
    started = _seconds(state.get("StartedAt", ""))
    return Container(
        name=one["Name"].lstrip("/"),
        service=service,
        hostname=one["Config"].get("Hostname", ""),
        status=state["Status"],
        exit_code=state.get("ExitCode", 0),
        oom_killed=bool(state.get("OOMKilled")),
        restarts=one.get("RestartCount", 0),
        running_seconds=max(0.0, at - started) if started else 0.0,
        health=checks.get("Status") or "none",
        health_said=" ".join(failed[-1].get("Output", "").split())[:200].rstrip(".") if failed else "",
        log_driver=driver,
        log_rotated=driver in ROTATING or "max-size" in options,
        log_bytes=_log_bytes(one.get("LogPath") or ""),
        memory_limit=host.get("Memory") or 0,
        memory_share=share,
        networks=tuple(sorted(networks)),
        nameless=tuple(sorted(name for name, at in networks.items() if service not in _names(at))),
        published=tuple(_addresses(host.get("PortBindings") or {})),
        environ={name: environ[name] for name in READ_ENVIRON if environ.get(name)},
        log=log,
        disks=disks,
    )


def log_line(text: str) -> LogLine | None:
    """A line of `docker logs --timestamps`, Muster's, as JSON or as plain text, or another program's."""
    stamp, _, rest = text.partition(" ")
    at = _seconds(stamp)
    if not at:
        return None
    rest = rest.strip()
    if rest.startswith("{"):
        try:
            data = json.loads(rest)
        except ValueError:
            data = {}
        if isinstance(data, dict) and "event" in data:
            return LogLine(at=at, event=str(data["event"]), fields={k: str(v) for k, v in data.items()}, text=rest)
    plain = _PLAIN.match(rest)
    if plain is None:
        return LogLine(at=at, event="", text=rest)
    fields = {name: value.strip("'\"") for name, value in _FIELD.findall(plain.group(2))}
    return LogLine(at=at, event=plain.group(1), fields=fields, text=rest)


def disk_lines(text: str) -> tuple[Disk, ...]:
    """The output of `df -Pk`, without its head."""
    rows = [line.split(maxsplit=5) for line in text.splitlines()[1:]]
    return tuple(
        Disk(folder=row[5], total_bytes=(int(row[2]) + int(row[3])) * 1024, free_bytes=int(row[3]) * 1024)
        for row in rows
        if len(row) == 6 and row[2].isdigit() and row[3].isdigit()
    )


# --- how it is done -------------------------------------------------------------------------------


def _names(network: Mapping[str, Any]) -> set[str]:
    """What other containers of the network can call this one; newer engines keep the list in DNSNames."""
    return {*(network.get("Aliases") or ()), *(network.get("DNSNames") or ())}


def _labels(one: Mapping[str, Any]) -> dict[str, str]:
    return one["Config"].get("Labels") or {}


def _was_removed(exc: BaseException) -> bool:
    return isinstance(exc, DockerFailed) and "no such object" in str(exc).lower()


@retry(retry=retry_if_exception(_was_removed), stop=stop_after_attempt(5), reraise=True)
def _every_container(run: RunDocker) -> list[dict[str, Any]]:
    """What Compose made here, of any project; again where one of them goes between the list and the look."""
    listed = run(["ps", "-aq", "--no-trunc", "--filter", f"label={LABEL}project"]).split()
    found: list[dict[str, Any]] = json.loads(run(["inspect", *listed])) if listed else []
    return found


def _no_project(name: str | None) -> Unseen:
    return Unseen(
        what="containers", why=f"there is no compose project {name!r}", mend="docker compose ls", essential=True
    )


def _project_of(inspected: Sequence[Mapping[str, Any]], *, port: int, folder: Path) -> str | None:
    """The project whose coordinator publishes the port, or whose compose file is in the folder."""
    for one in inspected:
        bound = [where.rsplit(":", 1)[-1] for where in _addresses(one["HostConfig"].get("PortBindings") or {})]
        if _labels(one).get(LABEL + "service") == COORDINATOR and str(port) in bound:
            return _labels(one)[LABEL + "project"]
    here = [
        labels[LABEL + "project"]
        for one in inspected
        if (labels := _labels(one)).get(LABEL + "project.working_dir") == str(folder)
        and labels.get(LABEL + "service") == COORDINATOR
    ]
    return here[0] if len(set(here)) == 1 else None


def _addresses(bindings: Mapping[str, Any]) -> list[str]:
    found = [b for bound in bindings.values() for b in bound or () if b.get("HostPort")]
    return [
        f"{b['HostIp'] if b.get('HostIp') not in (None, '', '0.0.0.0') else '127.0.0.1'}:{b['HostPort']}" for b in found
    ]


def _compose(labels: Mapping[str, str], folder: Path) -> str:
    """How a command for this project begins, as short as it may be in `folder`."""
    files = [f for f in labels.get(LABEL + "project.config_files", "").split(",") if f]
    project = labels.get(LABEL + "project", "")
    usual = [str(folder / "docker-compose.yml")]
    environ = labels.get(LABEL + "project.environment_file")
    words = ["docker", "compose", *(["--env-file", environ] if environ else [])]
    if files != usual or project != re.sub(r"[^a-z0-9_-]", "", folder.name.lower()):
        words += ["-p", project]
    if files != usual:
        words += [word for file in files for word in ("-f", os.path.basename(file) if file in usual else file)]
    return shlex.join(words)


def _memory_shares(ids: Sequence[str], run: RunDocker, unseen: list[Unseen]) -> dict[str, float]:
    if not ids:
        return {}
    try:
        said = run(["stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.MemPerc}}", *ids])
    except DockerFailed as exc:
        unseen.append(Unseen(what="memory in use", why=str(exc)))
        return {}
    rows = [line.split() for line in said.splitlines()]
    return {row[0]: float(row[1].rstrip("%")) / 100 for row in rows if len(row) == 2 and _number(row[1].rstrip("%"))}


def _log(one: Mapping[str, Any], run: RunDocker, unseen: list[Unseen]) -> tuple[LogLine, ...]:
    try:
        said = run(["logs", "--timestamps", "--tail", str(LOG_LINES), one["Id"]])
    except DockerFailed as exc:
        unseen.append(Unseen(what=f"the log of {one['Name'].lstrip('/')}", why=str(exc)))
        return ()
    return tuple(sorted((line for text in said.splitlines() if (line := log_line(text))), key=lambda line: line.at))


def _disks(one: Mapping[str, Any], run: RunDocker) -> tuple[Disk, ...]:
    """The volumes that a running container may write to; asked inside, where they are mounted."""
    folders = [m["Destination"] for m in one.get("Mounts") or () if m.get("RW") and m["Destination"] != "/tmp"]
    if not folders or one["State"]["Status"] != "running":
        return ()
    try:
        return disk_lines(run(["exec", one["Id"], "df", "-Pk", *folders]))
    except DockerFailed:  # it ended a moment ago, or has no df: its log still says when it is full
        return ()


def _log_bytes(path: str) -> int | None:
    try:
        return Path(path).stat().st_size if path else None
    except OSError:  # only root may look
        return None


def _seconds(stamp: str) -> float:
    """Unix seconds of Docker's nanosecond times; 0 for none."""
    try:
        at = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", stamp).replace("Z", "+00:00"))
    except ValueError:
        return 0.0
    return at.timestamp() if at.year > 1 and at.tzinfo else 0.0


def _number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
