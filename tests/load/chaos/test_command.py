"""The command line of `python -m load.chaos`: what it refuses before it touches anything."""

from __future__ import annotations

import subprocess
import sys

import pytest

from load.processes.programs import ROOT


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "load.chaos", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_list_names_all_and_how_each_is_played() -> None:
    done = run("--list")
    assert done.returncode == 0
    assert [int(line[:2]) for line in sorted(done.stdout.splitlines(), key=lambda line: int(line[:2]))] == [
        *range(1, 51)
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--project", "theirs"), "--yes-break-it"),
        (("--only", "16"), "tests/coordinator/journal/test_journal.py"),
        (("--only", "51"), "there is no such fault"),
        (("--only", "one"), "is not a list like"),
        (("--file", "nowhere.yml"), "--file nowhere.yml is not there"),
    ],
)
def test_what_makes_no_sense_is_refused(options: tuple[str, ...], said: str) -> None:
    done = run(*options)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
