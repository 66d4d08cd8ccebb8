"""The researcher as a worker: what a step may ask, and what it gets back."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from shared.contracts import StepRequest
from shared.errors import WorkerFault
from shared.report.model import Research
from shared.settings import SearchSettings
from tests.workers.index.test_local import TIDES, Step
from workers import researcher
from workers.providers.provider import SearchRequest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def docs(tmp_path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "tides.md").write_text(TIDES, encoding="utf-8")
    return folder


def step(input=None, description="When does a spring tide come?") -> StepRequest:
    return StepRequest(task_id="t", step_id="s", task_description=description, input=input)


async def run(docs, tmp_path, request):
    worker = researcher.agent(tmp_path / "state", SearchSettings(_env_file=None, knowledge_dir=docs))
    async with worker.open() as state:
        return await worker.run(request, Step(state=state))


async def test_step_gets_evidence_with_sources(docs, tmp_path):
    reply = await run(docs, tmp_path, step())

    research = Research.model_validate(reply.output)
    assert research.question == "When does a spring tide come?"
    assert research.provider == "local"
    assert research.searched == f"2 passages in 1 document below {docs}"
    assert research.evidence[0].location == "tides.md#spring-tides"
    assert reply.missing == []


def test_agent_offers_research(tmp_path):
    worker = researcher.agent(tmp_path, SearchSettings(_env_file=None))

    assert (worker.name, worker.capabilities) == ("researcher", ("research",))


@pytest.mark.parametrize(
    ("input_", "expected"),
    [
        (None, SearchRequest("Described", 8)),
        ("Asked", SearchRequest("Asked", 8)),
        ({}, SearchRequest("Described", 8)),
        ({"question": "Asked", "limit": 3}, SearchRequest("Asked", 3)),
        ({"question": " Asked "}, SearchRequest("Asked", 8)),
        ({"question": "B", "siblings": ["A", "B"]}, SearchRequest("B", 8, ("A", "B"), 1)),
        ({"siblings": ["A", "B"], "index": 0}, SearchRequest("A", 8, ("A", "B"), 0)),
        ({"question": "B", "siblings": ["A", "B"], "index": 1}, SearchRequest("B", 8, ("A", "B"), 1)),
        ({"documents": ["a.md", "sub/*.txt"]}, SearchRequest("Described", 8, documents=("a.md", "sub/*.txt"))),
    ],
)
def test_what_a_step_may_ask(input_, expected):
    assert researcher.parse_input(step(input_, "Described"), default_limit=8) == (expected, [])


@pytest.mark.parametrize(
    ("input_", "field"),
    [
        (3, "input"),
        (["question"], "input"),
        ("  ", "input/question"),
        ({"question": 3}, "input/question"),
        ({"question": ""}, "input/question"),
        ({"question": "x", "siblings": "x"}, "input/siblings"),
        ({"question": "x", "siblings": ["x", 3]}, "input/siblings/1"),
        ({"question": "x", "siblings": ["a", "b"]}, "input/index"),
        ({"question": "x", "siblings": ["x"], "index": 1}, "input/index"),
        ({"question": "x", "index": -1}, "input/index"),
        ({"question": "x", "index": "0"}, "input/index"),
        ({"question": "x", "limit": 0}, "input/limit"),
        ({"question": "x", "limit": 51}, "input/limit"),
        ({"question": "x", "limit": True}, "input/limit"),
        ({"question": "x", "documents": [""]}, "input/documents/0"),
        ({"question": "x", "documents": ["/etc/passwd"]}, "input/documents/0"),
        ({"question": "x", "documents": ["a.md", "../b.md"]}, "input/documents/1"),
    ],
)
def test_wrong_input_names_the_field(input_, field):
    with pytest.raises(WorkerFault) as caught:
        researcher.parse_input(step(input_, ""), default_limit=8)

    assert caught.value.type == "bad_input"
    assert caught.value.detail.startswith(f"{field}: ")
    assert not caught.value.retryable


async def test_unknown_fields_are_told(docs, tmp_path):
    reply = await run(docs, tmp_path, step({"question": "spring tide", "documets": ["x"]}))

    assert Research.model_validate(reply.output).notes == ["The step's input has fields unknown to research: documets."]


async def test_missing_documents_are_told_beside_the_result(docs, tmp_path):
    reply = await run(docs, tmp_path, step({"question": "spring tide", "documents": ["nothing.md"]}))

    assert Research.model_validate(reply.output).evidence == []
    assert [each.what for each in reply.missing] == ["nothing.md"]


def test_readers_of_documents_are_imported_when_one_is_read():
    """An idle researcher stays small: none of these is there after the import."""
    program = (
        "import sys, workers.researcher; "
        "print([name for name in ('lxml', 'pypdfium2', 'markdown_it', 'docutils') if name in sys.modules])"
    )

    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)

    assert run.stdout.strip() == "[]"


def test_search_knows_nothing_of_the_coordinator():
    for path in (
        *(ROOT / "workers/providers").glob("*.py"),
        *(ROOT / "workers/index").glob("*.py"),
        ROOT / "workers/researcher.py",
    ):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        assert not [name for name in names if name.split(".")[0] == "coordinator"]
