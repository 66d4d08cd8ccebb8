"""Runs one worker as a separate process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from shared import logs
from shared.agent import Agent
from shared.errors import MusterError
from shared.server.run import advertised, arguments, listening, serve
from shared.settings import WorkerSettings, load_settings
from shared.worker.app import create_worker_app


def serve_worker(make_agent: Callable[[Path], Agent], *, default_port: int = 0) -> None:
    """Runs one worker as a process.

    `make_agent` gets the folder for the worker's own files: STATE_DIR, else `data/<module>-<port>`.
    """
    module = Path(sys.modules["__main__"].__file__ or "worker").stem
    args = arguments(prog=f"python -m workers.{module}", description=f"Muster's {module}.", default_port=default_port)
    settings = load_settings(WorkerSettings)
    logs.configure(settings, service=module)
    sock = listening(args.host, args.port)
    port = sock.getsockname()[1]
    state_dir = settings.state_dir or Path("data") / f"{module}-{port}"
    try:
        agent = make_agent(state_dir)
    except MusterError as exc:
        print(exc.detail, file=sys.stderr)
        sys.exit(2)
    endpoint = settings.advertise_url or advertised(args.host, port)
    serve(create_worker_app(agent, settings=settings, endpoint=endpoint, state_dir=state_dir), sock)
