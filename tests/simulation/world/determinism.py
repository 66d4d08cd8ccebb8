"""Makes chance, clocks and names come from one seed while a simulation runs, by patching where they are taken from."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from random import Random
from types import FunctionType, ModuleType
from typing import Any
from unittest.mock import patch

from tests.simulation.world.virtual_time import OWNER, VirtualLoop, hash_by_serial

EPOCH = 1_600_000_000.0  # Unix seconds at which every simulation begins: no file is older, whatever the real date is
OURS = ("shared", "coordinator", "workers", "tests")


class SleptForReal(RuntimeError):
    """Code of a simulation called `time.sleep`, which would stop every process of it."""


class Clocks:
    """The clocks of all processes: each has a wall clock of its own, and a monotonic one that begins somewhere."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def wall(self) -> float:
        owner: Any = OWNER.get()
        return EPOCH + self._loop.seconds + (owner.wall_offset if owner is not None else 0.0)

    def monotonic(self) -> float:
        owner: Any = OWNER.get()
        return self._loop.seconds + (owner.monotonic_offset if owner is not None else 0.0)

    def since_boot(self) -> float:
        """Of the machine that all processes run on, which is never booted again."""
        return self._loop.seconds

    def wall_ns(self) -> int:
        return int(self.wall() * 1e9)

    def monotonic_ns(self) -> int:
        return int(self.monotonic() * 1e9)


def _make_sleep(loop: VirtualLoop) -> Callable[[float], None]:
    def refuse(seconds: float) -> None:
        loop.stuck = (
            f"Code in the simulation calls time.sleep({seconds!r}): it sleeps on the real clock, and would stop every "
            "process of the suite. Use `await asyncio.sleep(…)`, which takes virtual time."
        )
        raise SleptForReal(loop.stuck)

    return refuse


def _get_hostname() -> str:
    owner: Any = OWNER.get()
    return owner.name if owner is not None else "simulation"


@contextmanager
def determined(seed: int, loop: VirtualLoop, modules: Sequence[str] = ()) -> Iterator[Clocks]:
    """Everything that is drawn from the operating system comes from the seed, and every clock is the loop's.

    So it is for Muster's own modules, and for `modules`.
    """
    clocks = Clocks(loop)
    drawn = Random(f"{seed}/system")
    clock: dict[Callable[..., Any], Callable[..., Any]] = {
        time.time: clocks.wall,
        time.time_ns: clocks.wall_ns,
        time.monotonic: clocks.monotonic,
        time.monotonic_ns: clocks.monotonic_ns,
        time.perf_counter: clocks.monotonic,
        time.perf_counter_ns: clocks.monotonic_ns,
        time.sleep: _make_sleep(loop),
    }
    state = random.getstate()
    with ExitStack() as stack:
        for real, virtual in clock.items():
            stack.enter_context(patch.object(time, real.__name__, virtual))
        for module, name, virtual in _find_imported(clock, modules):
            stack.enter_context(patch.object(module, name, virtual))
        stack.enter_context(patch.object(os, "urandom", drawn.randbytes))
        stack.enter_context(patch.object(random, "_urandom", drawn.randbytes))
        stack.enter_context(patch.object(secrets, "token_bytes", lambda n=32: drawn.randbytes(n or 32)))
        stack.enter_context(patch.object(socket, "gethostname", _get_hostname))
        for kind in (asyncio.Event, asyncio.Timeout):
            stack.enter_context(patch.object(kind, "__hash__", hash_by_serial))
        stack.enter_context(_defaults_replaced(clock, modules))
        random.seed(f"{seed}/global")
        try:
            yield clocks
        finally:
            random.setstate(state)


@contextmanager
def _defaults_replaced(clock: dict[Callable[..., Any], Callable[..., Any]], modules: Sequence[str]) -> Iterator[None]:
    """Functions that took a clock as the default of an argument use the virtual one."""
    undo: list[Callable[[], None]] = []
    for function in _find_functions(modules):
        for attribute in ("__kwdefaults__", "__defaults__"):
            before = getattr(function, attribute)
            after: Any = None
            if isinstance(before, dict) and any(_is_clock(v, clock) for v in before.values()):
                after = {k: clock[v] if _is_clock(v, clock) else v for k, v in before.items()}
            elif isinstance(before, tuple) and any(_is_clock(v, clock) for v in before):
                after = tuple(clock[v] if _is_clock(v, clock) else v for v in before)
            if after is not None:
                setattr(function, attribute, after)
                undo.append(lambda f=function, a=attribute, b=before: setattr(f, a, b))  # type: ignore[misc]
    try:
        yield
    finally:
        for back in undo:
            back()


def _is_clock(value: Any, clock: dict[Callable[..., Any], Callable[..., Any]]) -> bool:
    return type(value).__name__ == "builtin_function_or_method" and value in clock


def _find_imported(
    clock: dict[Callable[..., Any], Callable[..., Any]], modules: Sequence[str]
) -> list[tuple[ModuleType, str, Callable[..., Any]]]:
    """Where a module has imported a clock by its name."""
    return [
        (module, name, clock[value])
        for module in _find_modules(modules)
        for name, value in list(vars(module).items())
        if name != "REAL_CLOCK" and _is_clock(value, clock)
    ]


def _find_functions(modules: Sequence[str]) -> Iterator[FunctionType]:
    for module in _find_modules(modules):
        for value in list(vars(module).values()):
            if isinstance(value, FunctionType) and value.__module__ == module.__name__:
                yield value
            elif isinstance(value, type) and value.__module__ == module.__name__:
                yield from (v for v in vars(value).values() if isinstance(v, FunctionType))


def _find_modules(modules: Sequence[str]) -> list[ModuleType]:
    return [m for name, m in sorted(sys.modules.items()) if name.partition(".")[0] in OURS or name in modules]
