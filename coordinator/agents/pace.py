"""PURE: how long the calls of an agent take as a rule, and which of its instances take far longer than that."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from statistics import median

from coordinator.agents.instance import SLOW_SECONDS, Instance

RECENT = 100  # calls of one name that count
ENOUGH = 20  # calls before anything is far too long
EVERY = 20  # calls, before the limit is computed again
TIMES = 3.0  # the 95th percentile
LATENCY_HALVES_SECONDS = 2.0  # one slow answer, such as a first one with cold caches, counts briefly
ALIKE = 3.0  # latencies within this factor of the quickest are noise, and would send everything to one
LEAST_SECONDS = 0.1  # less is noise, whatever is usual
NAMES = 1_000  # that are remembered


@dataclass
class _Pace:
    calls: deque[tuple[str, float]] = field(default_factory=lambda: deque(maxlen=RECENT))
    new: int = 0
    limit: float | None = None


class Paces:
    """What calls took lately, by the name of the agent: all instances together."""

    def __init__(self) -> None:
        self._by_name: dict[str, _Pace] = {}

    def add(self, instance: Instance, seconds: float) -> None:
        """A call was answered after so many seconds."""
        pace = self._by_name.get(instance.name)
        if pace is None:
            if len(self._by_name) >= NAMES:
                self._by_name.clear()
            pace = self._by_name[instance.name] = _Pace()
        pace.calls.append((instance.id, seconds))
        pace.new += 1
        if pace.new >= EVERY and len(pace.calls) >= ENOUGH:
            pace.new, pace.limit = 0, max(LEAST_SECONDS, TIMES * _find_usual(pace.calls))

    def find_limit(self, name: str) -> float | None:
        """Seconds after which a call takes far too long; None while too little is known."""
        pace = self._by_name.get(name)
        return pace.limit if pace is not None else None


def estimate(instances: Collection[Instance], now: float) -> dict[str, float]:
    """What a step would take at each, by id: in steps of the quickest.

    A newcomer counts as quick as the quickest, not quicker: a slow one would get everything until it answers.
    What a far too slow one took is not forgotten until a step may try it.
    """
    quickest = max(min((i.latency for i in instances if i.latency is not None), default=1.0), 1e-6)
    expected = {}
    for i in instances:
        latency = i.latency if i.latency is not None else quickest
        believed = latency * 0.5 ** ((now - i.measured_at) / LATENCY_HALVES_SECONDS)
        if i.slow_seconds and not may_try(i, now):
            believed = max(believed, i.slow_seconds)
        expected[i.id] = (i.load + 1) * (believed / quickest if believed > ALIKE * quickest else 1.0)
    return expected


def _find_usual(calls: Sequence[tuple[str, float]]) -> float:
    """The 95th percentile; an instance whose calls are most of them slow has no say in what is usual."""
    by_id: defaultdict[str, list[float]] = defaultdict(list)
    for agent_id, seconds in calls:
        by_id[agent_id].append(seconds)
    if len(by_id) > 1:
        usual = TIMES * sorted(median(taken) for taken in by_id.values())[(len(by_id) - 1) // 2]
        by_id = defaultdict(list, {id: taken for id, taken in by_id.items() if median(taken) <= usual})
    taken = sorted(seconds for each in by_id.values() for seconds in each)
    return taken[min(len(taken) - 1, int(0.95 * len(taken)))]


def note_slow(instance: Instance, seconds: float, now: float) -> bool:
    """A call has taken far too long: steps go elsewhere for a while; whether that is new."""
    new = instance.slow_seconds == 0.0
    instance.slow_seconds = max(instance.slow_seconds, seconds)
    if new or instance.slow_trial:
        _postpone(instance, now)
    return new


def note_end(instance: Instance, seconds: float | None, limit: float | None, now: float) -> None:
    """A call has ended, after `seconds` if it was answered; one quick answer is enough for an instance to be well."""
    if seconds is not None and limit is not None and seconds > limit:
        note_slow(instance, seconds, now)
    elif seconds is not None:
        instance.slow_seconds, instance.slow_pause = 0.0, SLOW_SECONDS[0]
    elif instance.slow_trial:
        _postpone(instance, now)
    instance.slow_trial = False


def may_try(instance: Instance, now: float) -> bool:
    """Whether one step may try a slow instance; one that takes canaries must have answered one before."""
    asked = instance.slow_cleared or not instance.takes_canaries
    return now >= instance.slow_until and not instance.slow_trial and asked


def needs_canary(instance: Instance, now: float) -> bool:
    """Whether a canary may show that a step may try a slow instance."""
    return instance.slow_seconds > 0 and now >= instance.slow_until and not instance.slow_cleared


def note_canary(instance: Instance, seconds: float | None, limit: float | None, now: float) -> None:
    """A canary at a slow instance has ended, after `seconds` if it was answered."""
    if instance.slow_seconds and now >= instance.slow_until:
        if seconds is not None and (limit is None or seconds <= limit):
            instance.slow_cleared = True
        else:
            _postpone(instance, now)


def _postpone(instance: Instance, now: float) -> None:
    instance.slow_trial = instance.slow_cleared = False
    instance.slow_until = now + instance.slow_pause
    instance.slow_pause = min(SLOW_SECONDS[1], instance.slow_pause * 2)
