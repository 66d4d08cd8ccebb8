"""What the benchmarks share: processes that are started, pinned and ended, and figures held against targets."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30.0
END_SECONDS = 12.0  # our services take up to 8 s to end well


@dataclass(frozen=True)
class Figure:
    """One measured number; `target` is what it must reach: at most that, or at least that with `at_least`."""

    name: str
    value: float
    unit: str
    target: float | None = None
    at_least: bool = False

    @property
    def ok(self) -> bool | None:
        """None: nothing is asked of it."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


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
        return self.run([sys.executable, "-m", module, *arguments], name=module, env=env, core=core)

    def run(
        self, command: Sequence[str], *, name: str, env: Mapping[str, str] | None = None, core: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Runs any program, as `start` does; its children are in a session of their own with it."""
        folder = self.folder / f"{len(self._running)}-{name}"
        folder.mkdir()
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                list(command),
                cwd=folder,
                env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), **(env or {})},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches this program only, which then ends them in order
            )
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
        """Seconds until `url` answers 200; exits with the end of the process's log when it does not or has died."""
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            if process.poll() is not None:
                break
            if status(url) == 200:
                return time.monotonic() - began
            time.sleep(0.01)
        sys.exit(
            f"{self.log(process)}\n{url} did not answer (exit code {process.poll()}); the above is the end of its log."
        )

    def log(self, process: subprocess.Popen[bytes]) -> str:
        """The end of what a process has printed."""
        return self._logs[process.pid].read_text(errors="replace")[-3_000:]

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """SIGTERM, and SIGKILL after 12 s; whatever it leaves behind in its group is killed."""
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, all its threads together (proc(5): utime, stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def session_cpu_seconds(pid: int) -> float:
    """Processor time of a process that `Stage` started and of all its children (proc(5): session)."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == pid:
                total += sum(int(fields[n]) for n in (11, 12, 13, 14))
    return total / os.sysconf("SC_CLK_TCK")


def pss_megabytes(pid: int) -> float:
    """Memory of a process, shared pages divided among those that share them (proc(5): Pss), in 10^6 bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    return float("nan")


def status(url: str) -> int | None:
    """The HTTP status that a URL answers with, or None when nothing does."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            code: int = answer.status
            return code
    except urllib.error.HTTPError as exc:
        return exc.code
    except OSError:
        return None


def read(url: str) -> Any:
    """The JSON at a URL; raises OSError."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def wait_for_agents(url: str, *names: str, seconds: float = START_SECONDS) -> None:
    """Until the coordinator at `url` shows every named agent as healthy; exits when it does not."""
    began = time.monotonic()
    healthy: set[str] = set()
    while time.monotonic() < began + seconds:
        healthy = {agent["name"] for agent in read(f"{url}/agents")["agents"] if agent["status"] == "healthy"}
        if healthy.issuperset(names):
            return
        time.sleep(0.05)
    sys.exit(f"Healthy after {seconds:.0f} s: {sorted(healthy)}; expected: {sorted(names)}.")


def show(title: str, figures: Sequence[Figure], notes: Sequence[str], *, as_json: bool) -> int:
    """Prints the figures, as a table or as one JSON object; the exit code: 1 if a target was missed."""
    if as_json:
        rows = [{**asdict(figure), "ok": figure.ok} for figure in figures]
        print(json.dumps({"title": title, "notes": list(notes), "figures": rows}, indent=2))
    else:
        _print_table(title, figures, notes)
    return 1 if any(figure.ok is False for figure in figures) else 0


def _print_table(title: str, figures: Sequence[Figure], notes: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in ("figure", "measured", "target", ""):
        table.add_column(column, justify="right" if column in ("measured", "target") else "left")
    marks = {True: "[green]pass[/]", False: "[red]MISS[/]", None: ""}
    for figure in figures:
        asked = "" if figure.target is None else f"{'>=' if figure.at_least else '<='} {figure.target:g} {figure.unit}"
        table.add_row(figure.name, f"{figure.value:,.4g} {figure.unit}", asked, marks[figure.ok])
    console = Console()
    console.print(table)
    for note in notes:
        console.print(f"[dim]{note}[/]")
