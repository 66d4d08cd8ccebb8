"""What was measured of one contender, round by round."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from load import session_cpu_seconds
from load.peers.contenders import Contender
from load.peers.place import Place


@dataclass
class Measured:
    """Rates, processor times and ratios have one entry a round; durations and added times one a task."""

    contender: Contender
    place: Place
    processes: Sequence[subprocess.Popen[bytes]]
    version: str
    at_once: int
    rates: list[float] = field(default_factory=list)  # tasks/s
    cpu_us: list[float] = field(default_factory=list)  # a task, all its processes
    durations: list[float] = field(default_factory=list)  # seconds, with `at_once` tasks at once
    added: list[float] = field(default_factory=list)  # seconds over the agents' own time, at a fixed rate
    rest_percent: float = 0.0  # of a core, while nothing is asked
    failed: int = 0

    @property
    def name(self) -> str:
        return self.contender.name

    def cpu_seconds(self) -> float:
        return sum(session_cpu_seconds(process.pid) for process in self.processes)

    def quantile(self, of: Callable[[Measured], Sequence[float]], share: float) -> float:
        """In milliseconds; nan without values."""
        values = sorted(of(self))
        return 1000 * values[int(share * (len(values) - 1))] if values else float("nan")


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median of the rounds' ratios: what was measured side by side is compared; nan without rounds."""
    pairs = [a / b for a, b in zip(ours, theirs, strict=False) if b]
    return median(pairs) if pairs else float("nan")


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, least and most; nan without values."""
    return (median(values), min(values), max(values)) if values else (float("nan"),) * 3
