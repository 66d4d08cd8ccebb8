"""Runs one worker as a separate process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from shared import logs
from shared.agent import Agent
from shared.errors import MusterError
from shared.server.run import bind, make_endpoint, parse_arguments, serve
from shared.settings import WorkerSettings, load_settings
from shared.worker.app import create_worker_app
from shared.worker.watchdog import end_process


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
        prog=f"python -m workers.{module}", description=f"Muster's {module}.", default_port=default_port
    )
    settings = settings or load_settings(WorkerSettings)
    name = name or module
    logs.configure(settings, service=name)
    sock = bind(args.host, args.port)
    port = sock.getsockname()[1]
    state_dir = settings.state_dir or Path("data") / f"{name}-{port}"
    try:
        agent = make_agent(state_dir)
    except MusterError as exc:
        print(exc.detail, file=sys.stderr)
        sys.exit(2)
    endpoint = settings.advertise_url or make_endpoint(args.host, port)
    app = create_worker_app(agent, settings=settings, endpoint=endpoint, state_dir=state_dir, standing=end_process)
    serve(app, sock)
