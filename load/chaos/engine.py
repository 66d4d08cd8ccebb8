"""Docker as chaos uses it: commands with a limit, what it knows of containers, and root on its machine."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from load.processes.programs import ROOT

COMMAND_SECONDS = 180.0
WAIT_SECONDS = 60.0
KEPT = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG")  # of the environment: no setting of Muster


class Refused(Exception):
    """A command that should have worked did not; the message is what it said."""


class CannotPlay(Exception):
    """This fault cannot be played on this host, or against this project; the message says why."""


def run(*command: str, **settings: str) -> str:
    """What a command printed; it sees `settings` and nothing else of Muster's. Raises `Refused`."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=kept | settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
            check=False,
            start_new_session=True,  # Ctrl-C ends this program, not the command that puts something back
        )
    except FileNotFoundError as exc:
        raise Refused(f"{command[0]} is not installed.") from exc
    except subprocess.TimeoutExpired as exc:
        raise Refused(f"{' '.join(command)[:200]} did not end within {COMMAND_SECONDS:.0f} s.") from exc
    if done.returncode != 0:
        raise Refused(f"{' '.join(command)[:200]} failed: {(done.stdout + done.stderr).strip()[-1500:]}")
    return done.stdout.strip()


def docker(*arguments: str, **settings: str) -> str:
    """What `docker` printed; raises `Refused`."""
    return run("docker", *arguments, **settings)


def inspect(*containers: str) -> list[dict[str, Any]]:
    """What Docker knows about these containers."""
    found: list[dict[str, Any]] = json.loads(docker("inspect", *containers)) if containers else []
    return found


def read_log(container: str, *options: str) -> str:
    """What a container has written, to standard output and to standard error."""
    return run("sh", "-c", 'exec docker logs "$@" 2>&1', "sh", *options, container)


def find_pid(container: str) -> int:
    """The container's first process, as Docker's machine numbers it; 0 if it does not run."""
    pid: int = inspect(container)[0]["State"]["Pid"]
    return pid


def list_pids(container: str) -> list[int]:
    """All processes of a container that runs."""
    return [int(line) for line in docker("top", container, "-eo", "pid").splitlines()[1:]]


def as_root(container: str, script: str) -> str:
    """What a shell script printed that ran as root on Docker's machine, past Docker; `container` runs there.

    Raises `CannotPlay` where nobody may do this, and where the script failed: this machine lacks what it needs.
    """
    try:
        if os.geteuid() == 0 and _is_here(container):
            return run("sh", "-c", script)
        image = inspect(container)[0]["Image"]  # whoever may speak to Docker may do it from a container
        enter = ("nsenter", "--target", "1", "--mount", "--uts", "--net", "--ipc", "--", "sh", "-c", script)
        return docker("run", "--rm", "--privileged", "--pid=host", "--user=0", image, *enter)
    except Refused as exc:
        raise CannotPlay(f"root on Docker's machine: {exc}") from exc


def wait(what: Callable[[], bool], *, seconds: float = WAIT_SECONDS) -> float:
    """Seconds until it is so; infinity where it never was."""
    began = time.monotonic()
    while not what():
        if time.monotonic() - began > seconds:
            return float("inf")
        time.sleep(0.1)
    return time.monotonic() - began


def _is_here(container: str) -> bool:
    """Whether the container's processes are among those that this process sees: Docker may be elsewhere."""
    known = inspect(container)[0]
    try:
        return known["Id"] in Path(f"/proc/{known['State']['Pid']}/cgroup").read_text()
    except OSError:
        return False
