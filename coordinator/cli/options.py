"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Url = Annotated[
    str | None, typer.Option(envvar="COORDINATOR_URL", help="The coordinator's URL; unset: here, at PUBLISH_PORT.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
KeyOption = Annotated[str | None, typer.Option(envvar="API_KEY", help="Bearer token, if required; unset: as in .env.")]
DatabaseUrl = Annotated[str | None, typer.Option(envvar="DATABASE_URL", help="The journal; unset: as in .env.")]
