"""The watchdog of a loop in another thread: what counts as standing still, and what it says."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from shared.worker import watchdog
from shared.worker.watchdog import watch_loop
from tests.support.fakes import eventually

Said = list[tuple[float, str, str]]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty looks a second."""
    monkeypatch.setattr(watchdog, "TICK_SECONDS", 0.05)


def runs(work: Callable[[], Coroutine[Any, Any, None]], seconds: float, *steps: str) -> Said:
    """What the watchdog said while a loop in a thread of its own did the work in a task named `task:one`."""
    said: Said = []

    async def main() -> None:
        async with watch_loop(seconds, lambda: list(steps), lambda *why: said.append(why)):
            await asyncio.create_task(work(), name="task:one")

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    return said


async def blocks() -> None:
    time.sleep(2)  # noqa: ASYNC251  # the loop stands still


async def waits() -> None:
    await asyncio.sleep(1)


async def blocks_in_a_child() -> None:
    await asyncio.gather(blocks(), waits())


def test_loop_that_stands_is_named_with_step_and_place() -> None:
    [(seconds, steps, place)] = runs(blocks, 0.3, "task:one", "task:two")

    assert 0.3 <= seconds < 2
    assert steps == "task:one"
    assert place.endswith(f"blocks (test_watchdog.py:{blocks.__code__.co_firstlineno + 1})")


def test_all_steps_are_named_where_none_says_itself() -> None:
    """A task that the step has started stands, and nobody knows whose it is."""
    [(_, steps, place)] = runs(blocks_in_a_child, 0.3, "task:one", "task:two")

    assert steps == "task:one, task:two"
    assert "blocks (test_watchdog.py" in place


@pytest.mark.parametrize("work", [waits, blocks])
def test_loop_that_answers_in_time_is_left_alone(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A stall that is shorter is none."""
    assert runs(work, 20.0) == []


def test_waiting_for_a_processor_is_not_standing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Linux counts it: here the loop's thread waited all the time."""
    monkeypatch.setattr(watchdog.Watchdog, "_read_waited", lambda _: time.monotonic())

    assert runs(blocks, 0.3) == []


async def test_no_thread_stays_behind() -> None:
    async with watch_loop(0.3, list, lambda *_: None):
        assert any(t.name == "watchdog" for t in threading.enumerate())

    await eventually(lambda: not any(t.name == "watchdog" for t in threading.enumerate()))
