"""Recorded tasks of many kinds: a suite on virtual time with RECORD=on, and the agents that work in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import httpx
from pydantic import JsonValue

from coordinator.app import create_app
from coordinator.recording.export import export
from coordinator.replay.kept_journal import KeptJournal
from shared.agent import Agent, Context, Reply
from shared.contracts import StepRequest
from shared.errors import WorkerFault
from shared.memory.store import Memory
from shared.models.model import LanguageModel
from shared.models.servers.turns import ToolSpec
from shared.report.model import Evidence
from tests.simulation.world.determinism import determined
from tests.simulation.world.virtual_time import VirtualLoop
from tests.support.fakes import Network, Suite, agent
from workers import analyzer, reporter, researcher
from workers.agent import agent as generic_agent
from workers.generic.settings import GenericSettings
from workers.providers.found import Found
from workers.providers.provider import SearchRequest
from workers.providers.taped import Taped

Play = Callable[["RecordedSuite"], Awaitable[list[str]]]


class RecordedSuite(Suite):
    """A suite that records, and whose coordinator can be killed."""

    def __init__(self, random: Random, **settings: Any) -> None:
        self.random = random
        self.journal = KeptJournal()
        self._life = contextlib.AsyncExitStack()
        super().__init__(Network(), app={"database": self.journal, "boot": lambda: None}, record=True, **settings)

    async def __aenter__(self) -> RecordedSuite:
        await super().__aenter__()
        return self

    async def kill(self, *, seconds: float) -> None:
        """The coordinator dies at once, and is started again after so long."""
        self.journal.killed = True
        self.network.unplug("coordinator")
        dying = self.services
        await dying.dispatcher.close()
        await asyncio.sleep(seconds)
        self.journal.killed = False
        self.app = create_app(self.settings, inner=self.network, **self._more)
        await self._stack.enter_async_context(self.app.router.lifespan_context(self.app))
        self.network.host("coordinator", self.app)
        self.network.plug("coordinator")
        self.client._transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self.services = self.app.get_opened()

    async def export(self, task_id: str) -> dict[str, Any]:
        task = await self.services.dispatcher.get_task(task_id)
        return await export(task, self.services.store)

    def cut(self, host: str, seconds: float) -> None:
        """The next step at a host is done, and its answer lost after so long."""
        real = self.network._hosts[host]

        async def answering(request: httpx.Request) -> httpx.Response:
            self.network.plug(host)
            working = asyncio.create_task(real.handle_async_request(request))
            await asyncio.sleep(seconds)
            working.add_done_callback(lambda done: done.exception())
            raise httpx.ReadError("Connection reset by peer")

        self.network.answer(host, answering)


# --- agents whose code a replay runs ---------------------------------------------------------------


async def work(step: StepRequest, ctx: Context) -> Reply:
    """Takes as long as its input says, tells of it, and fails as often as that says."""
    given = step.input if isinstance(step.input, dict) else {"seconds": 2.0 if step.input == "Slowly." else 0.01}
    await ctx.progress("Begun", 0.1)
    await asyncio.sleep(given.get("seconds", 0.01))
    if step.attempt <= given.get("fails", 0):
        raise WorkerFault(f"Attempt {step.attempt} has no luck.", retryable=True)
    if given.get("refuses"):
        raise WorkerFault("Not this one.")
    return Reply({"did": given.get("what", step.task_description), "upstream": sorted(step.upstream)})


class Tools:
    """A tool that counts, and one that fails."""

    async def specs(self) -> list[ToolSpec]:
        return [ToolSpec("count", "Counts ships."), ToolSpec("sink", "Sinks one.")]

    def away(self) -> dict[str, str]:
        return {}

    async def call(self, name: str, arguments: Any, *, seconds: float) -> JsonValue:
        await asyncio.sleep(0.3)
        if name == "sink":
            raise WorkerFault("It does not sink.")
        return {"ships": 7, "at": dict(arguments)}


class Library:
    """A provider of one passage about whatever is asked."""

    name = "library"

    async def search(self, ask: SearchRequest, ctx: Context) -> Found:
        await asyncio.sleep(0.2)
        said = f"{ask.question.strip('?')} because the moon pulls the sea. The sea follows the moon twice a day."
        one = Evidence(
            id="tides#1",
            title="Tides",
            location="tides.md",
            provider="library",
            score=0.9,
            excerpt=said,
            text=said,
            heading="Tides",
            question=ask.question,
            language="en",
        )
        return Found([one], "1 passage in 1 document")

    async def state(self) -> None:
        return None

    async def place(self, id: str) -> None:
        return None


def make_researcher(model: LanguageModel | None = None) -> Agent:
    """The researcher with the library, whose recipe says that it is local."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[researcher.ResearcherServices]:
        yield researcher.ResearcherServices(Taped(Library()), model)

    return researcher._agent(opened, {"provider": "library", "limit": 10, "model": None}, dict)


def make_thinker(name: str, *script: Any, peers: str = "", tools: bool = False) -> Callable[[Network], Agent]:
    """The generic agent with a scripted model."""

    def make(network: Network) -> Agent:
        settings = GenericSettings(
            _env_file=None, agent_name=name, peer_agents=peers, coordinator_url="http://coordinator"
        )
        model, memory = LanguageModel(script=script), Memory(name, None, enabled=False)
        return generic_agent(settings, model, memory, inner=network, tools=Tools() if tools else None)

    return make


def call(name: str, **arguments: Any) -> dict[str, Any]:
    """A model's reply that calls a tool."""
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


WORKER = agent("worker", "work", work, max_concurrency=4)
TWIN = agent("twin", "twin", work, idempotent=True)
GIVEN = {"worker": WORKER, "twin": TWIN}
TEAM = (WORKER, make_researcher(), analyzer.agent(Path()), reporter.agent(Path()))


def record(play: Play, seed: int, **settings: Any) -> list[dict[str, Any]]:
    """The recordings of the tasks that `play` has run, on virtual time."""
    loop = VirtualLoop(virtual_seconds=3_000.0, real_seconds=120.0)

    async def run() -> list[dict[str, Any]]:
        async with RecordedSuite(Random(seed), **settings) as suite:
            for one in TEAM:
                await suite.add(one)
            return [await suite.export(task_id) for task_id in await play(suite)]

    asyncio.set_event_loop(loop)
    try:
        with determined(seed, loop):
            found = loop.run_until_complete(run())
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            return found
    finally:
        asyncio.set_event_loop(None)
        loop.close()
