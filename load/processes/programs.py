"""Programs started in a folder of their own, with a clean environment and their output in files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEPT = ("PATH", "HOME", "LANG", "TMPDIR")  # of the caller's environment; no setting of Muster is among them


def build_command(module: str, *arguments: str, python: str = sys.executable) -> list[str]:
    """Returns `python -m module arguments`, or `python file.py arguments`, with this interpreter or another one."""
    return [python, *([module] if module.endswith(".py") else ["-m", module]), *arguments]


def build_environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns what a program sees: no settings but `env`, and where its modules are."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(env or {})}


def start_program(
    command: Sequence[str],
    *,
    folder: Path,
    env: Mapping[str, str] | None = None,
    out: Path,
    err: Path | None = None,
    apart: bool = False,
) -> subprocess.Popen[bytes]:
    """Starts a program; what it prints is appended to `out`, and to `err` where that is another file.

    `apart`: in a session of its own, so that Ctrl-C does not reach it.
    """
    with out.open("ab") as stdout, (err or out).open("ab") as stderr:
        return subprocess.Popen(
            list(command),
            cwd=folder,
            env=build_environment(env),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=apart,
        )
