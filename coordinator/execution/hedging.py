"""Second calls: a step that takes far too long is given to another instance, too, and the first answer counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from coordinator.agent_calls.attempt import Attempt, StepAnswer
from coordinator.agent_pool.pool import Agents
from coordinator.agents.instance import Instance
from coordinator.observers.meter import Meter
from coordinator.recording.flight import FLIGHT
from shared.contracts import NO_USAGE, ONE_CALL, Progress, Usage
from shared.errors import StepFailure

SHARE = 0.05  # of the calls that could have a second one may have it
MOST_SAVED = 5.0  # second calls


@dataclass(frozen=True)
class HedgedAnswer:
    """An attempt's answer, who gave it, and what the other call has cost, as far as that is known."""

    answer: StepAnswer
    instance: Instance
    extra: Usage = NO_USAGE


@dataclass
class _Race:
    """One attempt at two instances; `cut` ends the first call."""

    attempt: Attempt
    may_start: Callable[[], bool]
    tell: Callable[[Instance, float], None]
    cut: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    second: Instance | None = None
    call: asyncio.Task[StepAnswer] | None = None
    is_over: bool = False

    def end_first(self, call: asyncio.Task[StepAnswer]) -> None:
        """The second call has ended: if with an answer, the first one is no longer needed."""
        if not self.is_over and not call.cancelled() and call.exception() is None:
            self.cut.reschedule(0)


class Hedges:
    """Watches the calls of agents that are `idempotent`; never more than 5 % of them get a second call.

    "The Tail at Scale" (Dean and Barroso, 2013): a second request after the 95th percentile costs a few per cent more
    calls and cuts the tail. Here it comes after three times as long.
    """

    def __init__(
        self, agents: Agents, meter: Meter, call: Callable[[Attempt], Coroutine[Any, Any, StepAnswer]]
    ) -> None:
        self._agents = agents
        self._meter = meter
        self._call = call
        self._saved = 0.0

    async def call(
        self, attempt: Attempt, *, may_start: Callable[[], bool], tell: Callable[[Instance, float], None]
    ) -> HedgedAnswer:
        """Makes an attempt at an instance that was taken, as `call` does; raises a `StepFailure` with all that it cost.

        `may_start` is asked when it is time for a second call; `tell` gets its instance, and the seconds until then.
        """
        instance = attempt.instance
        flight, seconds = FLIGHT.get(), self._agents.registry.paces.find_limit(instance.name)
        if flight is not None:
            seconds = flight.hedge(attempt, seconds)
        if seconds is None or not _may_run_twice(instance):
            return HedgedAnswer(await self._call(attempt), instance)
        self._saved = min(MOST_SAVED, self._saved + SHARE)
        race = _Race(attempt, may_start, tell)
        timer = asyncio.get_running_loop().call_later(seconds, self._be_late, race, seconds)
        try:
            return await self._run(race)
        finally:
            race.is_over = True
            timer.cancel()
            if race.call is not None and not race.call.done():
                race.call.cancel()
                await asyncio.wait({race.call})

    async def _run(self, race: _Race) -> HedgedAnswer:
        first = race.attempt.instance
        try:
            async with race.cut:
                answer = await self._call(race.attempt)
        except TimeoutError:  # the second call has answered
            assert race.call is not None
            assert race.second is not None
            self._meter.hedged(first.name, "won")
            return HedgedAnswer(race.call.result(), race.second, ONE_CALL)
        except StepFailure as failure:
            if race.call is None or race.second is None:
                raise
            failure.usage += ONE_CALL
            try:
                answer = await race.call
            except StepFailure as other:
                self._meter.hedged(first.name, "lost")
                failure.usage += other.usage
                raise failure from other
            self._meter.hedged(first.name, "won")
            return HedgedAnswer(answer, race.second, failure.usage)
        if race.call is None:
            return HedgedAnswer(answer, first)
        self._meter.hedged(first.name, "lost")
        failed = race.call.exception() if race.call.done() and not race.call.cancelled() else None
        return HedgedAnswer(answer, first, ONE_CALL + (failed.usage if isinstance(failed, StepFailure) else NO_USAGE))

    def _be_late(self, race: _Race, seconds: float) -> None:
        """The first call takes far too long: others go elsewhere, and it gets a second one where that may be."""
        attempt, envelope = race.attempt, race.attempt.envelope
        self._agents.registry.note_slow(attempt.instance, seconds)
        left = attempt.seconds - seconds

        def choose() -> Instance | None:
            if left <= 0 or self._saved < 1 or not race.may_start():
                return None
            return self._agents.take_beside(attempt.instance, attempt.request.capability, _may_run_twice)

        flight = FLIGHT.get()
        second = choose() if flight is None else flight.second(attempt, choose)
        if second is None:
            return
        self._saved -= 1
        race.second = second
        race.tell(second, seconds)
        attempt = replace(
            attempt,
            instance=second,
            envelope=replace(envelope, milliseconds=max(1, int(left * 1000))),
            seconds=left,
            on_progress=_ignore,
        )
        race.call = asyncio.create_task(self._call(attempt), name=f"{envelope.task}:{envelope.step}:second")
        race.call.add_done_callback(race.end_first)


def _may_run_twice(instance: Instance) -> bool:
    return instance.registration.idempotent and instance.registration.protocol == "muster"


def _ignore(progress: Progress) -> None:
    """The first call's progress is the step's; a second one that tells of other work would confuse who reads along."""
