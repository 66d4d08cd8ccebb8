"""Canaries at work: steps that only ask whether an agent answers, sent when no real step has told for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import nsmallest
from random import Random

from coordinator.agent_calls.attempt import Attempt
from coordinator.agent_calls.client import WorkerClient
from coordinator.agent_pool.pool import Agents
from coordinator.agents.canary import find_due, is_urgent
from coordinator.agents.instance import Instance
from coordinator.observers.meter import Meter
from shared.background import Background
from shared.client.patience import wait_awake
from shared.contracts import CANARY, StepRequest
from shared.errors import AgentBusy, AgentRefused, AgentReplaced, CallNotSent, StepFailure
from shared.limits.envelope import Envelope

ANSWER_SECONDS = 4.0  # for a canary; more than half of a stall of 5 s, which then costs one canary and never two
LOOK_SECONDS = 0.5  # between looks for canaries that are due
PACE_SECONDS = 0.05  # between two canaries: at most 20 a second in all


class Canaries:
    """Asks the instances that take canaries; no caller waits for it, and no task or step is made of it.

    A canary takes the way of a step: the same route, limits and start. `client` has no named points to stop at.
    """

    def __init__(
        self,
        agents: Agents,
        client: WorkerClient,
        background: Background,
        *,
        meter: Meter,
        now: Callable[[], float],
        random: Random,
    ) -> None:
        self._agents = agents
        self._client = client
        self._background = background
        self._meter = meter
        self._now = now
        self._random = random
        self._asked: set[str] = set()  # ids of those that have not answered yet

    def start(self) -> None:
        self._background.loop("canaries", self._ask_for_ever)

    def ask_soon(self, instance: Instance) -> bool:
        """Has the instance asked within a second or so, whose answer will be its `last_canary`; False if it takes none.

        With 20 a second in all, later where many wait.
        """
        instance.canary_wanted = instance.takes_canaries
        return instance.takes_canaries

    async def _ask_for_ever(self) -> None:
        while True:
            for instance in self._list_due():
                if self._agents.registry.get(instance.id) is instance and self._is_due(instance):
                    self._asked.add(instance.id)
                    instance.canary_at, instance.canary_wanted = self._now(), False
                    self._background.once(f"canary:{instance.id}", self._ask(instance))
                await asyncio.sleep(PACE_SECONDS)
            await asyncio.sleep(LOOK_SECONDS)

    def _list_due(self) -> list[Instance]:
        """Those to ask in the next second, first the urgent ones, then who has waited longest."""
        now = self._now()
        due = (i for i in self._agents.registry.list_all() if self._is_due(i))
        return nsmallest(round(1 / PACE_SECONDS), due, key=lambda i: (not is_urgent(i, now), find_due(i, now)))

    def _is_due(self, instance: Instance) -> bool:
        due = find_due(instance, self._now())
        return due is not None and due <= self._now() and instance.id not in self._asked

    async def _ask(self, instance: Instance) -> None:
        began = self._now()
        call = asyncio.create_task(
            self._client.execute(self._make_attempt(instance)), name=f"canary-call:{instance.id}"
        )
        try:
            answered = await wait_awake(call, ANSWER_SECONDS)
            error = _find_error(call) if answered else f"no answer within {ANSWER_SECONDS:g} s."
        except AgentReplaced as exc:
            self._agents.suspect(instance, exc.detail, replaced=True)
            return
        except CallNotSent:
            return  # it says nothing of the agent
        finally:
            self._asked.discard(instance.id)
            if not call.done():
                call.cancel()
                await asyncio.wait({call})
        self._meter.canary_ended(instance.name, "answered" if error is None else "unanswered")
        self._agents.record_canary(instance, error, seconds=self._now() - began)

    def _make_attempt(self, instance: Instance) -> Attempt:
        task = f"{CANARY}:{self._random.getrandbits(64):016x}"  # no task's id: a worker repeats the answers it has
        request = StepRequest(task_id=task, step_id=CANARY, capability=CANARY)
        envelope = Envelope(task=task, step=CANARY, attempt=1, milliseconds=round(ANSWER_SECONDS * 1000))
        return Attempt(instance, request, envelope, 2 * ANSWER_SECONDS, on_progress=lambda _: None)


def _find_error(call: asyncio.Task[object]) -> str | None:
    """Why the agent has not answered, if it has not; a busy one, or one that refuses canaries, has.

    Raises `AgentReplaced` and `CallNotSent`.
    """
    try:
        call.result()
    except (AgentReplaced, CallNotSent):
        raise
    except (AgentBusy, AgentRefused):
        return None
    except StepFailure as exc:
        return exc.detail
    return None
