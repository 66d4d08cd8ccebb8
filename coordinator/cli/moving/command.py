"""The command that moves the journal between a file and PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from coordinator.cli.options import Json

moves = typer.Typer()
TOLD_SECONDS = 5.0  # between two lines where no terminal shows a bar


@moves.command()
def migrate(
    source: Annotated[str, typer.Option("--from", help="The journal that moves: sqlite:///… or postgresql://…")],
    target: Annotated[str | None, typer.Option("--to", help="Where it goes; unset: DATABASE_URL.")] = None,
    json: Json = False,
) -> None:
    """Move the journal between a file and PostgreSQL.

    With all that it has. Coordinators must be stopped. A move that was cut off begins anew; one that was finished is
    compared again.
    """
    import asyncio

    from coordinator.cli.console import err, fail, show_json, show_table
    from coordinator.journal.location import shown
    from coordinator.journal.moving.move import move
    from shared.errors import MusterError
    from shared.settings import CoordinatorSettings, load_settings

    settings = load_settings(CoordinatorSettings)
    to, password = target or settings.database_url, settings.database_password
    try:
        with _show_progress() as tell:
            secret = password.get_secret_value() if password is not None else None
            done = asyncio.run(move(source, to, password=secret, tell=tell))
    except MusterError as exc:
        fail(exc.detail)
    tables = [{"table": name, "rows": sum.rows, "checksum": sum.digest} for name, sum in done.sums.items()]
    if json:
        show_json({"to": shown(to), "again": done.again, "used": done.used, "nuls": done.nuls, "tables": tables})
        return
    show_table(tables, {"table": "TABLE", "rows": "ROWS", "checksum": "CHECKSUM"})
    said = ["Both sides have the same rows."]
    if done.again:
        said = ["The move was finished before. Both sides were compared again, and have the same rows."]
    if done.used:
        said = ["The move was finished before. The source is as it was moved; the target has gone on since."]
    if done.nuls:
        said.append(f"{done.nuls:,} texts had a NUL, which PostgreSQL does not keep: it is U+FFFD now.")
    said.append(f"Set DATABASE_URL={shown(to)} and start.")
    err.print("\n".join(said), highlight=False, markup=False)


@contextmanager
def _show_progress() -> Iterator[Callable[[str, str, int, int], None]]:
    """A bar on a terminal, else a line now and then."""
    from rich.progress import MofNCompleteColumn, Progress

    from coordinator.cli.console import err

    if err.is_terminal:
        with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=err, transient=True) as progress:
            bar = progress.add_task("opening", total=None)
            yield lambda doing, table, done, total: progress.update(
                bar, description=f"{doing} {table}", completed=done, total=total
            )
        return
    told = time.monotonic()

    def tell(doing: str, table: str, done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= TOLD_SECONDS:
            told = time.monotonic()
            err.print(f"{doing} {table}: {done:,} of {total:,}", highlight=False)

    yield tell
