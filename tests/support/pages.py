"""A page of the documentation as a reader follows it: saves its files, types its commands, sees what it shows."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support.fakes import ROOT

ELSEWHERE = re.compile("# in .* terminal\n")  # the first line of a command that stays there
LENT = ("docs", "shared", "coordinator", "workers")  # what a reader has in the folder
SECONDS = 120.0  # of a command, and until a service has said what the page shows
STOP_SECONDS = 15.0
_LOOSE = (
    (r"[0-9a-f]{32}", r"[0-9a-f]{32}"),  # a task's id
    (r"\d+\\\.\d+", r"[\\d.]+"),  # seconds, minutes
    (r"\b\d+s\b", r"\\d+[smh]"),  # ages
    ("…", ".*"),
    (r"(\\ )+", r"\\s+"),
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what it holds, and the file that the words before it say: save it as `name`."""

    language: str
    text: str
    file: str | None


def read_blocks(page: str) -> Iterator[Block]:
    """The blocks of a page of Markdown, in order."""
    for found in re.finditer(r"(?:\bas\s`([\w./-]+)`:\n\n)?^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        yield Block(found[2], found[3], found[1])


def find_missing(shown: str, output: str, *, in_order: bool = True) -> str | None:
    """The first line that a page shows and a command did not print, or not in this order; ids and times may differ."""
    at = 0
    for line in shown.splitlines():
        pattern = re.escape(line.strip())
        for what, instead in _LOOSE:
            pattern = re.sub(what, instead, pattern)
        found = re.compile(pattern).search(output, at)
        if found is None:
            return line
        at = found.end() if in_order else 0
    return None


class Reader:
    """Somebody with a shell in `folder`, where Muster's own folders are lent; `instead` is typed for what a page says.

    `with` ends the shell and every command that stays.
    """

    def __init__(self, folder: Path, *, instead: Mapping[str, str], env: Mapping[str, str]) -> None:
        self._folder, self._instead = folder, instead
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._env = kept | {"COLUMNS": "160", "PYTHONUNBUFFERED": "1"} | dict(env)
        for name in LENT:
            (folder / name).symlink_to(ROOT / name)
        (folder / ".venv").symlink_to(Path(sys.executable).parents[1])
        self._staying: list[subprocess.Popen[bytes]] = []
        self._log = folder / "shell.log"
        self._shell = self._start("exec bash -O expand_aliases", self._log, stdin=subprocess.PIPE)
        self._typed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        for process in self._staying:
            _tell(process, signal.SIGTERM)
        for process in self._staying:
            try:
                process.wait(STOP_SECONDS)
            finally:
                _tell(process, signal.SIGKILL)
                process.wait()

    def follow(self, blocks: Sequence[Block]) -> None:
        """Does all that a page says; fails at the first thing that is not as the page shows it."""
        log, began = self._log, 0
        for block in blocks:
            text = self.translate(block.text)
            if block.file is not None:
                (self._folder / block.file).write_text(text)
            elif block.language == "bash" and ELSEWHERE.match(text):
                log, began = self._folder / f"terminal-{len(self._staying)}.log", 0
                self._start(text, log)
            elif block.language == "bash":
                log, began = self._log, self._log.stat().st_size
                self._type(text)
            elif block.language == "text":
                self._wait_for(text, log, began)

    def translate(self, text: str) -> str:
        """What is typed for it."""
        for said, typed in self._instead.items():
            text = text.replace(said, typed)
        return text

    def _start(self, command: str, log: Path, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            process = subprocess.Popen(
                ["bash", "-c", command],
                cwd=self._folder,
                env=self._env,
                stdin=stdin,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._staying.append(process)
        return process

    def _type(self, text: str) -> None:
        """Types it, and waits until the shell is ready for more."""
        assert self._shell.stdin is not None
        self._typed += 1
        done = self._folder / f"done-{self._typed}"
        self._shell.stdin.write(f"{{ {text}\n}} < /dev/null\necho $? > {done}\n".encode())
        self._shell.stdin.flush()
        until = time.monotonic() + SECONDS
        while not done.exists() or not done.read_text().strip():
            assert time.monotonic() < until, f"{text} did not end: {self._log.read_text()[-3_000:]}"
            time.sleep(0.02)

    def _wait_for(self, shown: str, log: Path, began: int) -> None:
        """In another terminal several services speak, in any order, and some words come later."""
        here = log == self._log
        until = time.monotonic() + (0 if here else SECONDS)
        while True:
            output = log.read_bytes()[began:].decode(errors="replace")
            missing = find_missing(shown, output, in_order=here)
            if missing is None:
                return
            assert time.monotonic() < until, f"The page shows {missing!r}. What came:\n{output}"
            time.sleep(0.05)


def _tell(leader: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Sends a signal to a process and to those that it has started, as far as they still run."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, number)
