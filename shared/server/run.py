"""Starts a service: arguments, logs, a socket that is free, uvicorn, and an end that lets streams know."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from shared.server.app import App
from shared.server.intake import Intake
from shared.server.loading import GC_THRESHOLD
from shared.server.parent import end_with_parent

GRACE_SECONDS = 8  # under the 10 s of docker stop, and 15 s of the compose files


def parse_arguments(
    *,
    prog: str,
    description: str,
    default_port: int,
    default_host: str | None = "127.0.0.1",
    parents: Sequence[argparse.ArgumentParser] = (),
) -> argparse.Namespace:
    """`--host` and `--port` from the command line, and what `parents` take."""
    parser = argparse.ArgumentParser(prog=prog, description=description, parents=parents)
    parser.add_argument("--host", default=default_host, help="address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--port", type=_parse_port, default=default_port, help="port to listen on; 0 picks one (default: %(default)s)"
    )
    return parser.parse_args()


def _parse_port(text: str) -> int:
    if not 0 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"{text} is not a port (0 to 65535)")
    return int(text)


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to host and port; exits with code 2 and one sentence where that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as exc:
        print(f"Cannot listen on {host}:{port}: {exc.strerror}. Choose another with --port.", file=sys.stderr)
        sys.exit(2)
    return sock


def serve(app: App[Any], sock: socket.socket) -> None:
    """Runs the app until SIGTERM or SIGINT.

    Exits with code 1 if a part of the service died or its start failed, and with code 2, after one sentence on standard
    error, if it refused to start: starting again would not help.
    """
    end_with_parent()
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=Intake,
        ws="none",
        access_log=False,
        log_config=None,
        lifespan="on",
        timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
        timeout_keep_alive=5,
        backlog=2048,
    )
    gc.set_threshold(*GC_THRESHOLD)  # where nothing has set it yet: a start may take up thousands of tasks
    logging.getLogger("uvicorn.error").addFilter(lambda _: app.refusal is None)  # its traceback adds nothing
    app.address = str(sock.getsockname()[0])
    server = _Server(config, app)
    try:
        server.run(sockets=[sock])
    except SystemExit:  # uvicorn's own way to say that the start failed
        if app.refusal is None:
            sys.exit(1)
        print(app.refusal.detail, file=sys.stderr)
        sys.exit(2)
    if app.failed or not server.started:
        sys.exit(1)


class Dated(ServerState):
    """The Date header (RFC 9110, section 6.6.1), made for the first answer of a second; uvicorn makes it on ticks."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._parting = False
        self._second: int | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        super().__init__()

    def part(self) -> None:
        """From now on, every connection is closed after its next answer."""
        self._parting, self._second = True, None

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        if (second := int(self._wall())) != self._second:
            self._second, self._headers = second, [(b"date", formatdate(second, usegmt=True).encode())]
            if self._parting:
                self._headers.append((b"connection", b"close"))
        return self._headers

    @default_headers.setter
    def default_headers(self, _: list[tuple[bytes, bytes]]) -> None:
        """uvicorn begins with none."""


class _Server(uvicorn.Server):
    """Tells the app's streams to end before uvicorn waits for its connections."""

    def __init__(self, config: uvicorn.Config, app: App[Any]) -> None:
        super().__init__(config)
        self.server_state = self._dated = Dated()
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        """Sleeps until the service is to stop: one tick a second, of uvicorn's ten, was a sixth of idle CPU."""
        # What is loaded by now stays; looking through it again and again was 10 % of a task. Not collected before: of
        # 83,000 objects 1,700 went, for 0.04 s of the start.
        gc.freeze()
        await self._app.stopping.event.wait()
        self.should_exit = True

    def handle_exit(self, sig: int, frame: Any) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop, sig)
        super().handle_exit(sig, frame)

    def _stop(self, sig: int) -> None:
        """Who presses Ctrl-C does not want to wait."""
        self._dated.part()
        self._app.stop(urgent=sig == signal.SIGINT)


def make_endpoint(host: str, port: int) -> str:
    """The URL that others reach this process at: the host name where it listens on every address."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
