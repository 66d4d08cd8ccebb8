"""All that a run has found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from load.findings.knee import Suggestion
from load.findings.observer import Observed
from load.findings.reasons import Lever
from load.findings.rows import BenchRow
from load.processes.processor import ProcessorUse


@dataclass(frozen=True)
class Fact:
    """One figure of a scenario, ready to be shown; `value` is the same for programs."""

    name: str
    value: float | str | None
    shown: str


@dataclass(frozen=True)
class BenchFindings:
    """`ok` is what the exit code says; `axis` names what the rows' `x` is; `marks` are named places on it."""

    scenario: str
    url: str
    ok: bool
    verdict: str
    axis: str
    rows: Sequence[BenchRow]
    observed: Sequence[Observed] = ()
    uses: Sequence[ProcessorUse] = ()
    knee: BenchRow | None = None
    reasons: Sequence[str] = ()
    levers: Sequence[Lever] = ()
    suggestion: Suggestion | None = None
    facts: Sequence[Fact] = ()
    notes: Sequence[str] = ()
    marks: Mapping[float, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Returns a JSON object; times are seconds."""
        suggested = self.suggestion
        return {
            "scenario": self.scenario,
            "url": self.url,
            "ok": self.ok,
            "verdict": self.verdict,
            "knee": _dump_row(self.knee) if self.knee else None,
            "reasons": list(self.reasons),
            "settings": [asdict(lever) for lever in self.levers],
            "suggestion": {**asdict(suggested), "env_line": suggested.env_line} if suggested else None,
            "figures": {fact.name: fact.value for fact in self.facts},
            "notes": list(self.notes),
            "axis": self.axis,
            "rows": [_dump_row(row) for row in self.rows],
            "observed": [asdict(seen) for seen in self.observed],
            "processor": [asdict(use) for use in self.uses],
        }


def _dump_row(row: BenchRow) -> dict[str, Any]:
    return {**asdict(row), "success_percent": round(row.success_percent, 3)}
