"""`python -m tests.simulation`: runs seeds, or replays one."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from tests.simulation.planted import BUGS
from tests.simulation.points import find_points
from tests.simulation.run import simulate

HASH_SEED = "0"  # the order of sets of strings is part of what a seed decides


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this seed")
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=count_cores(), help="processes (default: one a core, %(default)s)")
    parser.add_argument("--history", help="file for the history of --seed")
    parser.add_argument("--planted", nargs="?", const="all", choices=["all", *BUGS], help="find a planted bug, or all")
    arguments = parser.parse_args()
    if arguments.planted:
        return find_planted(
            [*BUGS] if arguments.planted == "all" else [arguments.planted], most=arguments.seeds, jobs=arguments.jobs
        )
    if arguments.seed is not None:
        return replay(arguments.seed, arguments.history)
    return run_seeds(range(arguments.first, arguments.first + arguments.seeds), jobs=arguments.jobs)


@dataclass(frozen=True)
class Result:
    """What is told of a seed, and the processor time that it took."""

    seed: int
    broken: list[str]
    points: Counter[str]
    seconds: float


def run_seeds(seeds: range, *, jobs: int) -> int:
    """Runs seeds in so many processes; 1 if one of them breaks an invariant."""
    failed, seconds, passed = 0, 0.0, Counter[str]()
    with _make_pool(min(jobs, len(seeds))) as processes:
        for result in processes.map(run_seed, seeds):
            passed += result.points
            seconds += result.seconds
            if result.broken:
                failed += 1
                print(f"seed {result.seed} broke:", *result.broken[:10], sep="\n  ")
                print(f"  replay: python -m tests.simulation --seed {result.seed}", flush=True)
    seconds += time.process_time()  # the start of this process, which the others are forks of
    each = f"{60 * len(seeds) / seconds:.0f} a minute on one core"
    print(f"{len(seeds)} seeds, {failed} failed, {seconds:.1f} s of processor time in {jobs} processes: {each}")
    never = [point for point in find_points() if point not in passed]
    print(f"{len(find_points()) - len(never)} of {len(find_points())} named writes and sends were passed;", end=" ")
    print(f"never: {', '.join(never) or 'none'}")
    return 1 if failed else 0


def run_seed(seed: int) -> Result:
    """One seed, in a process that has run others before."""
    began = time.process_time()
    outcome = simulate(seed)
    return Result(seed, outcome.broken, outcome.recording.points, time.process_time() - began)


def replay(seed: int, history: str | None) -> int:
    """Runs one seed, writes down what happened in it, and prints what broke."""
    outcome = simulate(seed)
    if history:
        with open(history, "w", encoding="utf-8") as file:
            file.write(outcome.recording.text)
    print(f"seed {seed}: {len(outcome.recording.lines)} lines, sha256 {outcome.recording.digest}")
    print(*(outcome.broken or ["No invariant broke."]), sep="\n")
    return 1 if outcome.broken else 0


def count_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def find_planted(bugs: list[str], *, most: int, jobs: int) -> int:
    """Runs seeds with each bug until one finds it; 1 if one is not found."""
    missed = 0
    with _make_pool(min(jobs, len(bugs))) as processes:
        for bug, (seed, why) in zip(bugs, processes.map(partial(find_bug, most=most), bugs), strict=True):
            missed += seed is None
            print(f"{bug}: seed {seed}: {why[:150]}" if seed is not None else f"{bug}: {why}", flush=True)
    return 1 if missed else 0


def find_bug(bug: str, *, most: int) -> tuple[int | None, str]:
    """The first seed that finds the bug, and what it says."""
    for seed in range(most):
        if broken := simulate(seed, bug=bug).broken:
            return seed, broken[0]
    return None, f"not found within {most} seeds"


def _make_pool(jobs: int) -> ProcessPoolExecutor:
    """Forks of this process, which end at once: CPython 3.11 crashes where it tears a simulation down."""
    return ProcessPoolExecutor(max(1, jobs), multiprocessing.get_context("fork"))


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
