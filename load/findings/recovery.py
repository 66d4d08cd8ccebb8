"""How long a failure was felt: by its callers, and by the coordinator that saw an agent go and come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from load.driving.calls import Call
from load.findings.observer import Sample
from load.findings.rows import compute_percentiles

SLOW = 3.0  # times the p95 from before: that second still was not as before
LEAST_SLOW_SECONDS = 0.1  # above the p95 from before; less is noise


@dataclass(frozen=True)
class Recovery:
    """Seconds from the failure; None: not within the time that was watched, or never.

    `failing_seconds` is until the last task that did not complete had ended, `slow_seconds` until the last second in
    which p95 was over 3x what it was before.
    """

    failed: int
    failing_seconds: float
    slow_seconds: float
    watched_seconds: float

    @property
    def seconds(self) -> float | None:
        """Until everything was as before; None when it was not at the end."""
        last = max(self.failing_seconds, self.slow_seconds)
        return last if last < self.watched_seconds - 1 else None


def measure_recovery(calls: Sequence[Call], *, at: float, until: float) -> Recovery:
    """Measures what callers felt of a failure `at`, watched `until` (both on the clock of the calls)."""
    before = [call.seconds for call in calls if call.carried and call.began + call.seconds < at]
    usual = compute_percentiles(before)[1] if before else 0.0
    limit = max(SLOW * usual, usual + LEAST_SLOW_SECONDS)
    after = [call for call in calls if call.began + call.seconds >= at]
    failed = [call for call in after if not call.ok]
    slow = 0.0
    for second in range(int(until - at) + 1):
        begun = [c.seconds for c in after if c.carried and at + second - 1 <= c.began < at + second]
        if begun and compute_percentiles(begun)[1] > limit:
            slow = float(second)
    return Recovery(
        failed=len(failed),
        failing_seconds=max((call.began + call.seconds - at for call in failed), default=0.0),
        slow_seconds=slow,
        watched_seconds=until - at,
    )


def find_outage(samples: Sequence[Sample], *, at: float) -> tuple[str | None, float | None, float | None]:
    """Returns which agent lost an instance after `at`, the seconds until that was shown, and until it was back."""
    past = [sample for sample in samples if sample.at <= at]
    if not past:
        return None, None, None
    usual = past[-1].count_healthy()
    name = gone = None
    for sample in (sample for sample in samples if sample.at > at):
        now = sample.count_healthy()
        if name is None:
            name = next((agent for agent, count in usual.items() if now.get(agent, 0) < count), None)
            gone = sample.at - at if name else None
        elif now.get(name, 0) >= usual[name]:
            return name, gone, sample.at - at
    return name, gone, None
