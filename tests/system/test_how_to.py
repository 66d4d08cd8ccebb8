"""The how-to pages are followed word by word, but for Docker: with a scripted model, and a search engine of our own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from load.processes.ports import free_port
from tests.support.fake_model import Says, fake_model
from tests.support.fakes import ROOT, serving
from tests.support.pages import Block, Reader, read_blocks

FOUND = {
    "url": "http://127.0.0.1:1/tides",
    "title": "Tides",
    "content": "There are tides because the moon pulls the sea.",
}


def right(body: dict[str, Any]) -> Says:
    """What a good model answers to the doctor, the researcher and the analyzer."""
    prompt = "\n".join(str(message.get("content") or "") for message in body["messages"])
    usage = {"prompt_tokens": 200 if body.get("tools") else 20, "completion_tokens": 5}
    if "Are you ready?" in prompt:
        return Says(json.dumps({"ready": True}), usage=usage)
    if "search questions" in prompt:
        return Says(json.dumps({"questions": ["What is a crash?"]}), usage=usage)
    if "p1.1" in prompt:
        return Says(json.dumps({"findings": [{"from": ["p1.1"], "statement": ""}]}), usage=usage, seconds=1)
    return Says("Yes.", usage=usage)


def follow(page: str, folder: Path, instead: dict[str, str]) -> list[Block]:
    """Follows a page in a folder; `sh` blocks need what is not here."""
    port = free_port(4)
    blocks = [block for block in read_blocks((ROOT / "docs/how-to" / page).read_text()) if block.language != "sh"]
    run = {"make run": f".venv/bin/python -m coordinator.cli run --port {port}"}
    with Reader(folder, instead=run | instead, env={"PUBLISH_PORT": str(port)}) as reader:
        reader.follow(blocks)
    return blocks


@pytest.mark.timeout(400)
async def test_a_model_is_set_up_as_the_page_says(tmp_path: Path) -> None:
    async with fake_model(right) as model:
        instead = {"http://127.0.0.1:11434": model.url, "qwen3:8b": "fake"}
        blocks = await asyncio.to_thread(follow, "model.md", tmp_path, instead)

    assert len(blocks) == 7
    assert any("p1.1" in model.prompt(number) for number in range(len(model.asked)))


@pytest.mark.timeout(400)
async def test_the_web_is_searched_as_the_page_says(tmp_path: Path) -> None:
    searxng = FastAPI()
    asked = []

    @searxng.get("/search")
    async def search(q: str, format: str) -> dict[str, Any]:
        asked.append((q, format))
        return {"results": [FOUND]}

    async with serving(searxng, lifespan=False) as url:
        blocks = await asyncio.to_thread(follow, "web-search.md", tmp_path, {"http://127.0.0.1:8888": url})

    assert len(blocks) == 6
    assert asked == [("Why are there tides?", "json")]
