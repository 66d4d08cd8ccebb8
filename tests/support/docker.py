"""Docker from a test: commands with a limit, containers by id, and `kill -9` from the host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG")  # no setting of Muster
COMMAND_SECONDS = 180.0

Done = subprocess.CompletedProcess[str]


class Refused(AssertionError):
    """A command that should have worked did not; what it said is in `said`."""

    def __init__(self, command: tuple[str, ...], done: Done) -> None:
        self.said = f"{done.stdout}{done.stderr}".strip()
        super().__init__(f"{' '.join(command)} ended with {done.returncode}: {self.said[-3000:]}")


def run(
    *command: str,
    check: bool = True,
    seconds: float = COMMAND_SECONDS,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> Done:
    """Runs a command in the project's folder with nothing of the developer's settings; raises `Refused`."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=kept | dict(env or {}),
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )
    if check and done.returncode != 0:
        raise Refused(command, done)
    return done


def docker(*args: str, check: bool = True, seconds: float = COMMAND_SECONDS) -> str:
    """What `docker args` printed; raises `Refused`."""
    return run("docker", *args, check=check, seconds=seconds).stdout.strip()


def inspected(what: str) -> dict[str, Any]:
    """What `docker inspect` says about a container, an image or a network."""
    found: dict[str, Any] = json.loads(docker("inspect", what))[0]
    return found


def pause(container: str) -> None:
    """`docker pause`, again where the kernel could not freeze a process that had just begun."""
    for _ in range(4):
        done = run("docker", "pause", container, check=False)
        if "unable to freeze" not in done.stderr:
            break
        time.sleep(0.5)
    if done.returncode != 0:
        raise Refused(("docker", "pause", container), done)


def kill_from_the_host(pid: int, image: str) -> None:
    """`kill -9` past Docker: `docker kill` counts as a manual stop, after which nothing is restarted."""
    try:
        os.kill(pid, signal.SIGKILL)
    except PermissionError:  # whoever may speak to the engine may do it from a container
        docker("run", "--rm", "--privileged", "--pid=host", "--user=0", image, "bash", "-c", f"kill -9 {pid}")
