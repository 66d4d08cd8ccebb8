"""Work in a process of its own, so that nothing of a simulation is left in the process that asks for it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def run_apart(work: Callable[[], T]) -> T:
    """What the work returns, from a fork of this process, which ends at once: CPython 3.11 crashes where it tears down
    coroutines that a simulated kill has left behind. Raises RuntimeError where the fork dies.
    """
    context = multiprocessing.get_context("fork")
    answer, question = context.Pipe(duplex=False)
    child = context.Process(target=lambda: question.send(work()))
    child.start()
    question.close()
    try:
        result: T = answer.recv()
    except EOFError:
        child.join()
        raise RuntimeError(f"The process of the simulation has ended with the code {child.exitcode}.") from None
    finally:
        answer.close()
    child.join()
    return result
