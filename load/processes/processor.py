"""How busy the processor is: with this program, with another one, and with anything at all."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

OWN_CORES = 0.8  # this program is one thread: above this it may itself be what is slow
BUSY_SHARE = 0.9  # of all cores: above this everything waits for everything
_STAT = Path("/proc/stat")
_IDLE = (3, 4)  # idle, iowait: proc(5)


@dataclass(frozen=True)
class ProcessorUse:
    """`own_cores` is what this program used; `busy_share` is of all cores, by anybody, None where nothing tells it."""

    own_cores: float = 0.0
    busy_share: float | None = None

    @property
    def full(self) -> bool:
        """Whether figures of this stretch show the machine's limit rather than the coordinator's."""
        return self.own_cores > OWN_CORES or (self.busy_share or 0.0) > BUSY_SHARE

    @property
    def shown(self) -> str:
        own = f"this program used {self.own_cores:.0%} of a core"
        return own if self.busy_share is None else f"the machine's cores were {self.busy_share:.0%} busy, {own}"


@dataclass
class Meter:
    """Starts when it is made; `use` is of the time since then."""

    _began: float = field(default_factory=time.monotonic)
    _own: float = field(default_factory=time.process_time)
    _machine: tuple[float, float] | None = field(default_factory=lambda: read_ticks(_STAT))

    @property
    def use(self) -> ProcessorUse:
        own = (time.process_time() - self._own) / max(0.001, time.monotonic() - self._began)
        before, now = self._machine, read_ticks(_STAT)
        if before is None or now is None or now[1] <= before[1]:
            return ProcessorUse(own)
        return ProcessorUse(own, (now[0] - before[0]) / (now[1] - before[1]))


def read_ticks(stat: Path) -> tuple[float, float] | None:
    """Reads the busy and all ticks of all cores since the machine started (proc(5): cpu); None without the file."""
    try:
        spent = [float(word) for word in stat.read_text().partition("\n")[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    if len(spent) < 5:
        return None
    return sum(spent) - sum(spent[n] for n in _IDLE), sum(spent)
