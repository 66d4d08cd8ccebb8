"""A short round of `python -m load.chaos`: all demands are met, and nothing is left of it, also after `kill -9`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.docker import ROOT, docker

pytestmark = pytest.mark.timeout(400, func_only=True)
COMMAND = [sys.executable, "-m", "load.chaos", "--json"]
PROD = ("--file", "docker-compose.prod.yml")


def list_left(pid: int) -> list[str]:
    """What there is of a round's project: containers, networks, volumes and its folder of keys."""
    name = f"muster-chaos-{pid}"
    of_project = ("-f", f"label=com.docker.compose.project={name}")
    found = docker("ps", "-aq", *of_project).split() + docker("ps", "-aq", "-f", f"label=muster.chaos={name}").split()
    for kind in ("network", "volume"):
        found += docker(kind, "ls", "-q", *of_project).split()
    return found + [str(path) for path in Path(tempfile.gettempdir()).glob(f"{name}*")]


def start(image: str, *options: str) -> subprocess.Popen[str]:
    """Starts a round and waits until its first fault is played."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # one that is ignored would be so there, too
    try:
        run = subprocess.Popen(
            [*COMMAND, "--image", image, *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert run.stderr is not None
    for line in run.stderr:
        if line.endswith("…\n"):
            return run
    raise AssertionError(f"it played nothing and ended with {run.wait()}")


def test_round_on_the_production_file_after_a_killed_one(image: str) -> None:
    """What the killed run has left is gone as well."""
    killed = start(image, "--only", "20")
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert list_left(killed.pid)

    done = subprocess.run(
        [*COMMAND, "--image", image, *PROD, "--short"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    figures = json.loads(done.stdout)["figures"]
    assert [f for f in figures if f["name"].endswith(("lost", "twice")) and f["value"]] == []
    assert len(figures) > 8
    assert done.returncode == (1 if any(f["ok"] is False for f in figures) else 0)
    assert list_left(killed.pid) == []


def test_a_round_cut_short_leaves_nothing(image: str) -> None:
    """Ctrl-C, and again while it tidies up."""
    run = start(image, "--only", "5")
    time.sleep(1.0)  # in the middle of a fault, wherever that is
    run.send_signal(signal.SIGINT)
    time.sleep(1.0)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=200)
    assert (run.returncode, said.splitlines()[-1]) == (1, "Ended by Ctrl-C; all is put back.")
    assert list_left(run.pid) == []
