"""The score card: each fault's figures beside what is demanded, and where the other faults are tried."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from load.chaos.elsewhere import ELSEWHERE
from load.figures.figure import Figure
from load.figures.table import show

FAULTS = 50


@dataclass
class Card:
    """What a run has found so far."""

    subject: str
    figures: list[tuple[int, str, Figure]] = field(default_factory=list)
    played: dict[int, float] = field(default_factory=dict)  # seconds
    notes: list[str] = field(default_factory=list)
    load: float = field(default_factory=lambda: os.getloadavg()[1])
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def add(self, number: int, name: str, figures: Sequence[Figure], seconds: float) -> None:
        if figures:
            self.played[number] = seconds
            self.figures += [(number, name, figure) for figure in figures]

    def cannot_play(self, number: int, name: str, why: str) -> None:
        self.notes.append(f"{number} {name}: cannot be played here: {why}")

    def show(self, *, as_json: bool, as_markdown: bool) -> int:
        """Prints the card; returns 1 if a demand was not met, else 0."""
        notes = [*self.notes, *(f"{number} {other}" for number, other in ELSEWHERE.items())]
        title = f"{self.subject}: {len(self.played)} of {FAULTS} faults played in {sum(self.played.values()):.0f} s"
        named = [replace(figure, name=f"{number:>2} {name}: {figure.name}") for number, name, figure in self.figures]
        if as_markdown:
            print("\n".join(self._write_markdown(title, notes)))
            return 1 if any(figure.ok is False for figure in named) else 0
        return show(title, named, notes, as_json=as_json)

    def _write_markdown(self, title: str, notes: Sequence[str]) -> list[str]:
        load = f"load average {self.load:.1f} before, {os.getloadavg()[1]:.1f} after"
        machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, {load}"
        lines = [f"## {title}", "", f"On {self.began:%Y-%m-%d %H:%M} UTC; {machine}.", ""]
        lines += ["| | fault | figure | measured | demanded | |", "| --: | --- | --- | --: | --: | --- |"]
        before = 0
        for number, name, figure in self.figures:
            sign = "≥" if figure.at_least else "≤"
            asked = "" if figure.target is None else f"{sign} {figure.target:g} {figure.unit}".strip()
            mark = {True: "met", False: "**missed**", None: ""}[figure.ok]
            head = (str(number), name) if number != before else ("", "")
            measured = f"{figure.value:,.4g} {figure.unit}".strip()
            lines.append(f"| {head[0]} | {head[1]} | {figure.name} | {measured} | {asked} | {mark} |")
            before = number
        return [*lines, "", *(f"- {note}" for note in notes), ""]
