"""What `test_example.py`, an example to copy, needs beside the product."""

from __future__ import annotations

from pathlib import Path

from load.processes.ports import free_port
from tests.support.fakes import ROOT, eventually
from tests.support.processes import Running, start

__all__ = ["ROOT", "eventually", "free_port", "process"]


def process(module: str, folder: Path, *arguments: str, **environment: str) -> Running:
    """A module or a file, run as a process of its own; `with` ends it."""
    return start(module, *arguments, folder=folder, env=environment, warm=False)
