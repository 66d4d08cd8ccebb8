"""The page of results: a table, a chart, where others are faster, and how it was measured."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from load.drawing.dots import DotPanel, draw
from load.figures.figure import Figure
from load.peers.measurements import Measured, compute_ratio, compute_spread
from load.peers.rounds import DELAY_MS, RATE

COMMITS = 4  # accepted; two steps, which may share one; the last step with the task's end
BUSY = 0.5  # of the cores
KINDS = {"muster": "ours", "peer": "theirs", "limit": "limit"}


@dataclass(frozen=True)
class MeasuredRun:
    """How it was measured."""

    rounds: int
    seconds: float
    latency_seconds: float
    at_once: int
    pinned: bool
    cores: int
    syncs: float
    load_before: float
    minutes: float
    notes: Sequence[str]

    def list_sentences(self) -> list[str]:
        where = "All processes of a contender on one core, load and agents on another."
        return [
            f"{self.rounds} rounds in turn; in each {self.seconds:g} s with {self.at_once} tasks at once, and "
            f"{self.latency_seconds:g} s at {RATE:g} tasks/s with agents that take {DELAY_MS} ms. Medians of the "
            f"rounds, in brackets the least and the most; times are quantiles over the tasks of all rounds.",
            where if self.pinned else "One core for everything: not pinned.",
            f"Python {platform.python_version()}, {self.cores} cores, {self.minutes:.0f} minutes in all.",
            f"The disk took {self.syncs:,.0f} times a second 4 KB with fdatasync, one after the other: {COMMITS} "
            f"commits in a row, as a lone task of Muster's needs them, are {1000 * COMMITS / self.syncs:.0f} ms.",
            *self._describe_load(),
        ]

    def _describe_load(self) -> list[str]:
        if self.load_before < BUSY * self.cores:
            return []
        return [
            f"Other programs kept the machine busy (load average {self.load_before:.1f} before the start): tasks/s and "
            f"times are what they left. Processor time, and ratios within a round, say more."
        ]


def write(folder: Path, all_: Sequence[Measured], aims: Sequence[Figure], run: MeasuredRun) -> None:
    """Writes RESULTS.md and results.svg."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("RESULTS.md.j2").render(
        made=f"{datetime.now(UTC):%Y-%m-%d}",
        table=build_table(all_),
        aims=aims,
        faster=list_faster(all_),
        all=all_,
        run=run,
        slow=[each for each in all_ if each.at_once != run.at_once],
    )
    (folder / "RESULTS.md").write_text(page, encoding="utf-8")
    (folder / "results.svg").write_text(draw_chart(all_, run.at_once), encoding="utf-8")


def build_table(all_: Sequence[Measured]) -> str:
    """Builds a table with one row for each, the most tasks a second first."""
    base = next((each for each in all_ if each.name == "FastAPI + httpx"), all_[0])
    head = [
        "",
        "tasks/s",
        "CPU a task, ms",
        f"of {base.name}'s",
        "p50 / p99, ms",
        f"added at {RATE:g}/s, p50 / p99, ms",
        "at rest, % of a core",
    ]
    rows = [head, ["---", *["--:"] * (len(head) - 1)]]
    for each in sorted(all_, key=lambda each: -compute_spread(each.rates)[0]):
        name = f"**{each.name}**" if each.contender.kind == "muster" else each.name
        rows.append(
            [
                name + (f" (at {each.at_once} at once)" if each.at_once != base.at_once else ""),
                _format_spread(each.rates, "{:.0f}" if compute_spread(each.rates)[0] >= 10 else "{:.1f}"),
                _format_spread([us / 1000 for us in each.cpu_us], "{:.2f}"),
                _format_number(compute_ratio(each.cpu_us, base.cpu_us), "{:.2f}"),
                _format_quantiles(each, lambda of: of.durations),
                _format_quantiles(each, lambda of: of.added),
                _format_number(each.rest_percent, "{:.2f}"),
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def list_faster(all_: Sequence[Measured]) -> list[str]:
    """Returns a sentence for each peer that beats Muster at something, and by how much."""
    ours = next((each for each in all_ if each.name == "Muster"), None)
    if ours is None:
        return []
    found = []
    for each in all_:
        if each.contender.kind != "peer":
            continue
        better = []
        if (times := compute_ratio(each.rates, ours.rates)) > 1:
            better.append(f"{times:.2f} times our tasks/s")
        if (times := compute_ratio(each.cpu_us, ours.cpu_us)) < 1:
            better.append(f"{times:.2f} of our processor time a task")
        for share in (0.5, 0.99):
            theirs, own = (of.compute_quantile(lambda of: of.added, share) for of in (each, ours))
            if theirs < own:
                better.append(f"adds {theirs:.1f} ms at p{share * 100:.0f} where we add {own:.1f}")
        if better:
            found.append(
                f"{each.name} ({each.version or 'this version'}): {'; '.join(better)}. Keeps: {_describe_keeping(each)}"
            )
    return found


def _describe_keeping(each: Measured) -> str:
    return f"{each.contender.keeps}."


def draw_chart(all_: Sequence[Measured], at_once: int) -> str:
    """Draws tasks a second and processor time a task, both on logarithmic axes."""
    order = sorted(all_, key=lambda each: -compute_spread(each.rates)[0])
    names = [(each.name, KINDS[each.contender.kind]) for each in order]
    panels = [
        DotPanel(f"tasks a second, {at_once} at once", [compute_spread(each.rates) for each in order]),
        DotPanel("CPU a task, ms", [compute_spread([us / 1000 for us in each.cpu_us]) for each in order]),
    ]
    return draw("Muster beside others: more is better at the left, less at the right", names, panels)


def _format_spread(values: Sequence[float], form: str) -> str:
    middle, least, most = compute_spread(values)
    return (
        f"{_format_number(middle, form)} [{_format_number(least, form)}–{_format_number(most, form)}]"
        if values
        else "–"
    )


def _format_quantiles(each: Measured, of: Callable[[Measured], Sequence[float]]) -> str:
    return " / ".join(_format_number(each.compute_quantile(of, share), "{:.1f}") for share in (0.5, 0.99))


def _format_number(value: float, form: str) -> str:
    return form.format(value) if value == value else "–"
