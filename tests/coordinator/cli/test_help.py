"""What the command line loads before it helps or asks: `python -m load.start` measures what that saves."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from coordinator.cli.commands import cli
from tests.support.fakes import ROOT

LOADED = """
import sys
from coordinator.cli.commands import cli
try:
    cli()
finally:
    print("loaded:", *sys.modules)
"""
SLOW = {"asyncio", "fastapi", "httpx", "rich", "structlog", "uvicorn", "yaml"}


def loaded(*arguments: str) -> set[str]:
    """The modules that a command of a process of its own has loaded when it ends."""
    command = [sys.executable, "-c", LOADED, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return set(done.stdout.partition("loaded:")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["ask", "--help"], [], ["aks"], ["ask", "--ulr", "x"]])
def test_help_loads_no_command(arguments):
    """Nobody waits for what `run` or `doctor` need to read how they are called."""
    modules = loaded(*arguments)

    assert "typer" in modules
    assert modules & SLOW == set()
    assert {name for name in modules if name.startswith("shared")} == set()


def test_ask_sends_before_it_loads_the_renderer():
    """Ask sends its question before it loads what shows the answer."""
    modules = loaded("ask", "--url", "http://127.0.0.1:9", "What is a tide?")

    assert "httpx" in modules
    assert modules & {"fastapi", "structlog", "uvicorn", "yaml", "shared.rendering", "coordinator.cli.outcome"} == set()


def test_every_command_is_listed_with_a_whole_sentence():
    """A first sentence that is too long for its line ends in three dots."""
    said = CliRunner().invoke(cli, ["--help"], env={"COLUMNS": "80"}).output

    assert "ask" in said
    assert "..." not in said.partition("Commands:")[2]
