"""What is documented exists, and the rest is documented: settings, links, the architecture page."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import typer
from pydantic import SecretStr

from coordinator.cli.commands import cli
from coordinator.tasks.task import MOVES
from shared.contracts import AgentStatus, Status
from shared.documents.settings import UploadSettings
from shared.errors import MusterError, WorkerFault
from shared.settings import CoordinatorSettings, ModelSettings, SearchSettings, SemanticSettings, Settings, fields
from workers.generic.settings import GenericSettings

ROOT = Path(__file__).parent.parent
OPTIONAL = (SemanticSettings, ModelSettings)
FIELDS = {
    name.upper(): field
    for kind in (
        Settings,
        CoordinatorSettings,
        GenericSettings,
        SearchSettings,
        SemanticSettings,
        ModelSettings,
        UploadSettings,
    )
    for name, field in fields(kind).items()
}


EXAMPLE = (ROOT / ".env.example").read_text()
PAGE_OF_SETTINGS = (ROOT / "docs/settings.md").read_text()


def compose_only() -> dict[str, str]:
    """Name and default of every variable of the compose files that is no setting of a service."""
    text = "".join((ROOT / f).read_text() for f in ("docker-compose.yml", "docker-compose.prod.yml"))
    found = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text))
    return {name: value for name, value in found.items() if name not in FIELDS and not name.endswith("_FILE")}


def example() -> dict[str, str]:
    """Name and value of every setting in .env.example; a commented one has no default."""
    lines = re.findall(r"^#?([A-Z][A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE)
    return dict(lines)


def page() -> dict[str, str]:
    """Name and default of every row of the tables on the page about settings."""
    rows = re.findall(r"^\| `([A-Z][A-Z_]+)` \| (.+?) \|", PAGE_OF_SETTINGS, re.MULTILINE)
    return {name: default.strip("`") for name, default in rows}


def default(name: str) -> str:
    value = FIELDS[name].default
    return "" if value is None else str(value)


def test_example_lists_every_setting_with_its_default():
    assert example() == {name: default(name) for name in FIELDS} | compose_only()


def test_the_page_lists_every_setting_with_its_default():
    assert page() == {name: default(name) or "unset" for name in FIELDS} | {
        name: value or "unset" for name, value in compose_only().items()
    }


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_setting_says_everywhere_what_it_is_for(name):
    """In the same words in the code, on the page and in .env.example, where more may follow."""
    says = FIELDS[name].description

    assert re.search(rf"^\| `{name}` \| .+? \| {re.escape(says)} \|$", PAGE_OF_SETTINGS, re.MULTILINE)
    assert re.search(rf"^# {re.escape(says)}\n(#[^\n]+\n)*#?{name}=", EXAMPLE, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(n for n, f in FIELDS.items() if "SecretStr" in str(f.annotation)))
def test_secret_is_read_from_a_file(name, tmp_path, monkeypatch):
    """Every secret also comes from the file that NAME_FILE names."""
    path = tmp_path / "secret"
    path.write_text("s3cret\n")
    monkeypatch.setenv(f"{name}_FILE", str(path))
    kinds = (Settings, CoordinatorSettings, SearchSettings, ModelSettings)
    kind = next(k for k in kinds if name.lower() in k.model_fields)

    value = getattr(kind(_env_file=None), name.lower())

    assert isinstance(value, SecretStr)
    assert value.get_secret_value() == "s3cret"


def test_unreadable_secret_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("API_KEY_FILE", str(tmp_path / "nowhere"))

    with pytest.raises(ValueError, match=r"API_KEY_FILE=.*nowhere cannot be read: .*`make secrets` makes one"):
        Settings(_env_file=None)


def test_an_empty_secret_file_is_no_open_door(tmp_path, monkeypatch):
    """Who names a file wants a key; without one the coordinator would be open."""
    (tmp_path / "key").write_text("\n")
    monkeypatch.setenv("API_KEY_FILE", str(tmp_path / "key"))

    with pytest.raises(ValueError, match=r"API_KEY_FILE=.*key is empty"):
        Settings(_env_file=None)


def test_unknown_settings_are_ignored(tmp_path):
    """An old REDIS_URL in .env does no harm."""
    env = tmp_path / ".env"
    env.write_text("REDIS_URL=redis://old\nLOG_LEVEL=DEBUG\n")

    assert CoordinatorSettings(_env_file=env).log_level == "DEBUG"


def test_readme_shows_the_worker_that_a_test_runs():
    """What people copy is what is tested, letter by letter."""
    example = (ROOT / "tests" / "examples" / "fourth_worker.py").read_text().rstrip()

    assert f"```python\n{example}\n```" in (ROOT / "README.md").read_text()


def test_readme_is_short():
    """It is what a newcomer needs; the rest has a page of its own."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """Every relative link of a page leads to a file, and to a heading of it where it names one."""
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    wrong = []
    for link in (link for link in links if "://" not in link):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)

    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(page):
    """But for the worker that the README's reader is to write."""
    named = re.findall(r"(?<![\w/.-])(?:coordinator|shared|workers|tests|load)/[\w/-]+\.\w+", page.read_text())

    assert [name for name in named if name != "workers/counter.py" and not (ROOT / name).is_file()] == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def subclasses(kind: type) -> set[type]:
    return {kind}.union(*(subclasses(each) for each in kind.__subclasses__()))


def test_every_error_is_documented_with_its_status():
    """`WorkerFault` fails a step and is never the answer to a request."""
    page = (ROOT / "docs/deadlines-and-failures.md").read_text().split("## Problem types")[1]
    rows = re.findall(r"^\| (`[^|]+) \| (\d{3}) \|", page, re.MULTILINE)
    said = {(type, int(status)) for types, status in rows for type in re.findall(r"`(\w+)`", types)}
    kinds = [kind for kind in subclasses(MusterError) if kind.__module__ == "shared.errors" and kind is not WorkerFault]

    assert {(kind.type, kind.status) for kind in kinds} - {("agent_error", 500)} - said == set()


ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
PRODUCT = ("coordinator", "shared", "workers")


def test_paths_on_the_architecture_page_exist():
    """Also folders; a path in the tree stands below the folder of its block."""
    tree = ARCHITECTURE.split("```text\n")[1].split("```")[0]
    named = set(re.findall(r"(?:coordinator|shared|workers|tests|docs|load)/[\w./-]*", ARCHITECTURE.replace(tree, "")))
    below = ""
    for line in tree.splitlines():
        names = re.findall(r"[\w/]+(?:\.py|/)(?= |,|;|$)", line)
        below = names[0] if not line.startswith(" ") else below
        named |= {below, *(below + name for name in names)} if line.startswith(" ") else {below}

    assert len(named) > 100
    assert sorted(name for name in named if not (ROOT / name.rstrip(".")).exists()) == []


WHERE = re.findall(
    r"^\| ([^`|]+) \| (.*`.*) \|$", ARCHITECTURE.split("## Where does")[1].split("## Time")[0], re.MULTILINE
)


@pytest.mark.parametrize(("question", "answer"), WHERE, ids=[question for question, _ in WHERE])
def test_an_answer_names_what_is_in_its_files(question, answer):
    """A function, a class or a constant beside a path is found there."""
    texts = [
        path.read_text() for name in re.findall(r"`([\w./-]+/[\w./-]*)`", answer) if (path := ROOT / name).is_file()
    ]

    assert [name for name in re.findall(r"`([A-Za-z_]+)`", answer) if not any(name in text for text in texts)] == []


def constants() -> Iterator[tuple[str, str, str]]:
    """Name, value and file of every module's constants in seconds, as a row of the page says them."""
    for path in (path for top in PRODUCT for path in sorted((ROOT / top).rglob("*.py"))):
        file = str(path.relative_to(ROOT))
        for node in ast.parse(path.read_text()).body:
            for name in ast.walk(node) if isinstance(node, ast.Assign | ast.AnnAssign) else ():
                if (
                    isinstance(name, ast.Name)
                    and isinstance(name.ctx, ast.Store)
                    and re.fullmatch(r"(\w+_)?SECONDS", name.id)
                ):
                    value = getattr(import_module(file.removesuffix(".py").replace("/", ".")), name.id)
                    values = value if isinstance(value, tuple) else (value,)
                    yield name.id, ", ".join(f"{v:,.6f}".rstrip("0").rstrip(".") for v in values), file


def test_every_time_limit_is_on_the_architecture_page():
    """A new or changed constant needs a row in its table: name, value, file, and what it limits."""
    rows = re.findall(r"^\| `((?:\w+_)?SECONDS)` \| (.+?) \| `(.+?)` \| (?=.+ \|$)", ARCHITECTURE, re.MULTILINE)

    assert len(rows) == len(set(rows))
    assert {"missing": set(constants()) - set(rows), "wrong": set(rows) - set(constants())} == {
        "missing": set(),
        "wrong": set(),
    }


def test_diagrams_say_what_the_code_allows():
    task, step, agent = re.findall(r"```mermaid\n(.*?)```", ARCHITECTURE, re.DOTALL)
    for diagram in (task, step):
        moves = re.findall(r"^ *(\w+) --> (\w+)", diagram, re.MULTILINE)
        assert [(a, b) for a, b in moves if a != b and Status(b) not in MOVES[Status(a)]] == []
    assert {word for word in re.findall(r"\w+", task + step) if word in set(Status)} == set(Status)
    assert {word for word in re.findall(r"\w+", agent) if word in set(AgentStatus)} == set(AgentStatus)


def test_the_page_of_the_command_line_names_every_command():
    """And no other."""
    page = (ROOT / "docs/cli.md").read_text()
    rows = re.findall(r"^\| (`[^|]+) \|", page.split("## Where")[0], re.MULTILINE)

    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == set(typer.main.get_command(cli).commands)
    assert named >= set(re.findall(r"(?:muster|coordinator\.cli) ([a-z]+)", page))
