"""What growth is held against: linear or better everywhere, and some sizes against others."""

from __future__ import annotations

from collections.abc import Sequence

from load.figures.figure import Figure
from load.growth.line import LINEAR, Growth

ALIKE = 1.3  # times
MEGABYTE_MS = 15.0


def list_figures(found: Sequence[Growth]) -> list[Figure]:
    """The slope of each line at its largest sizes, and the comparisons whose sizes were measured."""
    costs = {(growth.key, line.name): dict(line.points) for growth in found for line in growth.lines}
    some = [
        Figure(f"growth, 1 is linear: {growth.title}, {line.name}", line.slope, "", target=LINEAR)
        for growth in found
        for line in growth.lines
        if line.slope is not None
    ]
    chain, agents = costs.get(("steps", "chain"), {}), costs.get(("agents", "a task"), {})
    if 10 in chain and 200 in chain:
        times = (chain[200] / 200) / (chain[10] / 10)
        some.append(Figure("a step in a chain of 200, against one in 10", times, "x", target=ALIKE))
    if len(agents) > 1:
        few, many = min(agents), max(agents)
        name = f"a task with {many:,.0f} agents, against {few:,.0f}"
        some.append(Figure(name, agents[many] / agents[few], "x", target=ALIKE))
    if megabyte := costs.get(("context", "one text"), {}).get(1_000):
        some.append(Figure("a task with 1 MB of context", megabyte, "ms", target=MEGABYTE_MS))
    return some
