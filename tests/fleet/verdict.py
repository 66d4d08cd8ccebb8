"""What is told of a run of kills, and what in it must not be."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from shared.db.postgres.database import POSITION_BITS
from tests.fleet.kills import HAND_OVER_SECONDS, Kill, Run
from tests.support.history import History


def sum_up(run: Run) -> list[str]:
    """What is told of a run, in lines."""
    counted = [kill for kill in run.kills if kill.in_flight]
    flights = sorted(kill.in_flight for kill in counted)
    alone = [kill for kill in counted if not _has_another(run, kill)]
    moves = sorted(move for kill in counted for move in kill.moves if kill not in alone)
    at_points = sum(bool(kill.point) for kill in counted)
    return [
        f"{len(run.end.tasks):,} tasks, {len(run.end.steps):,} steps in {run.seconds / 60:.1f} minutes",
        count(run.end),
        f"{len(counted)} kills of a coordinator with tasks in flight, {at_points} of them at a named point; "
        f"{len(run.kills) - len(counted)} more with none",
        f"in flight at each kill: {' '.join(str(kill.in_flight) for kill in counted)}",
        f"in flight: least {flights[0]}, median {flights[len(flights) // 2]}, most {flights[-1]}" if flights else "",
        f"lost {len(run.lost)}, doubled {len(run.doubled)}, finished steps run again {len(run.again)}, "
        f"broken invariants {len(run.problems)}",
        f"hand-over of {len(moves)} tasks: median {moves[len(moves) // 2]:.1f} s, "
        f"p99 {moves[int(len(moves) * 0.99)]:.1f} s, max {moves[-1]:.1f} s (at most {HAND_OVER_SECONDS:g} s)"
        if moves
        else "no task was handed over",
        f"{len(alone)} kills are not counted there: no other coordinator was ready all that while",
    ]


def _has_another(run: Run, kill: Kill) -> bool:
    """Whether another coordinator lived on, from the kill on until all was to be handed over."""
    over = kill.at + HAND_OVER_SECONDS
    down = {k.port for k in run.kills if k.port != kill.port and k.at < over and (k.back or over) > kill.at}
    return len(down) + 1 < run.coordinators


def count(end: History) -> str:
    """How many tasks of each end."""
    found = Counter(task["status"] for task in end.tasks.values())
    return ", ".join(f"{number:,} {status}" for status, number in found.most_common())


def find_wrong(run: Run) -> list[str]:
    """All that must not be, in words."""
    lost = [f"{id} is lost" for id in run.lost]
    return [*lost, *(f"{who} is doubled" for who in run.doubled), *run.again, *run.problems]


def find_slow(run: Run) -> list[str]:
    """Tasks that were handed over late, in words."""
    return [
        f"A task was handed over after {move:.1f} s (kill at {kill.point or 'chance'})."
        for kill in run.kills
        for move in kill.moves
        if move > HAND_OVER_SECONDS and _has_another(run, kill)
    ]


def tell(run: Run, wrong: Sequence[str]) -> list[str]:
    """What happened to the tasks that are named in what is wrong, in lines."""
    named = [id for id in run.end.tasks if any(id in text for text in wrong)]
    lines = []
    for id in named[:5]:
        began = run.end.events_of[id][0].at
        lines.append(f"task {id}, from {began:.2f} on:")
        for event in run.end.events_of[id]:
            by = event.id >> POSITION_BITS
            lines.append(f"  {event.at - began:7.2f} {event.type} {json.dumps(event.data)[:150]} {by}")
        lines += [f"  {kill.at - began:7.2f} kill" for kill in run.kills if 0 < kill.at - began < 60]
    return lines
