"""The commands for the journal's file say what to use instead where it is in PostgreSQL."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from coordinator.cli.commands import cli


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        (["backup", "folder"], "pg_dump"),
        (["restore", "folder"], "pg_restore"),
        (["check"], "pg_amcheck"),
        (["vacuum"], "autovacuum"),
        (["downgrade"], "works with the tables as they are"),
    ],
)
def test_commands_for_a_file_name_another(command: list[str], instead: str):
    done = CliRunner().invoke(cli, [*command, "--database-url", "postgresql://muster:hush@server/muster"])

    assert done.exit_code == 1
    assert instead in done.output
    assert "docs/backup.md" in done.output
    assert "hush" not in done.output
