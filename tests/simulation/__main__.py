"""`python -m tests.simulation`: runs seeds, or replays one."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter

from tests.simulation.planted import BUGS
from tests.simulation.points import find_points
from tests.simulation.run import simulate

HASH_SEED = "0"  # the order of sets of strings is part of what a seed decides


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this seed")
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: %(default)s)")
    parser.add_argument("--history", help="file for the history of --seed")
    parser.add_argument("--planted", nargs="?", const="all", choices=["all", *BUGS], help="find a planted bug, or all")
    arguments = parser.parse_args()
    if arguments.planted:
        return find_planted([*BUGS] if arguments.planted == "all" else [arguments.planted], most=arguments.seeds)
    seeds = (
        [arguments.seed] if arguments.seed is not None else range(arguments.first, arguments.first + arguments.seeds)
    )
    began, failed, passed = time.process_time(), 0, Counter[str]()
    for seed in seeds:
        outcome = simulate(seed)
        if arguments.history:
            with open(arguments.history, "w", encoding="utf-8") as file:
                file.write(outcome.recording.text)
        if arguments.seed is not None:
            print(f"seed {seed}: {len(outcome.recording.lines)} lines, sha256 {outcome.recording.digest}")
        passed += outcome.recording.points
        if outcome.broken:
            failed += 1
            print(f"seed {seed} broke:", *outcome.broken[:10], sep="\n  ")
            print(f"  replay: python -m tests.simulation --seed {seed}", flush=True)
    spent = time.process_time() - began
    print(
        f"{len(seeds)} seeds, {failed} failed, {spent:.1f} s of processor time: {60 * len(seeds) / spent:.0f} a minute"
    )
    never = [point for point in find_points() if point not in passed]
    print(f"{len(find_points()) - len(never)} of {len(find_points())} named writes and sends were passed;", end=" ")
    print(f"never: {', '.join(never) or 'none'}")
    return 1 if failed else 0


def find_planted(bugs: list[str], *, most: int) -> int:
    """Runs seeds with each bug until one finds it; 1 if one is not found."""
    missed = 0
    for bug in bugs:
        for seed in range(most):
            if broken := simulate(seed, bug=bug).broken:
                print(f"{bug}: seed {seed}: {broken[0][:150]}", flush=True)
                break
        else:
            missed += 1
            print(f"{bug}: not found within {most} seeds", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            os.environ | {"PYTHONHASHSEED": HASH_SEED},
        )
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # CPython 3.11 crashes where it tears down the coroutines that a simulated kill has left behind
