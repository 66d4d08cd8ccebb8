"""The commands of `python -m coordinator.cli` for the journal: copy, put back, check, shrink, take back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli.options import Json

journal = typer.Typer()

Journal = Annotated[str | None, typer.Option(envvar="DATABASE_URL", help="The journal's URL; unset: as in .env.")]


@journal.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="Folder for the copies; an existing backup is replaced.")],
    database_url: Journal = None,
    json: Json = False,
) -> None:
    """Copy all that the coordinator keeps, while it runs.

    That is the journal, A2A's tasks and the conversations.
    """
    from rich.progress import Progress

    from coordinator.cli.console import err, fail, show_json
    from coordinator.journal.upkeep.backup import backup as copied
    from shared.errors import MusterError
    from shared.settings import CoordinatorSettings, load_settings

    with Progress(console=err, transient=True) as progress:
        bar = progress.add_task("copying", total=1.0)
        try:
            size = copied(
                database_url or load_settings(CoordinatorSettings).database_url,
                folder,
                tell=lambda share: progress.update(bar, completed=share),
            )
        except MusterError as exc:
            fail(exc.detail)
    if json:
        show_json({"folder": str(folder), "bytes": size})
        return
    told = f"{folder}: {size / 1e6:.1f} MB, with every task up to now, conversations and the coordinator's secret."
    err.print(told, highlight=False, markup=False)


@journal.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="Folder of a backup, or of timed backups: then the newest.")],
    database_url: Journal = None,
    json: Json = False,
) -> None:
    """Put a backup in the journal's place.

    The coordinator must be stopped. The backup is checked first. What was there is kept in a folder beside the journal.
    """
    from coordinator.access.restored import leave_note
    from coordinator.cli.console import err, fail, show_json
    from coordinator.journal.location import journal_path
    from coordinator.journal.upkeep.restore import restore as restored
    from shared.errors import MusterError
    from shared.settings import CoordinatorSettings, load_settings

    try:
        url = database_url or load_settings(CoordinatorSettings).database_url
        done = restored(url, folder)
        if (path := journal_path(url)) is not None:
            leave_note(path, backup=done.backup, kept=done.kept)
    except MusterError as exc:
        fail(exc.detail)
    if json:
        show_json({"backup": str(done.backup), "kept": str(done.kept)})
        return
    err.print(f"{done.backup} is restored. What was there is in {done.kept}.", highlight=False, markup=False)


@journal.command()
def vacuum(
    database_url: Journal = None,
    json: Json = False,
) -> None:
    """Give the journal's free space back to the disk.

    The coordinator must be stopped. A journal of an older Muster needs this once; a new one gives space back by itself.
    """
    from coordinator.cli.console import err, fail, show_json
    from coordinator.journal.upkeep.vacuum import vacuum as vacuumed
    from shared.errors import MusterError
    from shared.settings import CoordinatorSettings, load_settings

    try:
        before, after = vacuumed(database_url or load_settings(CoordinatorSettings).database_url)
    except MusterError as exc:
        fail(exc.detail)
    if json:
        show_json({"bytes": after, "bytes_before": before})
        return
    err.print(f"The journal has {after / 1e6:.1f} MB; it had {before / 1e6:.1f} MB.", highlight=False, markup=False)


@journal.command()
def downgrade(
    database_url: Journal = None,
    json: Json = False,
) -> None:
    """Make the journal readable for the version before.

    The coordinator must be stopped. docs/rollback.md says what comes next.
    """
    from coordinator.cli.console import err, fail, show_json
    from coordinator.journal.upkeep.way_back import downgrade as downgraded
    from shared.errors import MusterError
    from shared.settings import CoordinatorSettings, load_settings

    try:
        before, after = downgraded(database_url or load_settings(CoordinatorSettings).database_url)
    except MusterError as exc:
        fail(exc.detail)
    if json:
        show_json({"format": after, "format_before": before})
        return
    err.print(f"The journal has format {after} now; it had {before}. Start the version before.", highlight=False)


@journal.command()
def check(
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Delete what is damaged, and go on with what is left.")
    ] = False,
    database_url: Journal = None,
    json: Json = False,
) -> None:
    """Compare all that the journal has with what was written.

    The coordinator must be stopped. Ends with 0 when all is well or the loss is accepted, with 1 when not.
    """
    from coordinator.cli.console import err, fail, show_json
    from coordinator.journal.upkeep.inspection import inspect
    from shared.errors import MusterError
    from shared.settings import CoordinatorSettings, load_settings

    try:
        found = inspect(database_url or load_settings(CoordinatorSettings).database_url, accept_loss=accept_loss)
    except MusterError as exc:
        fail(exc.detail)
    if json:
        show_json({"sound": found.sound, "missing_events": found.missing_events, "damaged": list(found.damaged)})
        raise typer.Exit(0 if found.sound or accept_loss else 1)
    said = ["The journal is sound."] if found.sound else []
    said += [f"Its last {found.missing_events:,} events are missing."] if found.missing_events else []
    said += [f"Damaged: {name}" for name in found.damaged]
    if not found.sound:
        said.append("A start goes on with what is left." if accept_loss else "A start is refused.")
    err.print("\n".join(said), highlight=False, markup=False)
    raise typer.Exit(0 if found.sound or accept_loss else 1)
