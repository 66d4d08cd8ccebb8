"""The names of all durable writes and all sends of the coordinator, as its source has them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
ELSEWHERE = (  # not reached here, each tested where it belongs
    "store.replan",  # a planner with a model: tests/coordinator/execution/test_model_planner.py
    "store.give_back",  # a megabyte of free space: tests/coordinator/journal/test_pruning.py
    "store.drop_recording",  # recordings, which are off: tests/coordinator/journal/test_recordings.py
    "store.late_result",  # two coordinators on one journal: tests/coordinator/journal/test_store.py
)
FLEET = "fleet"  # several coordinators on PostgreSQL: tests/fleet/test_kills.py
_WRITE = re.compile(r'"(store\.[a-z_]+)"')
_SEND = re.compile(r'_at\("(send\.[a-z_.]+)"\)')


@cache
def find_points() -> tuple[str, ...]:
    """Every point that a simulated coordinator may pass: a write has three, before and after it is in its transaction
    and once it is durable.
    """
    files = [path for path in sorted((ROOT / "coordinator").rglob("*.py")) if FLEET not in path.parts]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    writes = sorted(set(_WRITE.findall(text)) - set(ELSEWHERE))
    sends = sorted(set(_SEND.findall(text)))
    return (*(f"{write}.{when}" for write in writes for when in ("queued", "written", "committed")), *sends)
