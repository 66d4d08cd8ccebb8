"""Faults of the journal's disk, each in a project beside: a volume that is full, files that are damaged."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator

from load.chaos.engine import CannotPlay, Refused, docker, inspect, read_log, wait
from load.chaos.fault import Fault, at_most, holds
from load.chaos.own import started
from load.chaos.project import Project
from load.chaos.traffic import QUESTION, Traffic
from load.figures.figure import Figure

VOLUME = "24m"  # a task and its report take up to 0.1 MB
KEEP_FULL = """
until [ -e /tmp/enough ]; do dd if=/dev/zero of=/data/ballast bs=4k oflag=append conv=notrunc; sleep 0.1; done
rm /data/ballast
"""
TASKS = 20
COPY = "cp -a /data/muster.db /data/kept && rm -f /data/muster.db-wal /data/muster.db-shm"
BACK = "cp -a /data/kept /data/muster.db && rm -f /data/muster.db-wal /data/muster.db-shm"
DAMAGES = {
    "one bit in the middle": "f.seek(size // 2); b = f.read(1)[0] ^ 4; f.seek(size // 2); f.write(bytes([b]))",
    "the second half": "f.truncate(size // 2)",
    "the first page": "f.write(b'x' * 4096)",
    "all of it": "f.truncate(0)",
}


def fill_disk(project: Project) -> list[Figure]:
    """New tasks are refused by name, reads go on; freed space is enough."""
    options = {"type": "tmpfs", "device": "tmpfs", "o": f"size={VOLUME},uid=10001,gid=10001"}
    with _beside(project, {"volumes": {"journal": {"driver_opts": options}}}) as beside:
        container, kinds = beside.find("coordinator"), [""]
        with Traffic(beside, rate=2.0) as traffic:
            docker("exec", "-d", container, "bash", "-c", KEEP_FULL)
            refused = wait(lambda: _ask(beside, kinds) == 503)
            reads = [beside.call(path)[0] for path in ("/health", "/agents", "/tasks", "/stats")]
            time.sleep(2.0)
            docker("exec", container, "touch", "/tmp/enough")
            again = wait(lambda: _ask(beside, kinds) == 202)
            time.sleep(2.0)
        restarts = int(docker("inspect", "-f", "{{.RestartCount}}", container))
    return [
        at_most("new tasks are 503 after", refused, 30, "s"),
        holds("and named storage_full", kinds[1:2] == ["urn:muster:problem:storage_full"]),
        holds("reads go on", reads == [200] * 4),
        at_most("tasks are taken again", again, 5, "s"),
        at_most("restarts", restarts, 0),
        *traffic.judge(),
    ]


def damage_journal(project: Project) -> list[Figure]:
    """Each time it refuses to start in words, or has every task; and starts again from a good copy."""
    silent: list[str] = []
    with _beside(project, {}) as beside:
        ids = [beside.run_task(QUESTION, seconds=25.0)[0]["task_id"] for _ in range(TASKS)]
        container = beside.find("coordinator")
        docker("stop", "-t", "15", container)
        _in_volume(beside, COPY)
        silent += [name for name, damage in DAMAGES.items() if not _is_noticed(beside, damage, ids)]
        _in_volume(beside, BACK)
        docker("start", container)
        back = wait(lambda: _has_all(beside, ids))
    return [
        at_most(f"of {len(DAMAGES)} damages, started with fewer tasks", len(silent), 0),
        *(Figure(f"silent: {name}", 1.0, "") for name in silent),
        at_most("all tasks are there after the copy is back", back, 30, "s"),
    ]


DISKS = {
    15: Fault("a full disk", "a project beside with its journal in a tmpfs of 24 MB", fill_disk, 120.0),
    17: Fault("a damaged journal", "a project beside, a bit, pages and all of its file", damage_journal, 180.0),
}


@contextlib.contextmanager
def _beside(project: Project, override: dict[str, object]) -> Iterator[Project]:
    """A second project of the same file, all of whose workers take steps; raises `CannotPlay` beside a foreign one."""
    if project.file is None:
        raise CannotPlay("it would damage the journal; only a project that is started for it may be damaged")
    if project.find_all("postgres"):
        raise CannotPlay("the journal is in PostgreSQL")
    with started(project.image, project.file, tag="-disk", override=json.dumps(override)) as beside:
        beside.wait_serving()
        yield beside


def _is_noticed(project: Project, damage: str, ids: list[str]) -> bool:
    """Whether a coordinator with this damage refuses to start, in words, or has every task."""
    container = project.find("coordinator")
    code = f"import os; f = open('/data/muster.db', 'r+b'); size = os.path.getsize(f.name); {damage}"
    _in_volume(project, f'{BACK} && python -c "{code}"')
    began = time.time()
    docker("start", container)

    def is_noticed() -> bool:
        return _has_all(project, ids) or _is_refused(container, began)

    found = wait(is_noticed, seconds=20.0) < 20
    docker("stop", "-t", "5", container)
    return found


def _in_volume(project: Project, script: str) -> None:
    """Runs a script where the coordinator's journal is, while the coordinator does not run."""
    mounts = inspect(project.find("coordinator"))[0]["Mounts"]
    volume = next(mount["Name"] for mount in mounts if mount["Destination"] == "/data")
    options = ("--rm", "--user", "10001", "--volume", f"{volume}:/data", "--entrypoint", "bash")
    docker("run", *options, project.image, "-c", script)


def _ask(project: Project, kinds: list[str]) -> int:
    """The status of one more task; `kinds` gets the type of a refusal."""
    status, said = project.call("/execute_task", QUESTION, headers={"Prefer": "respond-async"})
    if status == 503:
        kinds.append(str((said or {}).get("type")))
    return status


def _has_all(project: Project, ids: list[str]) -> bool:
    with contextlib.suppress(OSError):
        return all(project.call(f"/tasks/{id}")[0] == 200 for id in ids)
    return False


def _is_refused(container: str, since: float) -> bool:
    """Whether it has said what is wrong with the journal."""
    with contextlib.suppress(Refused):
        return "muster.db" in read_log(container, "--since", f"{since:.3f}")
    return False
