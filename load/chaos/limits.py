"""What a container may use of processor and memory: options of `docker update`, and the way back from them."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from load.chaos.engine import Refused, docker, inspect

PERIOD = 100_000  # microseconds


def limit_cores(cores: float, before: Mapping[str, Any]) -> list[str]:
    """Options for so many cores: Docker cannot take `--cpus` away again, only a quota."""
    if before["NanoCpus"]:
        return ["--cpus", str(cores)]
    return ["--cpu-period", str(PERIOD), "--cpu-quota", str(int(cores * PERIOD))]


def restore(before: Mapping[str, Any]) -> list[str]:
    """Options that bring back the limits of this HostConfig."""
    if before["NanoCpus"]:
        options = ["--cpus", str(before["NanoCpus"] / 1e9)]
    else:
        options = ["--cpu-period", str(before["CpuPeriod"] or PERIOD), "--cpu-quota", str(before["CpuQuota"] or -1)]
    if before["Memory"]:
        options += ["--memory", str(before["Memory"]), "--memory-swap", str(before["MemorySwap"])]
    return options


def remember(name: str, containers: Sequence[str]) -> None:
    """Writes a project's limits down before a run, for the run after one that is killed."""
    limits = {known["Id"]: known["HostConfig"] for known in inspect(*containers)}
    _find_file(name).write_text(json.dumps(limits))


def recall(name: str) -> None:
    """Brings back the limits that a run has written down, and forgets them; nothing where there are none."""
    file = _find_file(name)
    if file.is_file():
        for container, before in json.loads(file.read_text()).items():
            with contextlib.suppress(Refused):  # it is gone
                docker("update", *restore(before), container)
        file.unlink()


def _find_file(name: str) -> Path:
    return Path(tempfile.gettempdir()) / f"muster-chaos-limits-{name}.json"
