"""Ends a worker's process whose event loop stands still, so that whoever started it starts it again."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from shared import logs

TICK_SECONDS = 1.0  # between two looks whether the loop has answered
REST_SECONDS = 4.0  # after an answer, or an eighth of what the loop may stand: each look wakes an idle worker
LATE_SECONDS = 8.0  # from one look to the next while other threads use all processors
SHOWN_FRAMES = 6  # of the stack, in the log
FAILED = 1  # exit code of a service of which a part has died

Standing = Callable[[float, str, str], None]


@asynccontextmanager
async def watch_loop(seconds: float, list_steps: Callable[[], list[str]], end: Standing) -> AsyncIterator[None]:
    """Has the running loop watched, and `end` called in another thread once it has stood for so many seconds.

    `end` gets the seconds, the steps at work and the place in the code.
    """
    watchdog = Watchdog(asyncio.get_running_loop(), seconds, list_steps, end)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.stop()


def arm(seconds: float) -> None:
    """Ends this process once it has used so many seconds of processor time without being armed again.

    For code that lets no other thread of Python run, such as a regular expression that backtracks for ever: the kernel
    ends the process by SIGPROF, and where each thread was is on standard error. Time that it is stopped does not count.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds + LATE_SECONDS * (os.cpu_count() or 1))


def end_process(seconds: float, steps: str, at: str) -> None:
    """Says what stood still and ends this process with code 1; nothing in it can be closed any more."""
    logs.get().error("worker.blocked", seconds=round(seconds), steps=steps, at=at, hint="await, or asyncio.to_thread")
    os._exit(FAILED)


class Watchdog(threading.Thread):
    """Asks the loop every 5 s for a sign of life, and counts the seconds without one.

    Seconds count only while this process runs: one that is stopped, frozen or on a machine that sleeps makes no looks,
    and what the loop's thread waited for a processor is taken off (Linux, `/proc/…/schedstat`).
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, list_steps: Callable[[], list[str]], end: Standing
    ) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._loop = loop
        self._thread = threading.get_ident()
        self._schedstat = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._seconds = seconds
        self._list_steps = list_steps
        self._end = end
        self._alone = end is end_process  # the process is the worker's own
        self._ended = threading.Event()
        self._answered = True

    def start(self) -> None:
        """Begins, armed: a step that holds the interpreter may come before the first look."""
        if self._alone:
            faulthandler.register(signal.SIGPROF, chain=True)
            arm(self._seconds)
        super().start()

    def stop(self) -> None:
        """The loop is about to end."""
        self._ended.set()
        if self._alone:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def run(self) -> None:
        rest = min(REST_SECONDS, self._seconds / 8)
        while not self._ended.wait(rest):
            if self._alone:
                arm(self._seconds)
            stood, waited, self._answered = 0.0, self._read_waited(), False
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._answer)
            while not self._ended.wait(TICK_SECONDS) and not self._answered:
                before, waited = waited, self._read_waited()
                stood += max(0.0, TICK_SECONDS - (waited - before))
                if stood >= self._seconds:
                    self._end(stood, self._name_steps(), self._name_place())
                    return

    def _answer(self) -> None:
        self._answered = True

    def _read_waited(self) -> float:
        """Seconds that the loop's thread was ready to run and did not, ever."""
        try:
            return int(self._schedstat.read_text().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):  # not Linux
            return 0.0

    def _name_steps(self) -> str:
        """The step that stands, where it says so itself; else all that are at work."""
        steps = self._list_steps()
        with suppress(RuntimeError):
            task = asyncio.current_task(self._loop)
            if task is not None and task.get_name() in steps:
                return task.get_name()
        return ", ".join(steps) or "none"

    def _name_place(self) -> str:
        """The inner end of the loop's stack: `run (pricer.py:40) > sleep (…)`."""
        frame = sys._current_frames().get(self._thread)
        if frame is None:
            return "unknown"
        stack = traceback.extract_stack(frame)[-SHOWN_FRAMES:]
        return " > ".join(f"{one.name} ({Path(one.filename).name}:{one.lineno})" for one in stack)
