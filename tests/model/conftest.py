"""A real model for the tests of this folder: fetched once, served for all of them, and ended afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from load.processes.ports import free_port
from tests.model.fetch import fetched

READY_SECONDS = 60.0
NAME = "smollm2:135m"
TEMPLATE = Path(__file__).parent / "tools.jinja"


class Served:
    """The server: killed and started again at the same port; its counters as its `/metrics` tells them."""

    def __init__(self, python: Path, weights: Path, *more: str) -> None:
        self._command = [str(python), str(Path(__file__).parent / "serve.py"), str(weights)]
        self._more = more
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it can be asked."""
        command, environ = [*self._command, str(self._port), *self._more], {"PATH": os.environ["PATH"]}
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, env=environ, stdout=quiet, stderr=quiet)
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            assert self._process.poll() is None, f"The server ended with {self._process.returncode}."
            try:
                if httpx.get(f"{self.url}/health", timeout=5).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise TimeoutError("The model's server did not become ready.")

    def kill(self) -> None:
        """`kill -9`, where it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def count(self, name: str) -> int:
        """A counter of its own: `prompt_tokens`, `prompt_tokens_cached`, `tokens_predicted`."""
        lines = httpx.get(f"{self.url}/metrics", timeout=5).text.splitlines()
        return next(int(float(line.split()[1])) for line in lines if line.startswith(f"llamacpp:{name}_total "))

    def busy(self) -> bool:
        """Whether it reads or writes for somebody now."""
        return any(slot["is_processing"] for slot in httpx.get(f"{self.url}/slots", timeout=5).json())


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """Without a network, and nothing fetched before, this fails."""
    with running() as server:
        yield server


@contextlib.contextmanager
def running(*more: str) -> Iterator[Served]:
    """The model behind a server of its own; `more`: a chat template's path."""
    server = Served(*fetched(), *more)
    server.start()
    try:
        yield server
    finally:
        server.kill()
