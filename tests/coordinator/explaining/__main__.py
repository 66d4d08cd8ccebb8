"""`python -m tests.coordinator.explaining --first 0 --seeds 5`: how often a planted cause is found, by its kind."""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter

import structlog

from coordinator.explaining.writing import write_lines
from tests.coordinator.explaining.planted import PLANTED, play


def main() -> None:
    """Prints a line for each task that was explained otherwise, and the score; ends with 1 below 95 %."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="The first seed.")
    parser.add_argument("--seeds", type=int, default=5, help="How many for each kind.")
    parser.add_argument("--only", default="", help="Only this kind.")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    score: Counter[str] = Counter()
    for plant, kind in PLANTED.items():
        if asked.only not in ("", plant.__name__):
            continue
        for seed in range(asked.first, asked.first + asked.seeds):
            explained = play(plant, seed)
            found = explained.causes[0].kind if explained.causes else None
            verdict = "right" if found == kind else "none" if found is None else "wrong"
            score[verdict] += 1
            if verdict != "right" or asked.only:
                told = "\n    ".join(write_lines(explained))
                print(f"{verdict}: {plant.__name__} {seed}: {found} instead of {kind}\n    {told}")
    whole = score.total()
    points = (score["right"] - score["wrong"]) / whole
    print(f"right {score['right']} of {whole}, no cause {score['none']}, wrong {score['wrong']}; {points:.1%}")
    sys.exit(points < 0.95)


if __name__ == "__main__":
    main()
