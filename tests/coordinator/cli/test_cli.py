"""The command line as somebody uses it who has just set a key, or has something else on the port."""

from __future__ import annotations

import io
import re
import socket

import pytest
from rich.console import Console
from typer.testing import CliRunner

from coordinator.cli.ask import _Display
from coordinator.cli.commands import cli
from coordinator.cli.console import table
from coordinator.cli.local_suite import Suite, SuiteFailed
from load.processes.ports import free_port
from tests.support.processes import Coordinator


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where somebody works: with a key in `.env`, as the containers read it too."""
    (tmp_path / ".env").write_text("API_KEY=s3cret\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_key_in_dotenv_opens_what_it_closed(folder, monkeypatch):
    """Commands that ask a coordinator send the key that a coordinator started here would ask for."""
    with Coordinator(folder / "c", api_key="s3cret") as coordinator:
        url = coordinator.start().ready().url
        asked = [CliRunner().invoke(cli, [command, "--url", url]) for command in ("tasks", "agents")]
        unwritten = CliRunner().invoke(cli, ["ask", "--url", url, "--html", "no/report.html", "What is a tide?"])
        refused = CliRunner().invoke(cli, ["tasks", "--url", url, "--key", "another"])
        monkeypatch.setenv("PATH", str(folder))  # no docker
        looked = CliRunner().invoke(cli, ["doctor", "--json", "--url", url])

    assert [done.exit_code for done in asked] == [0, 0], asked[0].output
    assert unwritten.exit_code == 1
    assert "no/report.html cannot be written: No such file or directory." in unwritten.output
    assert refused.exit_code == 1
    assert "HTTP 401" in refused.output
    assert "asks for a key" not in looked.output


@pytest.mark.parametrize(
    ("url", "said", "code"),
    [
        ("localhost:8000", "localhost:8000 is not an http(s) URL.", 2),
        ("http://[", "http://[ is not a valid URL: ", 2),
        ("http://127.0.0.1:9", "'docker compose up -d --wait' or 'make run' starts one; --url names another.", 4),
    ],
)
@pytest.mark.parametrize("command", [["tasks"], ["ask", "What is a tide?"]])
def test_where_nobody_answers_is_a_sentence(command, url, said, code):
    done = CliRunner().invoke(cli, [*command, "--url", url])

    assert done.exit_code == code
    assert said in done.output
    assert ".." not in done.output
    assert "Errno" not in done.output


def test_task_and_agent_texts_are_safe_on_terminals():
    """Neither markup, which ended the command in a traceback, nor anything that a terminal obeys."""
    said = io.StringIO()
    terminal = Console(file=said, width=120, force_terminal=True, color_system=None)
    evil = "[/] [red]tides[/red] \x1b[2J\x9b31m\u202e"

    terminal.print(table([{"asked": evil, "seconds": 0.059542}], {"asked": "asked", "seconds": "s"}))
    with _Display(terminal) as display:
        display.show("task.planned", {"steps": [{"id": "one"}]})
        display.show("step.progress", {"step_id": "one", "message": evil})

    assert "0.06" in said.getvalue()
    assert said.getvalue().count("[/] [red]tides[/red]") >= 2
    assert re.findall("\x1b\\[2J|[\x9b\u202e]", said.getvalue()) == []


def test_a_wrong_setting_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("REQUEST_TIMEOUT", "30s")

    done = CliRunner().invoke(cli, ["backup", str(tmp_path / "backup")])

    assert done.exit_code == 2
    assert "REQUEST_TIMEOUT: " in done.output


def test_taken_port_is_named_before_anything_starts():
    """Else the workers of this suite registered at the coordinator of the one that has the port."""
    ports, lines = [free_port() for _ in range(4)], []
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports[2]))
        other.listen()

        with (
            pytest.raises(SuiteFailed, match=f"Port {ports[2]} on 127.0.0.1 is in use"),
            Suite(ports=ports, show=lambda name, line: lines.append(line)),
        ):
            pass

    assert lines == []
