"""How long the researcher takes to index a folder of pages, to see a change in it, and to answer a question."""

from __future__ import annotations

import argparse
import ast
import html
import json
import shutil
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from load.figures.figure import Figure
from load.figures.table import show
from load.processes.ports import free_port
from load.processes.stage import Stage
from load.processes.usage import read_pss_megabytes

PAGES = 500
INDEX_SECONDS = 30.0  # asked for: 500 pages in this time
QUESTION_MS = 50.0
STEP_SECONDS = 300.0  # a step without a coordinator may take this long
QUESTIONS = (
    "How do I read a CSV file?",
    "run several tasks at once and wait for all of them",
    "Which function copies a directory with everything in it?",
    "What happens to threads when the program ends?",
    "convert a string into a date",
    "parse the options of a command line",
    "Is there a way to compare two texts line by line?",
    "send mail through a server that wants a password",
)


def main() -> int:
    given = _parse_arguments()
    with Stage() as stage:
        folder = stage.folder / "pages"
        pages = _copy(given.folder, folder) if given.folder else _generate(folder, given.pages)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        env = {"KNOWLEDGE_DIR": str(folder), "STATE_DIR": str(stage.folder / "state")}
        process = stage.start("workers.researcher", "--port", str(port), env=env)
        began = time.monotonic()
        stage.wait(process, f"{url}/ready")
        first = _ask(url, QUESTIONS[0], 0)
        indexing = time.monotonic() - began
        times = [
            _time_question(url, QUESTIONS[number % len(QUESTIONS)], number) for number in range(1, given.questions + 1)
        ]
        newest = folder / "added.html"
        newest.write_text("<title>Quagga</title><h1>Quagga</h1><p>The quagga was a plains zebra of the Cape.</p>")
        change = _time_question(url, "quagga", given.questions + 1)
        memory = read_pss_megabytes(process.pid)
    figures = [
        Figure("first index, with the start", indexing, "s", target=INDEX_SECONDS * max(1.0, pages / PAGES)),
        Figure("question, median", median(times), "ms", target=QUESTION_MS),
        Figure("question, 95th percentile", quantiles(times, n=20)[-1], "ms"),
        Figure("question that finds a page added since", change, "ms"),
        Figure("memory after all that (PSS)", memory, "MB"),
    ]
    notes = [f"{pages} files; {first['searched']}.", f"{given.questions} questions, one after the other, over HTTP."]
    return show("Local search", figures, notes, as_json=given.json)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.index",
        description="""Starts a researcher with an empty index on a folder of documents, asks it questions over HTTP
        and prints medians. Ends what it started. Exit code 1: a target was missed.""",
    )
    parser.add_argument("--folder", type=Path, help="documents (default: pages made from Python's own docstrings)")
    parser.add_argument("--pages", type=int, default=PAGES, help="how many to make (default: %(default)s)")
    parser.add_argument("--questions", type=int, default=200, help="how many to ask (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args()


def _time_question(url: str, question: str, number: int) -> float:
    """Milliseconds until the answer."""
    began = time.perf_counter()
    _ask(url, question, number)
    return (time.perf_counter() - began) * 1000


def _ask(url: str, question: str, number: int) -> dict[str, Any]:
    body = {"task_id": f"load-{number}", "step_id": "research", "capability": "research", "input": question}
    request = urllib.request.Request(
        f"{url}/execute", json.dumps(body).encode(), {"Content-Type": "application/json", "Accept": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=STEP_SECONDS) as answer:
        said = answer.read().decode()
    lines = [line.removeprefix("data:").strip() for line in said.splitlines() if line.startswith("data:")]
    result = json.loads(lines[-1] if lines else said)
    if result.get("status") != "completed":
        sys.exit(f"The researcher answered: {result.get('error') or result}")
    output: dict[str, Any] = result["output"]
    return output


def _copy(source: Path, folder: Path) -> int:
    """A copy, so that a page can be added to it."""
    shutil.copytree(source, folder, ignore_dangling_symlinks=True)
    return sum(path.is_file() for path in folder.rglob("*"))


def _generate(folder: Path, pages: int) -> int:
    """Pages of real sentences: a heading and the docstring of each class and function of the standard library."""
    folder.mkdir()
    for name, page in islice(_list_library(), pages):
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return len(list(folder.iterdir()))


def _list_library() -> Iterator[tuple[str, str]]:
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        name = ".".join(path.relative_to(library).with_suffix("").parts)
        if name.startswith("site-packages") or path.stat().st_size < 4_000:
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):  # the library holds broken files on purpose, for its own tests
            continue
        said = "".join(
            _build_section(node) for node in ast.walk(tree) if isinstance(node, (ast.ClassDef, ast.FunctionDef))
        )
        about = html.escape(ast.get_docstring(tree) or name)
        yield name, f"<title>{name} - documentation</title><main><h1>{name}</h1><p>{about}</p>{said}</main>"


def _build_section(node: ast.ClassDef | ast.FunctionDef) -> str:
    said = html.escape(ast.get_docstring(node) or "").replace("\n\n", "</p><p>")
    code = html.escape(ast.unparse(node)[:600])
    return f"<section id='{node.name}'><h2>{node.name}</h2><p>{said}</p><pre>{code}</pre></section>"


if __name__ == "__main__":
    sys.exit(main())
