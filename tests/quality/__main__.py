"""`python -m tests.quality`: asks every question of the sets and prints how many answers are right."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from tests.quality import asking, fetch, scoring, sets, tables
from tests.quality.tables import Result

ROOT = Path(__file__).parent.parent.parent


def main() -> None:
    """Runs the chosen sets, one after the other."""
    options = _options()
    checkout = _checked_out(options.commit) if options.commit else ROOT
    settings = {"SEMANTIC": "true"} if options.semantic else {}
    results: list[Result] = []
    index_seconds: dict[str, float] = {}
    for one in sets.every():
        if options.set and one.name not in options.set:
            continue
        with asking.muster(checkout, fetch.documents(one), settings) as muster:
            index_seconds[one.name] = muster.index_seconds
            for question in sets.chosen(one.questions, options.questions):
                answer = muster.ask(question.ask)
                results.append(Result(one.name, question, answer, scoring.marks(question, answer)))
        print(f"{one.name}: {one.about}", file=sys.stderr)
    print(tables.table(results), tables.times(results, index_seconds), sep="\n\n")
    if options.misses:
        print(tables.misses(results), sep="\n")
    if options.json:
        options.json.write_text(json.dumps(tables.as_data(results), ensure_ascii=False, indent=1), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.quality", description=__doc__)
    names = [path.stem for path in sorted(sets.FOLDER.glob("*.toml"))]
    parser.add_argument("--set", action="append", choices=names, help="only this set; may be given again")
    parser.add_argument("--questions", choices=["dev", "held", "all"], default="all", help="only one half of each set")
    parser.add_argument("--commit", help="ask the Muster of this commit instead of the one here")
    parser.add_argument("--semantic", action="store_true", help="with the setting SEMANTIC")
    parser.add_argument("--misses", action="store_true", help="print what went wrong with development questions")
    parser.add_argument("--json", type=Path, help="write everything that came back to this file")
    return parser.parse_args()


def _checked_out(commit: str) -> Path:
    """The commit's files in a folder of their own; run with this Python and its packages."""
    git = ["git", "-C", str(ROOT)]
    name = subprocess.run([*git, "rev-parse", commit], capture_output=True, text=True, check=True).stdout.strip()
    folder = fetch.CACHE / "checkouts" / name
    if not folder.exists():
        folder.mkdir(parents=True)
        archive = subprocess.run([*git, "archive", name], capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


if __name__ == "__main__":
    main()
