"""Kills of coordinators under load, at every named point: nothing is lost, doubled or late."""

from __future__ import annotations

import pytest

from tests.fleet.kills import POINTS, Run, Wish, make_fleet
from tests.fleet.verdict import find_wrong, sum_up, tell
from tests.support.postgres import Server


@pytest.mark.timeout(600)
async def test_kills_at_every_point_lose_nothing(tmp_path, postgres: Server):
    """Before a write is sent, once it is durable, and between them; while leaving; callers come back with their keys.

    The invariants of the simulation hold for what is left.
    """
    wish = Wish(tasks=200, kills=len(POINTS), seconds=2.5 * len(POINTS), at_once=16, share=1.0, patience=30.0)
    run = Run(make_fleet(tmp_path, postgres.make_database(), 2), wish)
    await run.run()
    await run.judge()
    wrong = find_wrong(run)
    print(*sum_up(run), *tell(run, wrong), sep="\n")

    assert wrong == []
