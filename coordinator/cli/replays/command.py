"""The command `replay` of `python -m coordinator.cli`: runs a recorded task again, and writes it as a test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from coordinator.cli.options import Json, KeyOption, Url

replays = typer.Typer()


@replays.command()
def replay(
    task: Annotated[str, typer.Argument(help="The task's id, or a file that --save has written.")],
    from_step: Annotated[
        str | None, typer.Option("--from", help="Give this step the --answer, and run on from there.")
    ] = None,
    answer: Annotated[
        str | None, typer.Option(help="With --from: the step's output as JSON, or @FILE; unset: as it was.")
    ] = None,
    as_test: Annotated[
        Path | None, typer.Option("--as-test", help="Write a pytest file, with the recording beside it.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write the recording to this file.")] = None,
    journal: Annotated[
        Path | None, typer.Option(help="Read the recording from this journal, and ask no coordinator.")
    ] = None,
    url: Url = None,
    key: KeyOption = None,
    json: Json = False,
) -> None:
    """Run a recorded task again, offline.

    The code is the same, and every answer from outside comes as it was recorded.

    The coordinator must have run with RECORD=on. Ends with 0 when the replay went as recorded, with 1 when it did not.
    """
    from coordinator.cli.console import err, fail, out, show_json
    from coordinator.replay.replay import check_version, choose_answer, replay
    from coordinator.replay.writing import write_file, write_test
    from shared.errors import MusterError

    if answer is not None and from_step is None:
        raise typer.BadParameter("--answer goes with --from.")
    recording = _find(task, journal, url, key)
    if (why := check_version(recording)) is not None:
        err.print(why, highlight=False, markup=False)
    if save is not None:
        write_file(save, recording)
        err.print(f"The recording is in {save}.", highlight=False, markup=False)
    try:
        given = choose_answer(recording, from_step, None if answer is None else _parse(answer))
        replayed = replay(recording, from_step=from_step, answer=given)
    except MusterError as exc:
        fail(exc.detail)
    if as_test is not None:
        beside = write_test(as_test, recording)
        err.print(f"The test is in {as_test}, its recording in {beside}.", highlight=False, markup=False)
    if json:
        show_json(replayed.describe())
    else:
        for difference in replayed.differences:
            out.print(difference.write(), highlight=False, markup=False)
        said = "as recorded" if not replayed.differences else f"{len(replayed.differences)} differences"
        said = f"from step {from_step}, with another answer" if from_step is not None else said
        err.print(f"Task {replayed.task.id}: {replayed.task.status}; replayed {said}.", highlight=False, markup=False)
        for missing in replayed.list_missing():
            err.print(f"Missing: {missing}", highlight=False, markup=False)
        if from_step is not None:
            out.print(replayed.write_report(), highlight=False, markup=False)
    raise typer.Exit(1 if replayed.differences else 0)


def _find(task: str, journal: Path | None, url: str | None, key: str | None) -> dict[str, Any]:
    """The recording: of a file, of a journal, or of the coordinator."""
    from json import loads

    from coordinator.cli.client import get_json
    from coordinator.cli.console import fail
    from shared.errors import MusterError

    if journal is not None:
        from coordinator.replay.offline import read_journal

        try:
            return read_journal(journal, task)
        except MusterError as exc:
            fail(exc.detail)
    if not Path(task).is_file():
        return get_json(url, key, f"/tasks/{task}/recording", {})
    try:
        found = loads(Path(task).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        fail(f"{task} holds no recording: {exc}.")
    if not isinstance(found, dict):
        fail(f"{task} holds no recording: it is not a JSON object.")
    return found


def _parse(answer: str) -> Any:
    from json import loads

    from coordinator.cli.console import fail

    try:
        return loads(Path(answer[1:]).read_text(encoding="utf-8") if answer.startswith("@") else answer)
    except (OSError, ValueError) as exc:
        fail(f"--answer is no JSON: {exc}.")
