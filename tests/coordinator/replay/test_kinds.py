"""Recorded tasks of fourteen kinds are replayed with the same outputs, order of events and report."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.replay.replay import replay
from tests.coordinator.replay.kinds import KINDS
from tests.coordinator.replay.world import GIVEN, Play, record

SEEDS = range(4)  # 148 tasks


def explain(recording: dict[str, Any]) -> str:
    """Where the replay of a recording went another way."""
    differences = replay(recording, agents=GIVEN).differences
    return "\n".join(one.write() for one in differences)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_task_replays_as_recorded(kind: Play, seed: int) -> None:
    recordings = record(kind, seed)

    assert recordings
    assert {r["task"]["id"]: explain(r) for r in recordings} == {r["task"]["id"]: "" for r in recordings}
