"""The commands of `python -m coordinator.cli` for documents: send them, list them, remove them."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from coordinator.cli.options import Json, KeyOption, Url

if TYPE_CHECKING:
    import httpx

PORTION = 65_536  # bytes of standard input that are sent at once
uploads = typer.Typer()
documents = typer.Typer(help="List the uploaded documents; 'remove' takes one away.")


@uploads.command("upload")
def upload(
    files: Annotated[list[Path], typer.Argument(help="Documents to send; '-' is standard input, with --name.")],
    name: Annotated[str | None, typer.Option(help="Under which name, for one document.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace documents of the same name.")] = False,
    url: Url = None,
    key: KeyOption = None,
    json: Json = False,
) -> None:
    """Send documents that researchers search.

    One that is refused does not stop the others; then it ends with 1.
    """
    from coordinator.cli.client import client_of, explain
    from coordinator.cli.console import REFUSED, WRONG, err, fail, out, show_json
    from shared.report.safe import clean

    if (name is not None and len(files) > 1) or (name is None and Path("-") in files):
        fail("--name is for one document, and '-' needs it.", code=WRONG)
    stored: list[dict[str, Any]] = []
    with client_of(url, key) as client:
        for file in files:
            answer = _send(client, file, name or file.name, replace=replace)
            if isinstance(answer, str) or not answer.is_success:
                said = answer if isinstance(answer, str) else f"{file}: {explain(client, answer)}"
                err.print(clean(said), style="red", highlight=False, markup=False)
                continue
            stored += answer.json()["documents"]
            if not json:
                one = stored[-1]
                out.print(
                    f"{clean(one['name'])}: {one['status']}, {one['bytes']:,} bytes.", highlight=False, markup=False
                )
    if json:
        show_json(stored)
    if len(stored) < len(files):
        raise typer.Exit(REFUSED)


def _send(client: httpx.Client, file: Path, name: str, *, replace: bool) -> httpx.Response | str:
    """The answer, or why the file cannot be read; ends the command where nobody answers."""
    import httpx

    from coordinator.cli.client import unreachable
    from coordinator.cli.console import AWAY, fail

    try:
        stream = sys.stdin.buffer if file == Path("-") else file.open("rb")
    except OSError as exc:
        return f"{file} cannot be read: {exc.strerror}."
    with stream:
        # the size of a pipe is 0 to httpx, which would send it as the length
        content = iter(partial(stream.read, PORTION), b"") if file == Path("-") else stream
        try:
            return client.put(f"/documents/{quote(name, safe='')}", params={"replace": replace}, content=content)
        except OSError as exc:
            return f"{file} cannot be read: {exc.strerror}."
        except httpx.HTTPError as exc:
            fail(unreachable(client, exc), code=AWAY)


@documents.callback(invoke_without_command=True)
def list_documents(context: typer.Context, url: Url = None, key: KeyOption = None, json: Json = False) -> None:
    """List the uploaded documents."""
    if context.invoked_subcommand is not None:
        return
    from coordinator.cli.client import get_json
    from coordinator.cli.console import err, show_json, show_table

    found = get_json(url, key, "/documents", {})
    if json:
        show_json(found)
        return
    rows = [one | {"bytes": f"{one['bytes']:,}", "sent_by": one["sent_by"] or ""} for one in found["documents"]]
    show_table(rows, {"name": "document", "bytes": "bytes", "sent_at": "sent", "sent_by": "by"})
    if found["trouble"]:
        err.print(found["trouble"], style="red", highlight=False, markup=False)
    elif not found["searched_by"]:
        err.print("No healthy researcher searches these documents. Give it the same UPLOADS_DIR.", style="yellow")


@documents.command("remove")
def remove_document(
    name: Annotated[str, typer.Argument(help="The name, as 'documents' shows it.")],
    url: Url = None,
    key: KeyOption = None,
) -> None:
    """Remove a document; reports that cite it keep the passage."""
    from coordinator.cli.client import client_of, request_json
    from coordinator.cli.console import out

    with client_of(url, key) as client:
        request_json(client, "DELETE", f"/documents/{quote(name, safe='')}")
    out.print(f"{name} is removed.", highlight=False, markup=False)
