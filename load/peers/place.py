"""Where one contender runs: its venv, its ports, its files, and the environment that tells it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from load.processes.ports import free_port
from load.processes.programs import ROOT

SOURCE = Path(__file__).parent
VENVS = ROOT / "build" / "peers"
Command = list[str]


@dataclass
class Place:
    """`folder` names its source and its venv below `build/peers`; None: our own interpreter."""

    folder: str | None
    agents: str
    files: Path
    _ports: dict[str, int] = field(default_factory=dict)

    def take_port(self, of: str = "web") -> int:
        """Returns a free port, the same one for the same name."""
        if of not in self._ports:
            self._ports[of] = free_port()
        return self._ports[of]

    def build_url(self, of: str = "web") -> str:
        return f"http://127.0.0.1:{self.take_port(of)}"

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
            "PORT": str(self.take_port()),
            "HOME": str(self.files),
            "REDIS_URL": f"redis://127.0.0.1:{self.take_port('redis')}/0",
            "DO_NOT_TRACK": "1",
        }

    def build_command(self, name: str, *arguments: str) -> Command:
        return [self.python, "-m", name, *arguments]

    def build_web_command(self, app: str = "server:app") -> Command:
        """Returns the command of a web service as uvicorn documents it, without a log line for each request."""
        port = str(self.take_port())
        return self.build_command("uvicorn", app, "--port", port, "--no-access-log", "--log-level", "warning")

    def build_redis_command(self) -> Command:
        """Returns the command of Redis with its append-only file, as its documentation advises for durability."""
        port, folder = str(self.take_port("redis")), str(self.files)
        return ["redis-server", "--port", port, "--dir", folder, "--appendonly", "yes", "--save", ""]

    def read_versions(self, *packages: str) -> str:
        """Returns the packages and their versions in its venv."""
        code = "import sys, importlib.metadata as m; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep=', ')"
        said = subprocess.run([self.python, "-c", code, *packages], capture_output=True, text=True, check=True)
        return said.stdout.strip()
