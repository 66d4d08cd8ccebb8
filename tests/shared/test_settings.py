"""A setting that cannot be right ends the start with exit code 2 and a sentence that names it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from shared.server.run import parse_arguments
from shared.settings import (
    CoordinatorSettings,
    ModelSettings,
    SearchSettings,
    Settings,
    WorkerSettings,
    load_settings,
)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (CoordinatorSettings, "PUBLIC_URL", "muster.example"),
        (CoordinatorSettings, "REQUEST_TIMEOUT", "30s"),
        (WorkerSettings, "COORDINATOR_URL", "localhost:8000"),
        (WorkerSettings, "COORDINATOR_URL", "http://"),
        (WorkerSettings, "ADVERTISE_URL", "analyzer:8000"),
        (WorkerSettings, "ADVERTISE_URL", "http://analyzer:port"),
        (ModelSettings, "MODEL_API_URL", "ollama:11434"),
    ],
)
def test_a_wrong_value_is_named_with_its_setting(monkeypatch, capsys, kind, name, value):
    monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as ended:
        load_settings(kind)

    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{name}: ")
    assert said.endswith(f"(is {value!r})\n")


@pytest.mark.parametrize(
    ("kind", "name"),
    [(Settings, "API_KEY"), (ModelSettings, "MODEL_API_KEY"), (SearchSettings, "SEARCH_API_KEY")],
)
@pytest.mark.parametrize("value", ["schlüssel", "two\nlines"])
def test_invalid_key_is_named_and_hidden(monkeypatch, capsys, kind, name, value):
    """It would lock everybody out, and nobody would be told why."""
    monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as ended:
        load_settings(kind)

    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{name} must be one line of ASCII")
    assert value not in said


@pytest.mark.parametrize(("given", "key"), [({}, "from-a-file"), ({"API_KEY": "given"}, "given")])
def test_a_key_comes_from_the_file_that_dotenv_names(tmp_path, monkeypatch, given, key):
    """As `.env.example` says; it was ignored, and what was meant to be closed stood open."""
    (tmp_path / "key").write_text("from-a-file\n")
    (tmp_path / ".env").write_text(f"API_KEY_FILE={tmp_path}/key\n")
    monkeypatch.chdir(tmp_path)
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    found = Settings().api_key

    assert found is not None
    assert found.get_secret_value() == key


def test_a_folder_at_home_is_found(tmp_path, monkeypatch):
    """In `.env` no shell has put the home in the place of `~`."""
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("KNOWLEDGE_DIR=~/notes\nSTATE_DIR=~nobody-of-that-name/state\n")

    assert SearchSettings().knowledge_dir == Path("/home/someone/notes")
    assert WorkerSettings().state_dir == Path("~nobody-of-that-name/state")


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_a_port_that_is_none(monkeypatch, capsys, port):
    monkeypatch.setattr(sys, "argv", ["worker", f"--port={port}"])

    with pytest.raises(SystemExit) as ended:
        parse_arguments(prog="worker", description="", default_port=0)

    assert ended.value.code == 2
    assert "argument --port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("encoding", "named"), [("utf-16", "UTF-16"), ("utf-16-le", "UTF-16"), ("latin-1", "another encoding")]
)
def test_dotenv_in_another_encoding_is_named(tmp_path, monkeypatch, capsys, encoding, named):
    """What an editor saved as UTF-16 would else be an error without a file, or settings that nobody reads."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes("# é\nREQUEST_TIMEOUT=7\n".encode(encoding))

    with pytest.raises(SystemExit) as end:
        load_settings(CoordinatorSettings)

    assert end.value.code == 2
    assert capsys.readouterr().err == f"{tmp_path / '.env'} is text in {named}. Save it as UTF-8.\n"


def test_dotenv_may_begin_with_a_mark(tmp_path, monkeypatch):
    """The first setting counts, also where the editor wrote a byte order mark before it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("REQUEST_TIMEOUT=7\n", encoding="utf-8-sig")

    assert load_settings(CoordinatorSettings).request_timeout == 7
