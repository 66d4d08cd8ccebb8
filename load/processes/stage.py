"""The processes of one benchmark: started, pinned to a core, waited for, and ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from load.processes.programs import build_command, start_program
from load.processes.services import fetch_status

START_SECONDS = 30.0
END_SECONDS = 12.0  # our services take up to 8 s to end well


class Stage:
    """The processes of one benchmark, each in a temp folder of its own; leaving the `with` block ends them all.

    With two cores or more, `core` 0 is for what is measured and 1 for load and agents; else nothing is pinned.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="muster-load-"))
        self.cores = sorted(os.sched_getaffinity(0))
        self._running: list[subprocess.Popen[bytes]] = []
        self._logs: dict[int, Path] = {}

    @property
    def pinned(self) -> bool:
        return len(self.cores) >= 2

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `with` blocks end on it as on Ctrl-C
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for process in reversed(self._running):
            self.end(process)
        shutil.rmtree(self.folder, ignore_errors=True)
        if kind is KeyboardInterrupt:
            sys.exit(130)

    def start(
        self, module: str, *arguments: str, env: Mapping[str, str] | None = None, core: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Runs `python -m module`. It sees no settings but `env`, and keeps its files in the temp folder."""
        return self.run(build_command(module, *arguments), name=module, env=env, core=core)

    def run(
        self, command: Sequence[str], *, name: str, env: Mapping[str, str] | None = None, core: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Runs any program, as `start` does; its children are in a session of their own with it."""
        folder = self.folder / f"{len(self._running)}-{name}"
        folder.mkdir()
        # Ctrl-C reaches this program only, which then ends them in order.
        process = start_program(command, folder=folder, env=env, out=folder / "log", apart=True)
        self._running.append(process)
        self._logs[process.pid] = folder / "log"
        if core is not None:
            self.pin(process.pid, core)
        return process

    def pin(self, pid: int, core: int) -> None:
        """Keeps a process (0: this one) on one core, if there are several."""
        if self.pinned:
            os.sched_setaffinity(pid, {self.cores[core]})

    def wait(self, process: subprocess.Popen[bytes], url: str, *, seconds: float = START_SECONDS) -> float:
        """Waits until `url` answers 200 and returns the seconds; exits with the end of the log when it does not."""
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            if process.poll() is not None:
                break
            if fetch_status(url) == 200:
                return time.monotonic() - began
            time.sleep(0.01)
        why = f"{url} did not answer (exit code {process.poll()}); the above is the end of its log."
        sys.exit(f"{self.read_log(process)}\n{why}")

    def read_log(self, process: subprocess.Popen[bytes]) -> str:
        """Returns the end of what a process has printed."""
        return self._logs[process.pid].read_text(errors="replace")[-3_000:]

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Ends a process by SIGTERM, and by SIGKILL after 12 s; kills whatever it leaves behind in its group."""
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
