"""The import rules, as a table and a loop: a file imports from its own row and the rows above, never from below."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("shared", "coordinator", "workers", "load")
FOREIGN = {
    "shared": {"coordinator", "workers"},
    "coordinator": {"workers"},
    "workers": {"coordinator"},
    "load": set(PACKAGES),
}

# pure, tools, outside world, behaviour, edge, start
ROWS = {
    "shared": (
        {
            "a2a_tables",
            "abilities",
            "actions",
            "addresses",
            "answering",
            "asked",
            "blocks",
            "breaker",
            "budget",
            "contracts",
            "db",
            "definition",
            "envelope",
            "errors",
            "frozen",
            "fence",
            "grants",
            "ledger",
            "lenient_json",
            "links",
            "markdown",
            "marks",
            "openai_answer",
            "openai_request",
            "pace",
            "pages",
            "passage",
            "plain",
            "prompt",
            "reading",
            "refusals",
            "report",
            "safe",
            "sampling",
            "shapes",
            "shown",
            "sources",
            "sse",
            "strict_json",
            "thoughts",
            "turns",
            "voice",
            "written_calls",
        },
        {
            "a2a_resuming",
            "auth",
            "background",
            "bounds",
            "choice",
            "connections",
            "failpoints",
            "heads",
            "logs",
            "memory_statements",
            "metrics",
            "places",
            "settings",
        },
        {
            "db_sqlite",
            "journal_file",
            "memory",
            "model",
            "peer_calls",
            "peers",
            "script",
            "caller",
            "server",
            "mcp_tools",
            "transport",
            "warming",
            "wire",
        },
        {
            "a2a_card",
            "a2a_executor",
            "a2a_handler",
            "a2a_http",
            "a2a_outbox",
            "a2a_question",
            "a2a_store",
            "bodies",
            "carrying_out",
            "face",
            "heartbeat",
            "kaos",
            "kaos_rpc",
            "loop",
            "mounting",
            "remembering",
            "service",
            "steps",
            "tool_mode",
        },
        {"a2a", "a2a_runtime", "checkup", "openai", "openai_stream", "worker"},
        {"serve"},
    ),
    "coordinator": (
        {
            "answer",
            "compose",
            "delegated",
            "delegated_before",
            "document",
            "documents",
            "facts",
            "fields",
            "followups",
            "folders",
            "hosts",
            "kaos",
            "model",
            "pages",
            "foreign",
            "foreign_a2a",
            "foreign_openai",
            "plan",
            "reachability",
            "splitting",
            "registry",
            "rows",
            "rules",
            "tasks",
            "view",
        },
        {"events", "grants", "schema", "statements"},
        {
            "address",
            "backup",
            "docker",
            "failures",
            "foreign_client",
            "foreign_sender",
            "http",
            "model_calls",
            "store",
            "worker_client",
        },
        {
            "admission",
            "agents",
            "conductor",
            "delegations",
            "dispatch",
            "live",
            "planner",
            "reaper",
            "registrations",
            "runner",
            "stats",
            "webhooks",
        },
        {
            "api",
            "api_agents",
            "api_reports",
            "ask",
            "convert",
            "delegate",
            "face",
            "gateway",
            "inspect",
            "mcp",
            "mcp_resources",
            "mcp_server",
            "mcp_tools",
            "parts",
            "places",
            "streams",
            "wanted",
        },
        {"console", "printed"},
        {"client"},
        {"outcome"},
        {"app", "commands", "local_suite"},
        {"__main__"},
    ),
}
NOT_PURE = {"fastapi", "starlette", "httpx", "aiohttp", "sqlite3", "asyncio", "uvicorn"}


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def module(name: str) -> str:
    """The file that a dotted name comes from, however deep its folder: "" where it is a folder itself."""
    parts = name.split(".")
    ends = [end for end in range(len(parts), 0, -1) if ROOT.joinpath(*parts[:end]).with_suffix(".py").is_file()]
    return parts[ends[0] - 1] if ends else ""


def files(package: str) -> list[Path]:
    return [p for p in sorted((ROOT / package).rglob("*.py")) if p.name != "__init__.py"]


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_meet_only_over_http(package):
    """workers → shared ← coordinator; load knows nobody."""
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(package)
        for name in imports(path)
        if name.partition(".")[0] in FOREIGN[package] - {package}
    }

    assert wrong == set()


@pytest.mark.parametrize("package", ROWS)
def test_every_file_has_its_row(package):
    """A new file is put into the table, so that somebody has thought about where it belongs."""
    listed = set().union(*ROWS[package])

    assert {p.stem for p in files(package)} - listed == set()


@pytest.mark.parametrize("package", ROWS)
def test_imports_point_upwards(package):
    row_of = {name: number for number, row in enumerate(ROWS[package]) for name in row}
    wrong = {
        f"{path.stem} imports {name}"
        for path in files(package)
        for name in imports(path)
        if name.partition(".")[0] == package and row_of.get(module(name), -1) > row_of[path.stem]
    }

    assert wrong == set()


@pytest.mark.parametrize("package", ROWS)
def test_pure_files_do_no_io(package):
    wrong = {
        f"{path.stem} imports {name}"
        for path in files(package)
        if path.stem in ROWS[package][0]
        for name in imports(path)
        if name.partition(".")[0] in NOT_PURE
    }

    assert wrong == set()


def test_every_file_says_what_it_is():
    """A file opens with one sentence."""
    silent = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in files(package)
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]

    assert silent == []
