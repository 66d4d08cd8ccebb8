"""Seeds of the simulation: none of them breaks an invariant, and each is the same every time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHUNKS, SEEDS = 5, 10


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own: the order of its sets is part of a seed."""
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONHASHSEED"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_seed_breaks_an_invariant(chunk):
    done = simulate("--first", str(chunk * SEEDS), "--seeds", str(SEEDS), "--jobs", "1")

    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


@pytest.mark.timeout(900)
def test_a_seed_is_the_same_every_time(tmp_path):
    """Byte for byte, in another process."""
    for name in ("first", "second"):
        done = simulate("--seed", "4", "--history", str(tmp_path / name))
        assert done.returncode == 0, done.stdout + done.stderr

    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
