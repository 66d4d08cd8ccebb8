"""What a replay says, and what it can be asked for: divergence, another answer, a test, a file, bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from coordinator.cli.commands import cli
from coordinator.recording import recorder
from coordinator.replay.replay import check_version, replay
from coordinator.replay.writing import write_file, write_test
from shared.agent import Context, Reply
from shared.contracts import StepRequest
from shared.errors import BadInput, Conflict
from shared.recording import recorder as step_recorder
from tests.coordinator.replay import kinds
from tests.coordinator.replay.world import GIVEN, WORKER, RecordedSuite, record, work
from tests.support.fakes import ROOT


@pytest.fixture(scope="module")
def default() -> dict[str, Any]:
    """A recorded task of the built-in agents."""
    return record(kinds.default, 7)[0]


@pytest.fixture(scope="module")
def planned() -> dict[str, Any]:
    """A recorded task of a plan: some steps side by side, and a last one."""
    return record(kinds.plans, 7)[0]


def test_a_changed_line_of_a_worker_is_told(default: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first difference names the step whose code answers otherwise, and shows the lines."""
    monkeypatch.setattr("workers.analyzer.READING_SHARE", 0.5)
    assert replay(default).differences == []
    monkeypatch.setattr("workers.reporter.title", lambda question: "Another title")
    monkeypatch.setattr("workers.answering.composing.title", lambda question: "Another title")

    first, *_ = replay(default).differences

    assert first.where == "step report, attempt 1, agent reporter"
    assert "Another title" in first.write()


def test_changed_code_of_an_own_agent_is_told(planned: dict[str, Any]) -> None:
    async def changed(step: StepRequest, ctx: Context) -> Reply:
        reply = await work(step, ctx)
        return replace(reply, output={"changed": step.step_id}) if step.step_id == "last" else reply

    first, *_ = replay(planned, agents={"worker": replace(WORKER, run=changed)}).differences

    assert (first.where, first.what) == ("step last, attempt 1, agent worker", "it answers otherwise")


def test_a_worker_that_asks_otherwise_is_told(default: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The question to the provider is compared; the recorded answer is used all the same."""
    parse = __import__("workers.researcher", fromlist=["parse_input"]).parse_input

    def parsed(step: StepRequest, *, default_limit: int) -> Any:
        ask, notes = parse(step, default_limit=default_limit)
        return replace(ask, question="Who pulls the sea?"), notes

    monkeypatch.setattr("workers.researcher.parse_input", parsed)

    replayed = replay(default)

    assert next(d.what for d in replayed.differences) == "another search call than was recorded"
    assert replayed.task.status == "completed"


def test_an_agent_without_code_answers_from_the_record(planned: dict[str, Any]) -> None:
    assert replay(planned).differences == []


def test_another_answer_changes_what_follows(default: dict[str, Any]) -> None:
    """The steps that need it run on with it, from the code that is here."""
    analysis = next(s["output"] for s in default["task"]["steps"] if s["id"] == "analyze")
    other = json.loads(json.dumps(analysis).replace("the moon", "a giant"))

    replayed = replay(default, from_step="analyze", answer=other)

    assert replayed.differences == []
    assert "a giant pulls the sea" in replayed.write_report()
    assert "a giant pulls the sea" in str(replayed.task.step("report").output)


def test_what_was_never_asked_is_named() -> None:
    """With another answer, a model is asked something that the record does not hold: its step fails and says so."""
    [asked, _] = record(_asks_a_poet_about_it, 1)

    replayed = replay(asked, agents=GIVEN, from_step="a", answer="Something else.")

    assert replayed.task.status == "partial"
    [missing] = [one for one in replayed.list_missing() if one.startswith("b")]
    assert "not in the record" in missing


async def _asks_a_poet_about_it(suite: RecordedSuite) -> list[str]:
    await suite.add(kinds.make_thinker("poet", "The sea is wide.")(suite.network))
    plan = [kinds.step("a"), {"id": "b", "agent": "poet", "needs": ["a"]}]
    return [(await suite.execute(text, plan=plan)).task_id for text in ("Sing.", "Sing again.")]


def test_a_recording_becomes_a_test_that_passes(default: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "test_tides.py"
    beside = write_test(path, default)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(path)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip

    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert json.loads(beside.read_text())["task"]["id"] == default["task"]["id"]


def test_the_command_replays_a_file(default: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "task.json"
    write_file(path, default)

    done = CliRunner().invoke(cli, ["replay", str(path), "--as-test", str(tmp_path / "test_it.py")])

    assert (done.exit_code, "replayed as recorded" in done.output) == (0, True), done.output
    assert (tmp_path / "test_it.json").is_file()


def test_the_command_ends_with_one_for_a_difference(default: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "task.json"
    write_file(path, json.loads(json.dumps(default).replace("the moon pulls", "the sun pulls")))
    path.write_text(path.read_text().replace("the sun pulls", "the moon pulls", 1))

    done = CliRunner().invoke(cli, ["replay", str(path)])

    assert done.exit_code == 1, done.output
    assert "recorded" in done.output


def test_a_recording_of_another_version_says_so(default: dict[str, Any]) -> None:
    """And is replayed all the same."""
    older = default | {"version": "0.1.9"}

    assert check_version(default) is None
    assert "0.1.9" in (check_version(older) or "")
    assert replay(older).differences == []


@pytest.mark.parametrize("found", [{}, {"format": 99}, {"format": 1}, {"format": 1, "task": 7, "events": []}])
def test_what_is_no_recording_is_refused(found: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        replay(found)


def test_an_unknown_step_is_refused(default: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="research"):
        replay(default, from_step="nothing", answer=1)


def test_an_open_task_is_refused(default: dict[str, Any]) -> None:
    with pytest.raises(Conflict):
        replay(default | {"task": default["task"] | {"status": "running"}})


def test_nothing_is_loaded_while_nothing_is_recorded() -> None:
    code = """
import sys
from coordinator.app import create_app
from shared.settings import CoordinatorSettings
from shared.worker import create_worker_app
from workers import reporter
from pathlib import Path
create_app(CoordinatorSettings(_env_file=None, database_url="memory:"))
create_worker_app(reporter.agent(Path()))
loaded = [m for m in sys.modules if m.startswith(("coordinator.replay", "shared.recording", "coordinator.recording"))]
print(sorted(loaded))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert eval(done.stdout) == [
        "coordinator.recording", "coordinator.recording.flight", "shared.recording", "shared.recording.tape"
    ]  # fmt: skip


def test_too_much_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that is too large keeps its first parts, and counts the rest; the task goes on."""
    monkeypatch.setattr(recorder, "MOST_TASK", 500)
    monkeypatch.setattr(step_recorder, "MOST_EXCHANGE", 50)

    recording = record(kinds.default, 3)[0]

    assert recording["task"]["status"] == "completed"
    assert [e["kind"] for e in recording["entries"]].count("full") >= 1
    assert len(json.dumps(recording["entries"])) < 2_000
