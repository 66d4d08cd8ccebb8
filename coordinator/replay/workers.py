"""Runs the real code of the workers for a replay: each agent is made again of its recipe, and answers in process."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import httpx
from pydantic_core import to_json

from coordinator.agent_calls.attempt import Attempt
from shared import logs
from shared.agent import Agent, Member
from shared.client import client as transport
from shared.contracts import StepResult
from shared.recording.tape import Tape
from shared.worker.execution import Opened
from shared.worker.steps import Steps

MOST = 1_000  # steps at once: what was refused is in the record


@dataclass(frozen=True)
class _Here(Opened):
    """What an agent of a replay has opened: it is the member that it was."""

    who: Member | None = None

    @property
    def member(self) -> Member | None:
        return self.who


class Workers:
    """The agents of one replay, opened when they are first needed; `given` ones, by name, need no recipe."""

    def __init__(
        self,
        stack: AsyncExitStack,
        *,
        given: Mapping[str, Agent],
        inner: httpx.AsyncBaseTransport,
        key_of: Callable[[str], bytes],
        now: Callable[[], float],
    ) -> None:
        self._stack = stack
        self._given = given
        self._inner = inner
        self._key_of = key_of
        self._now = now
        self._opened: dict[tuple[str, bytes], tuple[Agent, _Here]] = {}

    def find(self, name: str, recipe: Mapping[str, Any] | None) -> Agent | None:
        """The agent, of code that is here; None where the record has to answer for it."""
        if name in self._given:
            return self._given[name]
        if recipe is None:
            return None
        try:
            module = importlib.import_module(recipe["module"])
            agent: Agent = module.rebuild(recipe, inner=self._inner)
        except (ImportError, AttributeError, KeyError, ValueError) as exc:
            logs.get().warning("replay.agent_unknown", agent=name, why=f"{type(exc).__name__}: {exc}")
            return None
        return agent

    async def run(
        self, attempt: Attempt, recipe: Mapping[str, Any] | None, tape: Tape, *, as_attempt: int
    ) -> StepResult:
        """The result of a step, run anew; the agent must be one that `find` finds."""
        name = attempt.instance.name
        key = name, to_json(recipe, fallback=str)
        if key not in self._opened:
            agent = self.find(name, recipe)
            assert agent is not None
            state = await self._stack.enter_async_context(agent.open())
            http = await self._stack.enter_async_context(transport.make_client(policy="web", transport=self._inner))
            self._opened[key] = agent, _Here(state, http)
        agent, here = self._opened[key]
        who = Member(attempt.instance.id, self._key_of(attempt.instance.id))
        steps = Steps(agent, limit=MOST, now=self._now)
        request = attempt.request.model_copy(update={"attempt": as_attempt})
        run = steps.join(request, opened=replace(here, who=who), envelope=attempt.envelope, tape=tape)
        assert run.task is not None
        try:
            result = await run.task
        finally:
            run.cancel()
        return result.model_copy(update={"attempt": attempt.request.attempt})
