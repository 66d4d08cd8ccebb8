"""Of planted causes at least 95 % are found: `python -m tests.coordinator.explaining` tells which are not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.fakes import ROOT


@pytest.mark.timeout(400)
@pytest.mark.parametrize("first", [40, 41])
def test_planted_causes_are_found(first: int) -> None:
    """In a process of its own, since its clocks and chance are virtual."""
    command = [sys.executable, "-m", "tests.coordinator.explaining", "--first", str(first), "--seeds", "1"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
