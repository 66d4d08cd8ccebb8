"""The page about frameworks is followed word by word, with LangGraph and a scripted model."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from load.processes.ports import free_port
from tests.support.fake_model import Says, fake_model
from tests.support.fakes import ROOT
from tests.support.pages import Reader, read_blocks

PAGE = (ROOT / "docs/frameworks/README.md").read_text()
VENV = ROOT / "build/frameworks/langgraph"


@pytest.mark.timeout(300)
async def test_the_page_of_the_frameworks(tmp_path: Path) -> None:
    """But for the ports, and the virtual environment, which `make frameworks` has made."""
    port = free_port(5)
    looks_up = Says(calls=[{"name": "price", "arguments": {"product": "lamp"}}])
    blocks = list(read_blocks(PAGE))

    async with fake_model(looks_up, "A lamp costs 12 euros.") as model:
        instead = {
            "make run": f".venv/bin/python -m coordinator.cli run --port {port}",
            "python3 -m venv build/shop": f"mkdir build; ln -s {VENV} build/shop",
            "pip install": "pip install --dry-run --quiet",
            "http://127.0.0.1:11434": model.url,
            "8000": str(port),
            "8004": str(port + 4),
        }
        with Reader(tmp_path, instead=instead, env={}) as reader:
            (tmp_path / "tests").symlink_to(ROOT / "tests")
            await asyncio.to_thread(reader.follow, blocks)

    assert len(blocks) == 7
    assert len(model.asked) == 2
