"""`python -m tests.quality`: asks every question of the sets and prints how many answers are right."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from tests.quality import asking, fetch, scoring, sets, tables
from tests.quality.sets import DocumentSet
from tests.quality.tables import Result, Run

ROOT = Path(__file__).parent.parent.parent
WITHOUT_MODEL = {"MODEL_API_URL": "", "MODEL_NAME": ""}
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def main() -> None:
    """Asks the Muster here, or of a commit, and before it another one where one is named to compare with."""
    options = _options()
    wanted = [one for one in sets.every() if not options.set or one.name in options.set]
    checkout = _checked_out(options.commit) if options.commit else ROOT
    more = {"SEMANTIC": "true"} if options.semantic else {}
    if options.model:
        before: Run | None = _run(checkout, wanted, options, more | WITHOUT_MODEL)
    else:
        before = _run(_checked_out(options.against), wanted, options) if options.against else None
    run = _run(checkout, wanted, options, more)
    figures = tables.figures(run, before)
    print(figures)
    if options.misses:
        print(tables.misses(run), sep="\n")
    if options.json:
        options.json.write_text(json.dumps(tables.as_data(run), ensure_ascii=False, indent=1), encoding="utf-8")
    if options.document:
        _write(options.document, figures)


def _run(
    checkout: Path, wanted: list[DocumentSet], options: argparse.Namespace, settings: dict[str, str] | None = None
) -> Run:
    results: list[Result] = []
    index_seconds: dict[str, float] = {}
    for one in wanted:
        print(f"{one.name}: {one.about}", file=sys.stderr)
        with asking.muster(checkout, fetch.documents(one), settings) as muster:
            index_seconds[one.name] = muster.index_seconds
            for question in sets.chosen(one.questions, options.questions)[: options.first]:
                answer = muster.ask(question.ask)
                results.append(Result(one.name, question, answer, scoring.marks(question, answer)))
    return Run(tuple(results), index_seconds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.quality", description=__doc__)
    names = [path.stem for path in sorted(sets.FOLDER.glob("*.toml"))]
    parser.add_argument("--set", action="append", choices=names, help="only this set; may be given again")
    parser.add_argument("--questions", choices=["dev", "held", "all"], default="all", help="only one half of each set")
    parser.add_argument("--commit", help="ask the Muster of this commit instead of the one here")
    parser.add_argument("--against", metavar="COMMIT", help="ask that commit's Muster too and show both figures")
    parser.add_argument("--semantic", action="store_true", help="with the setting SEMANTIC")
    parser.add_argument("--model", action="store_true", help="with the model of MODEL_API_URL, beside without one")
    parser.add_argument("--first", type=int, metavar="N", help="only the first N questions of each set")
    parser.add_argument("--misses", action="store_true", help="print what went wrong with development questions")
    parser.add_argument("--json", type=Path, help="write everything that came back to this file")
    parser.add_argument("--document", type=Path, help=f"put the figures into this file, after its line {BEGIN}")
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


def _write(path: Path, figures: str) -> None:
    """Replaces what stands between the two marks; the rest of the file is written by hand."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    path.write_text(f"{before}{BEGIN}\n\n{figures}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
