"""A short round of `python -m load.chaos`: nothing is lost, and nothing is left of it, also after `kill -9`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.support.docker import ROOT, docker

pytestmark = pytest.mark.timeout(400, func_only=True)
COMMAND = [sys.executable, "-m", "load.chaos", "--json", "--image"]


def list_projects(*filters: str) -> list[str]:
    """The project of each container that a round has started."""
    options = [part for filter in filters for part in ("-f", filter)]
    names = docker("ps", "-a", *options, "--format", '{{.Label "com.docker.compose.project"}}').split()
    return [name for name in names if name.startswith("muster-chaos-")]


def test_short_round_loses_nothing_and_cleans_up(image: str) -> None:
    """What a killed run has left is gone as well."""
    killed = subprocess.Popen([*COMMAND, image, "--short"], cwd=ROOT, stderr=subprocess.DEVNULL)
    left = f"muster-chaos-{killed.pid}"
    until = time.monotonic() + 120
    while list_projects("health=healthy").count(left) < 4:
        assert time.monotonic() < until, "it started no project"
        time.sleep(0.2)
    killed.send_signal(signal.SIGKILL)
    killed.wait()

    done = subprocess.run(
        [*COMMAND, image, "--short"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )

    figures = json.loads(done.stdout)["figures"]
    assert [f["name"] for f in figures if f["name"].endswith("lost") and f["value"]] == []
    assert len(figures) > 5
    assert left not in list_projects()
