"""Places: an agent that hangs costs the others nothing, and a task that only waits for it holds none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.agent import Agent, Context, Reply
from shared.agent_loop.peers import CoordinatorPeers, Delegation
from shared.contracts import StepRequest
from tests.support.fakes import Held, Network, Suite, agent, eventually

HUNG = [{"id": "h", "agent": "hung"}]
WELL = [{"id": "w", "agent": "well"}]
LATER = {"Prefer": "respond-async"}


async def begin(suite: Suite, many: int, plan: list[dict[str, Any]], **fields: Any) -> list[str]:
    """So many tasks, accepted in this order."""
    return [await suite.begin(plan=plan, **fields) for _ in range(many)]


def held(suite: Suite) -> dict[str, int]:
    return suite.services.admission.places.bulkhead.held


def delegating(network: Network, name: str, to: str) -> Agent:
    """An agent that has another one do it."""

    async def run(step: StepRequest, ctx: Context) -> Reply:
        async with CoordinatorPeers((to,), url="http://coordinator", inner=network) as peers:
            return Reply((await peers.ask(Delegation(to, step.task_description, ctx.envelope), ctx)).text)

    return agent(name, f"{name}-work", run)


async def test_hung_agent_leaves_half_of_the_places(network: Network) -> None:
    """70 long tasks for an agent that hangs: every one of 160 for another agent is done."""
    hung = Held()
    async with Suite(network, agent("hung", "hang", hung), agent("well", "work")) as suite:
        await begin(suite, 70, HUNG, timeout_seconds=600)
        await eventually(lambda: len(hung.began) == 32)

        answers = await asyncio.gather(*(suite.execute(plan=WELL, timeout_seconds=60) for _ in range(160)))

        assert {a.status for a in answers} == {"completed"}
        assert (await suite.client.get("/stats")).json()["now"] == {"running": 32, "queued": 38}
        assert len(hung.began) == 32
        hung.let_go.set()
        await eventually(lambda: len(hung.began) == 70)


async def test_agent_alone_gets_every_place(network: Network) -> None:
    """An agent that answers is lent what no other wants, and keeps it from nobody."""
    slow = Held()
    async with Suite(network, agent("slow", "work", slow), agent("well", "w"), max_concurrent_tasks=8) as suite:
        for _ in range(4):  # answers while it has all it may have
            slow.let_go.clear()
            before = len(slow.began)
            tasks = await begin(suite, 8, [{"id": "s", "capability": "work"}])
            await eventually(lambda before=before: len(slow.began) > before + 3)
            slow.let_go.set()
            for task in tasks:
                await suite.ended(task)
        slow.let_go.clear()
        await begin(suite, 12, [{"id": "s", "capability": "work"}])
        await eventually(lambda: held(suite) == {"slow": 8})

        assert (await suite.execute(plan=WELL)).status == "completed"

        slow.let_go.set()


async def test_step_beyond_the_share_gives_its_place_back(network: Network) -> None:
    """A task whose next agent hangs waits without a place, and goes on where it was."""
    hung = Held()
    plan = [*WELL, {"id": "h", "agent": "hung", "needs": ["w"]}]
    async with Suite(network, agent("hung", "hang", hung), agent("well", "work"), max_concurrent_tasks=4) as suite:
        tasks = await begin(suite, 9, plan)
        await eventually(lambda: len(network.calls("well")) == 9)
        await eventually(lambda: suite.services.admission.running == 2)
        assert suite.services.admission.queued == 7

        hung.let_go.set()
        assert {(await suite.ended(t)).status for t in tasks} == {"completed"}

    assert len(network.calls("well")) == 9
    assert suite.services.admission.running == suite.services.admission.queued == 0


async def test_other_steps_of_a_task_go_on(network: Network) -> None:
    """A plan with a step that must wait is carried on with the others, and holds a place only for these."""
    hung, other = Held(), Held()
    plan = [{"id": "h", "agent": "hung"}, {"id": "o", "agent": "other"}, {"id": "w", "agent": "well", "needs": ["o"]}]
    agents = agent("hung", "hang", hung), agent("other", "o", other), agent("well", "work")
    async with Suite(network, *agents, max_concurrent_tasks=4) as suite:
        await begin(suite, 2, HUNG)
        task = await suite.begin(plan=plan)
        await eventually(lambda: other.began)
        assert suite.services.admission.running == 3

        other.let_go.set()
        await eventually(lambda: len(network.calls("well")) == 1)
        await eventually(lambda: suite.services.admission.running == 2)

        hung.let_go.set()
        assert (await suite.ended(task)).status == "completed"


async def test_delegated_steps_count_at_their_agent(network: Network) -> None:
    """Agents that all delegate to one that hangs leave half of the places to others, and all end."""
    hung = Held()
    asking = [delegating(network, name, "hung") for name in ("first", "second", "third")]
    async with Suite(
        network, agent("hung", "hang", hung), agent("well", "w"), *asking, max_concurrent_tasks=4
    ) as suite:
        tasks = [await suite.begin(plan=[{"id": "d", "agent": a.name}]) for a in asking * 3]
        await eventually(lambda: len(hung.began) == 2)

        assert (await suite.execute(plan=WELL)).status == "completed"
        assert len(hung.began) == 2

        hung.let_go.set()
        assert {(await suite.ended(t)).status for t in tasks} == {"completed"}
    assert suite.services.admission.running == suite.services.admission.queued == 0


async def test_places_full_of_delegating_steps_move(network: Network) -> None:
    """Children need no place of their own: all end, however many wait for children."""
    async with Suite(network, delegating(network, "asks", "well"), agent("well", "w"), max_concurrent_tasks=2) as suite:
        answers = await asyncio.gather(*(suite.execute(plan=[{"id": "d", "agent": "asks"}]) for _ in range(12)))

    assert {a.status for a in answers} == {"completed"}


async def cancel(suite: Suite, task: str) -> None:
    await suite.client.post(f"/tasks/{task}/cancel")


async def wait(suite: Suite, task: str) -> None:
    """Until its deadline."""


@pytest.mark.parametrize(("ends", "status"), [(cancel, "cancelled"), (wait, "partial")])
async def test_task_ends_while_it_waits_without_a_place(
    network: Network, ends: Callable[[Suite, str], Awaitable[None]], status: str
) -> None:
    """Cancelled or out of time, it leaves nothing behind."""
    hung = Held()
    plan = [*WELL, {"id": "h", "agent": "hung", "needs": ["w"]}]
    async with Suite(network, agent("hung", "hang", hung), agent("well", "work"), max_concurrent_tasks=2) as suite:
        await suite.begin(plan=HUNG)
        task = await suite.begin(plan=plan, timeout_seconds=2 if status == "partial" else 60)
        await eventually(lambda: suite.services.admission.queued == 1)
        await ends(suite, task)

        view = await suite.ended(task)

        assert view.status == status
        now = suite.services.admission
        assert (now.running, now.queued, held(suite)) == (1, 0, {"hung": 1})
    if status == "partial":
        assert "Other steps held all that agent 'hung' may take" in view.missing[0].why
