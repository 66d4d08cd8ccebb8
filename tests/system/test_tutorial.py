"""The tutorial is followed word by word: every command, every file, and what it shows."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from load.processes.ports import free_port
from tests.support.fakes import ROOT
from tests.support.pages import Reader, read_blocks

PAGE = (ROOT / "docs" / "tutorial.md").read_text()


@pytest.mark.timeout(400)
def test_the_tutorial_works_from_top_to_bottom(tmp_path: Path) -> None:
    """But for the ports, which may be taken here."""
    port = free_port(5)
    instead = {
        "make run": f".venv/bin/python -m coordinator.cli run --port {port}",
        "8000": str(port),
        "8004": str(port + 4),
    }
    blocks = list(read_blocks(PAGE))
    with Reader(tmp_path, instead=instead, env={"PUBLISH_PORT": str(port)}) as reader:
        reader.follow(blocks)
        pages = [reader.translate(link) for link in re.findall(r"<http://localhost:(\S+)>", PAGE)]
        found = [httpx.get(f"http://localhost:{page}").status_code for page in pages]

    assert len(blocks) > 20
    assert found == [200]
