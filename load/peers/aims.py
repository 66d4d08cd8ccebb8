"""What Muster is held against: ratios to others of the same run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from load.figures.figure import Figure
from load.peers.measurements import Measured, compute_ratio

CPU_OF_PLAIN, RATE_OF_PLAIN, RATE_OF_MEMORY = 0.30, 3.2, 0.85
MUSTER, MEMORY, PLAIN, DBOS, LANGGRAPH = "Muster", "Muster, journal off", "FastAPI + httpx", "DBOS", "LangGraph"


def list_figures(all_: Sequence[Measured]) -> list[Figure]:
    """A figure for each aim whose contenders took part."""
    by_name = {each.name: each for each in all_}
    ours = by_name.get(MUSTER)
    found = [Figure("tasks that failed", float(sum(each.failed for each in all_)), "", target=0.0)]
    if ours is None:
        return found

    def compare(name: str, what: str, of: Callable[[Measured, Measured], float], target: float, least: bool) -> None:
        if theirs := by_name.get(name):
            value = of(ours, theirs)
            if value == value:  # there were rounds
                found.append(Figure(f"{what}, against {name}", value, "x", target=target, at_least=least))

    compare(PLAIN, "CPU a task", lambda a, b: compute_ratio(a.cpu_us, b.cpu_us), CPU_OF_PLAIN, False)
    compare(PLAIN, "tasks a second", lambda a, b: compute_ratio(a.rates, b.rates), RATE_OF_PLAIN, True)
    compare(DBOS, "tasks a second", lambda a, b: compute_ratio(a.rates, b.rates), 10.0, True)
    compare(LANGGRAPH, "tasks a second", lambda a, b: compute_ratio(a.rates, b.rates), 4.0, True)
    compare(MEMORY, "tasks a second", lambda a, b: compute_ratio(a.rates, b.rates), RATE_OF_MEMORY, True)
    for share, target in ((0.5, 1.4), (0.99, 1.2)):
        compare(PLAIN, f"added time, p{share * 100:.0f}", _get_added(share), target, False)
    return found


def _get_added(share: float) -> Callable[[Measured, Measured], float]:
    return lambda a, b: a.compute_quantile(lambda of: of.added, share) / b.compute_quantile(lambda of: of.added, share)
