"""The import rules: packages from bottom to top, no circle between modules, and every file says what it is."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOPS = ("shared", "coordinator", "workers", "load")
MOST_FILES = 15  # in one folder, `__init__.py` aside
MOST_LINES = 330  # of one file

# A package imports from the rows above its own, never from its own row or below. A file at the top of a folder that
# is in no row by itself belongs to the folder's row.
LAYERS = """
shared.null shared.urls shared.version shared.logs.output shared.client.here shared.recording.tape  | URLs, the tape
shared.calls.call                                               | a call of a model or tool
shared.documents.types shared.documents.place                    | which files are documents, where a folder is
shared.contracts shared.settings shared.client shared.copying shared.failpoints shared.strict_json  | the wire, HTTP out
shared.errors shared.logs shared.report shared.documents        | what can fail, what is told, what workers hand on
shared.telemetry shared.background                              | spans and figures for others, loops
shared.db shared.http_failures shared.limits shared.recording shared.rendering shared.server  | tools
shared.conversation shared.calls.noting                         | what every protocol is translated to and from
shared.agent shared.memory shared.models.servers                | an author's Agent, memory, a model's server
shared.definition shared.models shared.protocols shared.agent_loop.calls  | a language model, calls in its replies
shared.agent_loop shared.protocols.openai shared.protocols.a2a  | tool calls and delegation; the façades
shared.protocols.kaos                                           | KAOS's, on top of A2A's
shared.worker                                                   | from an Agent to a web service
shared.serve                                                    | the old name of shared.worker's command

coordinator.questions coordinator.cli.manifests coordinator.cli.address  | values of the command line, questions
coordinator.tasks coordinator.access                            | tasks, steps and plans as values; who may do what
coordinator.journal coordinator.reports coordinator.agents coordinator.uploads  | what is kept, shown and alive
coordinator.agent_calls coordinator.observers                   | one attempt at one agent; statistics and webhooks
coordinator.recording                                           | what a task exchanges, written down
coordinator.explaining                                          | why a task was slow or failed, out of its events
coordinator.admission coordinator.agent_pool                    | who may start, and when; agents at work
coordinator.execution                                           | tasks carried through their steps
coordinator.fleet                                               | several coordinators over one database
coordinator.api coordinator.cli.doctor                          | the routes; what is wrong with a suite
coordinator.console                                             | the pages for people
coordinator.protocols                                           | the coordinator as a chat
coordinator.protocols.mcp                                       | as an MCP server
coordinator.app coordinator.replay.virtual_time                 | the composition root; time that jumps
coordinator.replay                                              | recorded tasks, run again
coordinator.cli                                                 | the command line
coordinator                                                     | the command

workers.language workers.generic                                | words; the generic agent's settings
workers.reading.documents                                       | what every reader makes
workers.reading.hypertext workers.reading.plain                 | parts of readers
workers.reading.printed workers.answering                       | pages; units, runs and answers
workers.reading.formats                                         | one reader a format
workers.reading.office                                          | formats that come packed
workers.reading                                                 | files into documents
workers.reading.apart                                           | in a process of its own
workers.index                                                   | the search
workers.providers                                               | where a researcher searches
workers.thinking workers.semantic                               | the optional models
workers                                                         | the four agents

load.processes load.bare load.drawing                           | processes and ports, plain HTTP, charts
load.figures                                                    | what is measured, against its target
load.driving                                                    | tasks sent
load.agents                                                     | agents that do nothing, or are slow
load.findings                                                   | what the calls of a run tell
load.display                                                    | a run on a terminal, as a page
load.scenarios                                                  | the runs of load.run
load.peers load.growth                                          | others beside Muster; what a task costs as it grows
load.history load.recording                                      | what a long history costs, and recording
load.scale                                                       | several coordinators over one PostgreSQL
load                                                            | the other commands
"""
FOREIGN = {
    "shared": {"coordinator", "workers", "load"},
    "coordinator": {"workers", "load"},
    "workers": {"coordinator", "load"},
    "load": {"shared", "coordinator", "workers"},
}
LENT = {("load", "shared.client.here")}  # where the suite of a folder listens is found in one way
NOT_PURE = {"fastapi", "starlette", "httpx", "aiohttp", "sqlite3", "asyncio", "uvicorn"}


def modules(root: Path) -> dict[str, Path]:
    """Every file of the four source folders by its dotted name; a package that holds no code is none."""
    found = {}
    for path in (path for top in TOPS for path in sorted((root / top).rglob("*.py"))):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        if path.name != "__init__.py" or ast.parse(path.read_text()).body:
            found[name] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """Dotted names of everything that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows(known: Mapping[str, Path]) -> dict[str, set[str]]:
    """For each module, the modules that it imports."""

    def module(name: str) -> str:
        while name and name not in known:
            name = name.rpartition(".")[0]
        return name

    return {name: {module(other) for other in imported(path)} - {"", name} for name, path in known.items()}


def layers() -> dict[str, int]:
    rows = [line.partition("|")[0].split() for line in LAYERS.strip().splitlines()]
    return {package: number for number, row in enumerate(rows) for package in row}


def package(name: str, known: Iterable[str]) -> str:
    """The row's package that a module belongs to: "" where it is in none."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def uphill(known: Mapping[str, Path]) -> set[str]:
    """Imports that the table does not allow."""
    level = layers()
    wrong = set()
    for name, others in arrows(known).items():
        for other in others:
            here, there = package(name, level), package(other, level)
            top, other_top = name.partition(".")[0], other.partition(".")[0]
            if (other_top in FOREIGN[top] and (top, other) not in LENT) or (
                top == other_top and here != there and level.get(there, 0) >= level.get(here, 0)
            ):
                wrong.add(f"{name} imports {other}")
    return wrong


def circles(graph: Mapping[str, set[str]]) -> list[str]:
    """One line for each module that can be reached from itself."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        todo = list(graph[start])
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += graph.get(name, ())
        return seen

    return sorted(name for name in graph if name in reached(name))


def crowded(root: Path) -> dict[str, int]:
    """Folders of the four, the tops themselves included, that hold too many source files."""
    counts = Counter(path.parent for top in TOPS for path in (root / top).rglob("*.py") if path.name != "__init__.py")
    return {str(folder.relative_to(root)): count for folder, count in counts.items() if count > MOST_FILES}


KNOWN = modules(ROOT)


def test_imports_point_down_the_table():
    assert uphill(KNOWN) == set()


def test_no_import_circles():
    """Between modules; the table leaves none between packages."""
    assert circles(arrows(KNOWN)) == []


def test_every_module_has_a_row():
    """A new package is put into the table, so that somebody has thought about where it belongs."""
    level = layers()

    assert [name for name in KNOWN if not package(name, level)] == []


def test_every_row_has_a_module():
    assert [p for p in layers() if not any(package(name, layers()) == p for name in KNOWN)] == []


def _planted(tmp_path: Path, files: Mapping[str, str]) -> dict[str, Path]:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return modules(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "from coordinator.api import tasks\n",
        "import coordinator.api.tasks\n",
        "def late():\n    from coordinator.api.tasks import x\n",
        "from workers import analyzer\n",
        "from load import tasks\n",
    ],
)
def test_a_planted_import_is_found(tmp_path, text):
    planted = {"coordinator/journal/store.py": text, "coordinator/api/tasks.py": "x = 1\n"}
    planted |= {"workers/analyzer.py": "x = 1\n", "load/tasks.py": "x = 1\n"}

    assert len(uphill(_planted(tmp_path, planted))) == 1


def test_a_planted_circle_is_found(tmp_path):
    planted = {
        "coordinator/journal/rows.py": "from coordinator.journal import store\n",
        "coordinator/journal/store.py": "def late():\n    from coordinator.journal.rows import x\n",
    }

    assert circles(arrows(_planted(tmp_path, planted))) == ["coordinator.journal.rows", "coordinator.journal.store"]


def test_pure_files_do_no_io():
    """A file whose docstring begins with PURE imports nothing that reaches out."""
    wrong = {
        f"{name} imports {other}"
        for name, path in KNOWN.items()
        if (ast.get_docstring(ast.parse(path.read_text())) or "").startswith("PURE")
        for other in imported(path)
        if other.partition(".")[0] in NOT_PURE
    }

    assert wrong == set()


def test_folders_are_small():
    assert crowded(ROOT) == {}


def test_a_crowded_folder_is_found(tmp_path):
    names = [f"file_{n}" for n in range(MOST_FILES)]
    planted = {f"{top}/{name}.py": "" for top in ("shared", "load/parts") for name in ("__init__", *names)}
    _planted(tmp_path, planted | {"load/parts/__main__.py": "", "shared/one_more.py": ""})

    assert crowded(tmp_path) == {"shared": MOST_FILES + 1, "load/parts": MOST_FILES + 1}


def test_files_are_small():
    lines = {name: len(path.read_text().splitlines()) for name, path in KNOWN.items()}

    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_every_file_says_what_it_is():
    """A file opens with one sentence."""
    assert [name for name, path in KNOWN.items() if not ast.get_docstring(ast.parse(path.read_text()))] == []
