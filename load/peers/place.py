"""Where one contender runs: its venv, its ports, its files, and the environment that tells it."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from load import ROOT

SOURCE = Path(__file__).parent
VENVS = ROOT / "build" / "peers"
PORTS = range(20_000, 32_000)  # below those that outgoing connections take, of which dozens are made meanwhile
Command = list[str]


def unused_port() -> int:
    """A port of 127.0.0.1 on which nothing listens."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)):
                return port


@dataclass
class Place:
    """`folder` names its source and its venv below `build/peers`; None: our own interpreter."""

    folder: str | None
    agents: str
    files: Path
    _ports: dict[str, int] = field(default_factory=dict)

    def port(self, of: str = "web") -> int:
        """The same free port for the same name."""
        if of not in self._ports:
            self._ports[of] = unused_port()
        return self._ports[of]

    def url(self, of: str = "web") -> str:
        return f"http://127.0.0.1:{self.port(of)}"

    @property
    def source(self) -> Path:
        return SOURCE / (self.folder or "limits")

    @property
    def python(self) -> str:
        return str(VENVS / self.folder / "bin" / "python") if self.folder else sys.executable

    @property
    def env(self) -> dict[str, str]:
        """The environment of its programs, with telemetry off."""
        path = [str(self.source), str(SOURCE / "common")] if self.folder else [str(ROOT)]
        return {
            "PYTHONPATH": os.pathsep.join(path),
            "AGENTS": self.agents,
            "PORT": str(self.port()),
            "HOME": str(self.files),
            "REDIS_URL": f"redis://127.0.0.1:{self.port('redis')}/0",
            "DO_NOT_TRACK": "1",
        }

    def module(self, name: str, *arguments: str) -> Command:
        return [self.python, "-m", name, *arguments]

    def web(self, app: str = "server:app") -> Command:
        """A web service as uvicorn's own documentation runs it, without a line for each request."""
        port = str(self.port())
        return self.module("uvicorn", app, "--port", port, "--no-access-log", "--log-level", "warning")

    def redis(self) -> Command:
        """Redis with its append-only file, synced each second: what its documentation advises for durability."""
        port, folder = str(self.port("redis")), str(self.files)
        return ["redis-server", "--port", port, "--dir", folder, "--appendonly", "yes", "--save", ""]

    def versions(self, *packages: str) -> str:
        """The packages and their versions in its venv."""
        code = "import sys, importlib.metadata as m; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep=', ')"
        said = subprocess.run([self.python, "-c", code, *packages], capture_output=True, text=True, check=True)
        return said.stdout.strip()
