"""Runs one worker as a separate process."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from shared import logs
from shared.agent import Agent
from shared.client.here import find_key, find_url
from shared.errors import MusterError
from shared.server.run import bind, make_endpoint, parse_arguments, serve
from shared.settings import WorkerSettings, load_settings
from shared.telemetry.starting import start_telemetry
from shared.urls import base_url
from shared.worker.app import create_worker_app
from shared.worker.watchdog import end_process

LOOPBACK = "127.0.0.1"


def serve_worker(
    make_agent: Callable[[Path], Agent],
    *,
    default_port: int = 0,
    settings: WorkerSettings | None = None,
    name: str | None = None,
) -> None:
    """Runs one worker as a process.

    `make_agent` gets the folder for the worker's own files: STATE_DIR, else `data/<name>-<port>`. `settings` come from
    the environment unless they are given, and `name`, also that of the logs, is the module's. Exits with code 2, after
    one sentence on standard error, where `make_agent` raises a `MusterError`.
    """
    module = Path(sys.modules["__main__"].__file__ or "worker").stem
    args = parse_arguments(
        prog=f"python -m workers.{module}",
        description=f"Muster's {module}.",
        default_port=default_port,
        default_host=None,
        parents=[_make_advertising()],
    )
    asks = args.advertise == ""
    host = args.host or ("0.0.0.0" if asks else LOOPBACK)  # a container does not reach this machine's loopback
    settings = settings or load_settings(WorkerSettings)
    if asks and settings.coordinator_url is None:
        settings = _join_here(settings)
    name = name or module
    logs.configure(settings, service=name)
    sock = bind(host, args.port)
    port = sock.getsockname()[1]
    state_dir = settings.state_dir or Path("data") / f"{name}-{port}"
    try:
        agent = make_agent(state_dir)
    except MusterError as exc:
        print(exc.detail, file=sys.stderr)
        sys.exit(2)
    endpoint = args.advertise or settings.advertise_url or make_endpoint(args.host or LOOPBACK, port)
    app = create_worker_app(
        agent,
        settings=settings,
        endpoint=endpoint,
        asks=asks,
        state_dir=state_dir,
        standing=end_process,
        telemetry=start_telemetry(settings, service=agent.name),
    )
    serve(app, sock)


def _join_here(settings: WorkerSettings) -> WorkerSettings:
    """The settings with the coordinator of this folder, and its key."""
    try:
        key = settings.api_key or find_key()
        found = {"coordinator_url": find_url(), "api_key": SecretStr(key) if isinstance(key, str) else key}
    except ValueError as exc:
        print(exc, file=sys.stderr)
        sys.exit(2)
    return settings.model_copy(update=found)


def _make_advertising() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--advertise",
        nargs="?",
        const="",
        type=_parse_url,
        metavar="URL",
        help="where the coordinator reaches this worker; without a URL the coordinator is asked (COORDINATOR_URL, else "
        "the one of this folder), and the worker listens on every address (default: ADVERTISE_URL, else host and port)",
    )
    return parser


def _parse_url(text: str) -> str:
    try:
        return base_url(text) if text else text
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text} {exc}") from exc
