"""The process that a scenario kills with SIGKILL, named by its id or by its container."""

from __future__ import annotations

import os
import signal
import subprocess

INSPECT_SECONDS = 10.0


class NoVictim(Exception):
    """The process cannot be killed from here; the message says what to do."""


def find_victim(pid: int | None, container: str | None) -> int:
    """Returns the id of the process to kill, which this program may signal; raises `NoVictim`.

    A container's main process is killed from outside because `docker kill` counts as a manual stop, after which no
    restart policy starts it again.
    """
    found = pid if pid is not None else _find_main_process(container or "")
    try:
        os.kill(found, 0)
    except ProcessLookupError as exc:
        raise NoVictim(f"No process here has the id {found}.") from exc
    except PermissionError as exc:
        raise NoVictim(f"Process {found} belongs to another user; run this as root.") from exc
    return found


def kill(pid: int) -> None:
    """Sends SIGKILL; a process that has already exited is not an error."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _find_main_process(container: str) -> int:
    command = ["docker", "inspect", "--type", "container", "--format", "{{.State.Pid}}", "--", container]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=INSPECT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise NoVictim(f"docker does not answer: {exc}") from exc
    if said.returncode != 0:
        raise NoVictim(f"docker inspect {container}: {said.stderr.strip() or 'failed'}")
    pid = int(said.stdout.strip() or 0)
    if pid <= 1:
        raise NoVictim(f"The container {container} does not run.")
    return pid
