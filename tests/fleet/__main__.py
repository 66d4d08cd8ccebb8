"""`python -m tests.fleet`: kills coordinators under load, and looks what became of every task."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.fleet.kills import Run, Wish, make_fleet
from tests.fleet.verdict import find_slow, find_wrong, sum_up, tell
from tests.support.postgres import UNSAFE, serve


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fleet",
        description="""Starts a PostgreSQL, coordinators, agents and callers that come back with their keys, and kills
        the coordinators again and again. Ends what it started. Exit code 1: something was lost, doubled or late.""",
    )
    parser.add_argument("--tasks", type=int, default=10_000, help="at least (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=100, help="with tasks in flight, at least (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=660.0, help="in about how many (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=40, help="callers (default: %(default)s)")
    parser.add_argument("--coordinators", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of the kinds and moments (default: %(default)s)")
    given = parser.parse_args()
    wish = Wish(given.tasks, given.kills, given.seconds, at_once=given.at_once, seed=given.seed)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user
        with serve(Path(folder) / "postgres", *UNSAFE) as server:
            run = Run(make_fleet(Path(folder), server.make_database(), given.coordinators), wish)
            asyncio.run(run.run())
            asyncio.run(run.judge())
            wrong = [*find_wrong(run), *find_slow(run)]
    print(*sum_up(run), sep="\n")
    print(*wrong[:50], *tell(run, wrong[:50]), sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
