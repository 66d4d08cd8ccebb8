"""What was measured of one contender, round by round."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from load.peers.contenders import Contender
from load.peers.place import Place
from load.processes.usage import read_session_cpu_seconds


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
    rests: list[tuple[float, float]] = field(default_factory=list)  # seconds of processor time, of so many seconds
    failed: int = 0
    _left: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        return self.contender.name

    def read_cpu_seconds(self) -> float:
        return sum(read_session_cpu_seconds(process.pid) for process in self.processes)

    def leave(self) -> None:
        """Notes that nothing is asked of it until `come`."""
        self._left = self.read_cpu_seconds(), time.perf_counter()

    def come(self) -> None:
        if self._left is not None:
            self.rests.append((self.read_cpu_seconds() - self._left[0], time.perf_counter() - self._left[1]))
        self._left = None

    @property
    def rest_percent(self) -> float:
        """Of a core, while the others were measured; nan if it was never left alone."""
        seconds = sum(seconds for _, seconds in self.rests)
        return 100 * sum(spent for spent, _ in self.rests) / seconds if seconds else float("nan")

    def compute_quantile(self, of: Callable[[Measured], Sequence[float]], share: float) -> float:
        """Returns a quantile in milliseconds; nan without values."""
        values = sorted(of(self))
        return 1000 * values[int(share * (len(values) - 1))] if values else float("nan")


def compute_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Returns the median of the ratios of each round, in which both were measured side by side; nan without rounds."""
    pairs = [a / b for a, b in zip(ours, theirs, strict=False) if b]
    return median(pairs) if pairs else float("nan")


def compute_spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Returns the median, the least and the most; nan without values."""
    return (median(values), min(values), max(values)) if values else (float("nan"),) * 3
