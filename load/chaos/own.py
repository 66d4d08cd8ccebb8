"""A project of one's own: started from a compose file with keys, a name and a port of its own, and taken away."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from load.chaos.engine import Refused, docker, run, wait
from load.chaos.project import LABEL, Project
from load.chaos.signals import undisturbed
from load.processes.ports import free_port

PREFIX = "muster-chaos-"  # and the number of the process whose project it is
DEFAULT = "docker-compose.yml"
REMOVE_SECONDS = 20.0
KEYS = ("api_key", "worker_key", "database_password")


@contextlib.contextmanager
def started(image: str, file: str = DEFAULT, *, tag: str = "", override: str = "") -> Iterator[Project]:
    """A project while the block runs; `override` is a second compose file's text, `tag` ends its name.

    The keys of docker-compose.prod.yml are new ones in a temporary folder, which goes with the project.
    """
    name = f"{PREFIX}{os.getpid()}{tag}"
    folder = _find_folder(name)
    folder.mkdir(mode=0o700)
    try:
        settings = {"MUSTER_IMAGE": image, "PUBLISH_PORT": str(free_port()), "WORKER_SECRET": "worker_key"}
        for key in KEYS:
            (folder / key).write_text(secrets.token_urlsafe(32))
            (folder / key).chmod(0o444)  # the containers' user must read them; the folder keeps others out
        files = ["-f", file]
        if override:
            (folder / "override.yml").write_text(override)
            files += ["-f", str(folder / "override.yml")]
        keyed = file != DEFAULT  # the default file takes keys from the environment, and has none here
        if keyed:
            settings |= {f"{key.upper()}_FILE": str(folder / key) for key in KEYS}
        _compose(name, *files, "up", "-d", "--wait", "--no-build", settings=settings)
        yield Project(name, api_key=(folder / "api_key").read_text() if keyed else None, file=file)
    finally:
        with undisturbed():
            remove(name)


def remove(name: str) -> None:
    """Takes a project of ours away with its volumes, its keys and all that was added to it."""
    of_project = f"label=com.docker.compose.project={name}"
    containers = (
        docker("ps", "-aq", "-f", of_project).split() + docker("ps", "-aq", "-f", f"label={LABEL}={name}").split()
    )
    if paused := docker("ps", "-q", "-f", of_project, "-f", "status=paused").split():
        docker("unpause", *paused)
    if containers:
        docker("rm", "--force", "--volumes", *containers)
    for kind in ("network", "volume"):
        wait(partial(_is_removed, kind, of_project), seconds=REMOVE_SECONDS)
    shutil.rmtree(_find_folder(name), ignore_errors=True)


def _is_removed(kind: str, of_project: str) -> bool:
    """Removes what there is of it; a network may have the ends of containers for a moment after they are gone."""
    found = docker(kind, "ls", "-q", "-f", of_project).split()
    if found:
        with contextlib.suppress(Refused):
            docker(kind, "rm", *found)
    return not found


def remove_left() -> list[str]:
    """Takes away the projects of runs whose process is gone; returns their names."""
    names = set(docker("ps", "-a", "--format", '{{.Label "com.docker.compose.project"}}').split())
    for kind in ("network", "volume"):
        names |= set(docker(kind, "ls", "--format", '{{.Label "com.docker.compose.project"}}').split())
    names |= {folder.name for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*") if folder.is_dir()}
    left = sorted(name for name in names if name.startswith(PREFIX) and not _runs(name))
    for name in left:
        remove(name)
    return left


def _find_folder(name: str) -> Path:
    return Path(tempfile.gettempdir()) / name


def _runs(name: str) -> bool:
    """Whether the process still runs whose project it is; its number may have gone to another program since."""
    pid = name.removeprefix(PREFIX).partition("-")[0]
    command = Path(f"/proc/{pid}/cmdline")
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        pass
    except (ProcessLookupError, ValueError):
        return False
    return not command.is_file() or b"load.chaos" in command.read_bytes()


def _compose(name: str, *arguments: str, settings: Mapping[str, str]) -> None:
    run("docker", "compose", "-p", name, "--env-file", os.devnull, *arguments, **settings)
