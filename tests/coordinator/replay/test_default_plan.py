"""A task of the default plan, by the workers of Muster, is replayed as it was recorded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from coordinator.replay.replay import Replayed, replay
from shared.settings import SearchSettings
from tests.support.fakes import Network, Suite
from workers import analyzer, reporter, researcher

TIDES = "# Tides\n\nThere are tides because the moon pulls the sea. A neap tide is a weak one.\n"


async def record(network: Network, folder: Path, **asked: Any) -> dict[str, Any]:
    """The recording of a task by real workers."""
    documents = folder / "documents"
    documents.mkdir()
    (documents / "tides.md").write_text(TIDES)
    search = SearchSettings(_env_file=None, knowledge_dir=documents)
    agents = (researcher.agent(folder, search), analyzer.agent(folder), reporter.agent(folder))
    async with Suite(network, *agents, record=True) as suite:
        task = await suite.execute(**asked)
        answer = await suite.client.get(f"/tasks/{task.task_id}/recording")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def play(recording: dict[str, Any], **how: Any) -> Replayed:
    """The replay, in a thread of its own: it has a loop of its own."""
    return await asyncio.to_thread(replay, recording, **how)


async def test_a_default_task_replays_equal(network: Network, tmp_path: Path) -> None:
    recording = await record(network, tmp_path)

    replayed = await play(recording)

    assert [d.write() for d in replayed.differences] == []
    assert replayed.task.status == "completed"
    assert "the moon pulls the sea" in str(replayed.task.steps[-1].output)
