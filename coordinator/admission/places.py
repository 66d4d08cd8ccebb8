"""Places for running tasks: who gets one next, and what an agent's steps may hold of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import count

from coordinator.admission.bulkhead import Bulkhead
from coordinator.admission.guests import Guests
from coordinator.admission.queue import FairQueue
from coordinator.admission.seat import Seat, Target, Wait
from coordinator.tasks.lane import Lane
from shared.errors import StepTimeout

FIRST = ""  # stands in `Seat.at` for the first step of a task that has a place, until that step begins
UNKNOWN = ""  # the agent of a step that no agent is known for: nothing limits it
NamesOf = Callable[[str | None, str | None], Collection[str]]


@dataclass(eq=False, slots=True)
class _Waiting(Wait):
    step: str = FIRST
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Places:
    """`most` tasks run at once; a task does so from `enter` to `leave`, but while all its steps wait for a share.

    A step waits for a share while its agent has all the places it may have. A task that does nothing else has no place
    meanwhile, and gets one again together with the share. `names_of` tells which agents a step may go to.
    """

    def __init__(
        self, most: int, *, names_of: NamesOf, weight_of: Callable[[str | None], float], now: Callable[[], float]
    ) -> None:
        self.bulkhead = Bulkhead(most)
        self.guests = Guests(most)
        self._most = most
        self._names_of = names_of
        self._now = now
        self._queue: FairQueue[_Waiting] = FairQueue(weight_of)
        self._order = count()
        self.running = 0
        self.queued = 0

    def make_seat(self, lane: Lane, priority: int) -> Seat:
        """For a task that comes now: its turn among those of its lane and priority."""
        return Seat(lane, priority, next(self._order))

    def is_free(self, targets: Sequence[Target]) -> bool:
        """Whether a task that begins with steps for these targets would start at once."""
        return self._find(None, targets) is not None

    def share_of(self, target: Target) -> int:
        """How many places the agents for this have, where they have all that they may have; else 0."""
        names = self._names_of(*target)
        if any(self.bulkhead.has_room(name) for name in names):
            return 0
        return sum(self.bulkhead.count_held(name) for name in names)

    # --- a task

    def try_enter(self, seat: Seat, targets: Sequence[Target]) -> bool:
        """Takes a place if one is free; `targets` are those of the steps that the task begins with."""
        found = self._find(seat, targets)
        if found is None:
            return False
        self._seat(seat, FIRST, found)
        return True

    async def enter(self, seat: Seat, targets: Sequence[Target]) -> None:
        """Waits for a place; whether or not it gets one, `leave` follows."""
        if not self.try_enter(seat, targets):
            await self._wait(_Waiting(seat, tuple(dict.fromkeys(targets))))

    def leave(self, seat: Seat) -> None:
        """The task runs no more; the next one starts."""
        for agent in seat.names:
            self.bulkhead.give_back(agent)
        seat.at.clear()
        seat.names.clear()
        if seat.queued:
            seat.queued = False
            self.queued -= 1
        if seat.has_place:
            self._unplace(seat)
        self._start_next()

    # --- a step of it

    async def begin(self, seat: Seat, step: str, target: Target, *, until: float, said: str) -> None:
        """Waits until the step may go to its agent, at most until `until` (monotonic): then raises `StepTimeout`.

        Whether or not it does, `end` follows. `said` is the target in words.
        """
        if (first := seat.at.get(FIRST)) is not None:
            if first and first in self._names_of(*target):
                seat.at[step] = seat.at.pop(FIRST)
                return
            if not first:
                del seat.at[FIRST]
                seat.active -= 1
        if seat.has_place and (found := self._find(seat, (target,))) is not None:
            self._seat(seat, step, found)
            return
        seat.waiting += 1
        try:
            async with asyncio.timeout(until - self._now()):
                self._park(seat)
                await self._wait(_Waiting(seat, (target,), step=step))
        except TimeoutError as exc:
            raise StepTimeout(f"Other steps held all that {said} may take until the step timed out.") from exc
        finally:
            seat.waiting -= 1

    def move(self, seat: Seat, step: str, agent: str) -> None:
        """The step goes to this agent, of those that it might have gone to."""
        before = seat.at.get(step)
        if before is not None and before != agent:
            self._leave_agent(seat, before)
            seat.at[step] = agent
            self._go_to_agent(seat, agent)

    def end(self, seat: Seat, step: str, *, answered: bool | None) -> None:
        """The step has ended: with an answer, without one, or (None) because its task ended."""
        agent = seat.at.pop(step, None)
        if agent is None:
            return
        if not seat.children.pop(step, 0):
            seat.active -= 1
        if agent and answered is not None:
            self.bulkhead.note_answer(agent, answered=answered)
        self._leave_agent(seat, agent)
        self._park(seat)
        self._start_next()

    def delegate(self, seat: Seat, step: str) -> None:
        """The step waits for another one that it has asked for, until `resume`."""
        if step in seat.at:
            seat.children[step] = seat.children.get(step, 0) + 1
            seat.active -= seat.children[step] == 1

    def resume(self, seat: Seat, step: str) -> None:
        """The step goes on: also without a place, which it then takes from those that end next."""
        if step not in seat.at or step not in seat.children:
            return
        seat.children[step] -= 1
        if not seat.children[step]:
            del seat.children[step]
            seat.active += 1
            if not seat.has_place:
                self._place(seat)

    # --- how it is done

    def _may_be_guest(self, seat: Seat) -> bool:
        return self.running >= self._most and self.guests.may_come(seat.lane)

    def _find(self, seat: Seat | None, targets: Sequence[Target], *, lent: bool = True) -> str | None:
        """The agent that the task may go to now, "" if nothing limits it; None: it must wait."""
        settled = seat is not None and seat.has_place
        guest = seat is not None and not settled and self._may_be_guest(seat)
        if not (settled or guest) and self.running - self.guests.here - self.bulkhead.lent >= self._most:
            return None
        if not targets:
            return UNKNOWN
        idle = lent and (settled or guest or self.running < self._most)
        spare = None
        for target in targets:
            names = self._names_of(*target)
            if not names:
                return UNKNOWN
            for name in names:
                if self.bulkhead.has_room(name) or (seat is not None and name in seat.names):
                    return name
                if idle and spare is None and self.bulkhead.may_borrow(name, guest=guest):
                    spare = name
        return spare

    async def _wait(self, waiting: _Waiting) -> None:
        seat = waiting.seat
        if not seat.has_place and not seat.queued:
            seat.queued = True
            self.queued += 1
        self._queue.add(waiting)
        self._start_next()
        try:
            await waiting.granted
        except asyncio.CancelledError:
            if not waiting.gone:
                self._queue.discard(waiting)
            raise

    def _start_next(self) -> None:
        while self._queue:
            found = self._queue.take(lambda w: self._find(w.seat, w.targets, lent=False)) or self._queue.take(
                lambda w: self._find(w.seat, w.targets)
            )
            if found is None:
                return
            waiting, agent = found
            if not waiting.granted.done():  # cancelled a moment ago
                self._seat(waiting.seat, waiting.step, agent)
                waiting.granted.set_result(None)

    def _seat(self, seat: Seat, step: str, agent: str) -> None:
        if not seat.has_place:
            self._place(seat)
        seat.at[step] = agent
        seat.active += 1
        self._go_to_agent(seat, agent)

    def _place(self, seat: Seat) -> None:
        seat.has_place, seat.is_guest = True, self._may_be_guest(seat)
        self.guests.take(seat.lane, beyond=seat.is_guest)
        self.running += 1
        if seat.queued:
            seat.queued = False
            self.queued -= 1

    def _unplace(self, seat: Seat) -> None:
        self.guests.give_back(seat.lane, beyond=seat.is_guest)
        seat.has_place = seat.is_guest = False
        self.running -= 1

    def _park(self, seat: Seat) -> None:
        """Takes the place of a task whose steps all wait for a share."""
        if seat.has_place and seat.waiting and not seat.active:
            self._unplace(seat)
            seat.queued = True
            self.queued += 1

    def _go_to_agent(self, seat: Seat, agent: str) -> None:
        if agent:
            steps = seat.names[agent] = seat.names.get(agent, 0) + 1
            if steps == 1:
                self.bulkhead.take(agent)

    def _leave_agent(self, seat: Seat, agent: str) -> None:
        if agent:
            steps = seat.names[agent] = seat.names[agent] - 1
            if not steps:
                del seat.names[agent]
                self.bulkhead.give_back(agent)
