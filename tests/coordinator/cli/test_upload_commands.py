"""The commands for documents, as a script uses them: what they send, what they print, and how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from coordinator.cli.commands import cli
from tests.support.fakes import ROOT
from tests.support.processes import Coordinator


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with Coordinator(tmp_path, uploads_dir=tmp_path / "uploads") as coordinator:
        yield coordinator.start().ready().url


def muster(url: str, *arguments: str, **more: Any) -> Any:
    return CliRunner().invoke(cli, [*arguments, "--url", url], **more)


def test_documents_are_sent_listed_and_removed(url: str, tmp_path: Path) -> None:
    """One that is refused does not stop the others, and says why; a name with blanks is one name."""
    for name, text in (("my notes.md", "# Notes"), ("photo.png", "P"), ("b.txt", "B")):
        (tmp_path / name).write_text(text)

    sent = muster(url, "upload", *(str(tmp_path / name) for name in ("my notes.md", "photo.png", "none.md", "b.txt")))
    listed = json.loads(muster(url, "documents", "--json").stdout)
    shown = muster(url, "documents")
    removed = muster(url, "documents", "remove", "my notes.md")

    assert (sent.exit_code, "my notes.md: stored, 7 bytes." in sent.stdout) == (1, True)
    assert "photo.png" in sent.stderr
    assert "is of a type" in sent.stderr
    assert "none.md cannot be read: No such file" in sent.stderr
    assert [one["name"] for one in listed["documents"]] == ["b.txt", "my notes.md"]
    assert "No healthy researcher" in shown.output
    assert (removed.exit_code, removed.stdout) == (0, "my notes.md is removed.\n")
    assert muster(url, "documents", "remove", "my notes.md").exit_code == 1


def test_standard_input_is_sent_under_a_name(url: str, tmp_path: Path) -> None:
    """As from outside of the container; what is there is replaced on request only."""
    command = [sys.executable, "-m", "coordinator.cli", "upload", "-", "--name", "a.md", "--url", url]
    sent = subprocess.run(command, input=b"A", cwd=ROOT, check=False)
    other = muster(url, "upload", "-", "--name", "a.md", input="B")
    replaced = muster(url, "upload", "-", "--name", "a.md", "--replace", "--json", input="B")

    assert (sent.returncode, other.exit_code, replaced.exit_code) == (0, 1, 0)
    assert json.loads(replaced.stdout)[0]["status"] == "replaced"
    assert (tmp_path / "uploads" / "a.md").read_text() == "B"
    assert muster(url, "upload", "-").exit_code == 2
