"""Writes a recording to a file, and a pytest file that replays it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_core import to_json

_TEST = '''"""Replays task {id}, recorded by Muster {version}."""

from json import loads
from pathlib import Path

from coordinator.replay.replay import replay

RECORDING = Path(__file__).with_name("{beside}")


def test_{name}_replays_as_recorded() -> None:
    """The same answers from outside lead to the same steps, outputs and report."""
    replayed = replay(loads(RECORDING.read_text(encoding="utf-8")))

    assert [difference.write() for difference in replayed.differences] == []
'''


def write_file(path: Path, recording: Mapping[str, Any]) -> None:
    """The recording as JSON, readable and fit for version control."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_json(recording, indent=1) + b"\n")


def write_test(path: Path, recording: Mapping[str, Any]) -> Path:
    """Writes the test to `path`, and the recording beside it; returns the recording's file."""
    beside = path.with_suffix(".json")
    write_file(beside, recording)
    task = recording["task"]
    words = re.findall(r"[a-z0-9]+", str(task["description"]).lower())[:5]
    name = "_".join(words) or f"task_{task['id'][:8]}"
    path.write_text(
        _TEST.format(id=task["id"], version=recording["version"], beside=beside.name, name=name), encoding="utf-8"
    )
    return beside
