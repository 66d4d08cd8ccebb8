"""The commands for tasks and agents, as a script uses them: what they print, and how they end."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from coordinator.cli.commands import cli
from coordinator.cli.reruns import parse_inputs, parse_since
from tests.support.fakes import eventually
from tests.support.processes import Coordinator

PLAN = [{"id": "find", "capability": "nobody-does", "on_failure": "continue"}]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Coordinator(tmp_path_factory.mktemp("coordinator")) as coordinator:
        yield coordinator.start().ready().url


@pytest.fixture
def failed(url: str) -> str:
    """A task that has failed, for no agent does its step."""
    answer = httpx.post(f"{url}/execute_task", json={"task_description": "Why?", "plan": PLAN}, timeout=30)
    return str(answer.json()["task"]["task_id"])


def muster(url: str, *arguments: str) -> Any:
    return CliRunner().invoke(cli, [*arguments, "--url", url])


def test_a_task_is_listed_shown_and_explained(url: str, failed: str) -> None:
    listed = muster(url, "tasks", "--status", "failed", "--since", "1h", "--json")
    shown, told = muster(url, "show", failed), muster(url, "why", failed)

    assert failed in [task["task_id"] for task in json.loads(listed.stdout)]
    assert json.loads(muster(url, "tasks", "--agent", "none", "--json").stdout) == []
    assert "No agent has ever registered" in shown.output
    assert "Why: Step 'find' found no agent" in told.stdout
    assert {done.exit_code for done in (listed, shown, told)} == {0}
    assert json.loads(muster(url, "why", failed, "--json").stdout)["causes"][0]["kind"] == "agent_unknown"
    assert json.loads(muster(url, "show", failed, "--json").stdout)["task_id"] == failed


def test_tail_ends_as_the_task_did(url: str, failed: str) -> None:
    done = muster(url, "tail", failed)

    assert done.exit_code == 1
    assert "task.finished" in done.output
    lines = [json.loads(line) for line in muster(url, "tail", failed, "--json").stdout.splitlines()]
    assert lines[-1]["status"] == "failed"


def test_one_task_runs_again(url: str, failed: str) -> None:
    done = muster(url, "rerun", failed, "--from", "find", "--input", 'find={"question": "Who?"}', "--json")

    [again] = json.loads(done.stdout)
    assert done.exit_code == 0
    task = httpx.get(f"{url}/tasks/{again['new_task_id']}").json()
    assert task["rerun"]["parent"] == failed
    refused = muster(url, "rerun", failed, "--from", "nowhere")
    assert refused.exit_code == 1
    assert "there is no step 'nowhere'" in refused.output


def test_rerun_prints_the_id_for_a_script(url: str, failed: str) -> None:
    """As `ask --async` does."""
    done = muster(url, "rerun", failed)

    assert done.exit_code == 0
    assert httpx.get(f"{url}/tasks/{done.stdout.strip()}").json()["rerun"]["parent"] == failed


def test_a_night_runs_again_once(url: str, failed: str) -> None:
    """The second call finds what the first has run, and only new failures besides."""
    first = muster(url, "rerun", "--status", "failed", "--since", "1h", "--rate", "50", "--json")
    second = muster(url, "rerun", "--status", "failed", "--since", "1h", "--rate", "50", "--json")

    runs = [{one["task_id"]: one["new_task_id"] for one in json.loads(done.stdout)} for done in (first, second)]
    assert failed in runs[0]
    assert runs[0].items() <= runs[1].items()
    assert (first.exit_code, second.exit_code) == (0, 0)


@pytest.mark.parametrize(
    "arguments",
    [["rerun"], ["rerun", "x", "--status", "failed"], ["rerun", "x", "--since", "1h"], ["tasks", "--since", "soon"],
     ["rerun", "x", "--input", "a=b"]],
)  # fmt: skip
def test_what_is_mistyped_ends_with_two(url: str, arguments: list[str]) -> None:
    assert muster(url, *arguments).exit_code == 2


@pytest.mark.parametrize("command", ["show", "why", "tail", "rerun", "cancel", "report"])
def test_an_unknown_task_ends_with_one(url: str, command: str) -> None:
    done = muster(url, command, "none")

    assert done.exit_code == 1
    assert "HTTP 404" in done.output


def test_ask_later_with_a_plan(url: str, tmp_path: Path) -> None:
    """`--async` prints the id, and nothing is waited for."""
    (tmp_path / "plan.json").write_text(json.dumps({"plan": PLAN}))

    done = muster(url, "ask", "Why?", "--async", "--plan", str(tmp_path / "plan.json"))

    task_id = done.stdout.strip()
    assert done.exit_code == 0
    eventually_ended = httpx.get(f"{url}/tasks/{task_id}/events", timeout=30).text
    assert "nobody-does" in eventually_ended
    assert muster(url, "ask", "Why?", "--plan", str(tmp_path / "none.json")).exit_code == 2
    told = muster(url, "ask", "Why?", "--json", "--plan", str(tmp_path / "plan.json"))
    assert (told.exit_code, json.loads(told.stdout)["status"]) == (1, "failed")


def test_an_agent_is_drained_and_gets_steps_again(url: str) -> None:
    """The coordinator's own address is one that is healthy."""
    body = {"name": "idle", "endpoint": url, "capabilities": ["idle"]}
    agent_id = httpx.post(f"{url}/register_agent", json=body).json()["agent_id"]
    asyncio.run(eventually(lambda: httpx.get(f"{url}/agents/idle").json()["instances"][0]["status"] == "healthy"))

    drained = muster(url, "agents", "drain", agent_id, "--json")

    assert json.loads(drained.stdout)["status"] == "draining"
    assert json.loads(muster(url, "agents", "drain", agent_id, "--resume", "--json").stdout)["status"] != "draining"
    assert agent_id in [agent["agent_id"] for agent in json.loads(muster(url, "agents", "list", "--json").stdout)]
    assert muster(url, "agents", "drain", "none").exit_code == 1


def test_the_port_and_the_key_file_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As compose has them: PUBLISH_PORT in `.env`, the key in secrets/api_key."""
    with Coordinator(tmp_path / "c", api_key="s3cret") as coordinator:
        port = coordinator.start().ready().url.rpartition(":")[2]
        (tmp_path / ".env").write_text(f"PUBLISH_PORT={port}\n")
        (tmp_path / "secrets").mkdir()
        (tmp_path / "secrets" / "api_key").write_text("s3cret\n")
        monkeypatch.chdir(tmp_path)
        done = CliRunner().invoke(cli, ["tasks", "--json"])

    assert (done.exit_code, done.stdout) == (0, "[]\n")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("re", {"replay", "rerun", "report", "restore", "render"}),
        ("agents dr", {"drain"}),
        ("rerun --st", {"--status"}),
        ("--url http://127.0.0.1:8000 agents remove --j", {"--json"}),
        ("ask agents --pl", {"--plan"}),
    ],
)
def test_a_shell_completes_the_commands(typed: str, offered: set[str]) -> None:
    """In a real bash, with the script that `completion` prints, whatever `muster` is there."""
    script = CliRunner().invoke(cli, ["completion", "bash"]).stdout
    words = f"COMP_WORDS=(muster {typed}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _muster"
    asked = f"{script}\n{words}; echo ${{COMPREPLY[@]}}"

    done = subprocess.run(["bash", "--norc", "-c", asked], capture_output=True, text=True, check=True)

    assert (offered, "") == (set(done.stdout.split()), done.stderr)


def test_every_shell_gets_a_script() -> None:
    """With every command; another shell is refused."""
    scripts = {shell: CliRunner().invoke(cli, ["completion", shell]).stdout for shell in ("bash", "zsh", "fish")}

    assert all(word in script for script in scripts.values() for word in ("rerun", "drain", "database-url"))
    assert "complete -c muster -f -n '__fish_seen_subcommand_from agents' -a drain" in scripts["fish"]
    assert "bashcompinit" in scripts["zsh"]
    assert CliRunner().invoke(cli, ["completion", "tcsh"]).exit_code == 2


def test_times_and_inputs_are_read() -> None:
    assert parse_inputs(["a=1", 'b={"c": "="}']) == {"a": 1, "b": {"c": "="}}
    assert re.match(r"\d{4}-\d\d-\d\dT", parse_since("2d") or "")
    assert parse_since("2026-11-27T10:00:00+00:00") == "2026-11-27T10:00:00+00:00"
