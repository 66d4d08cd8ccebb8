"""The kinds of recorded tasks: each function runs some of one kind, with details that chance draws."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.coordinator.replay.world import TWIN, Play, RecordedSuite, call, make_thinker


def step(id: str, *needs: str, capability: str = "work", **given: Any) -> dict[str, Any]:
    """A step of a plan."""
    more = {name: given.pop(name) for name in ("timeout_seconds", "on_failure") if name in given}
    return {"id": id, "capability": capability, "needs": list(needs), "input": given, **more}


async def default(suite: RecordedSuite) -> list[str]:
    """The built-in agents: research, analysis and report."""
    asked = ("Why are there tides?", "- Why are there tides?\n- What is a neap tide?", "How high is a spring tide?")
    return [(await suite.execute(text)).task_id for text in asked]


async def plans(suite: RecordedSuite) -> list[str]:
    """Chains and fans, whose steps end in whatever order."""
    done = []
    for _ in range(4):
        fan = [step(f"s{n}", seconds=suite.random.random()) for n in range(suite.random.randint(2, 5))]
        last = step("last", *(one["id"] for one in fan), seconds=0.1)
        done.append((await suite.execute(plan=[*fan, last])).task_id)
    return done


async def retry(suite: RecordedSuite) -> list[str]:
    """Attempts that fail and are made again, and some that are not."""
    plan = [step("a", fails=1), step("b", "a", fails=2, seconds=0.2), step("c", refuses=True, on_failure="continue")]
    return [(await suite.execute(plan=plan[: 1 + n], timeout_seconds=60)).task_id for n in range(3)]


async def hedge(suite: RecordedSuite) -> list[str]:
    """The first call hangs, and a second one answers."""
    for host in ("one", "two"):
        await suite.add(TWIN, host=host)
    for _ in range(100):
        await suite.execute(plan=[step("a", capability="twin")])
    done = []
    for host in ("one", "two"):
        for instance in suite.services.agents.registry.list_all():
            instance.slow_seconds = 0.0
            instance.latency = 0.001 if host in instance.registration.endpoint else 10.0
        suite.network.delay(host, 30.0)
        done.append((await suite.execute(plan=[step("a", capability="twin")], timeout_seconds=60)).task_id)
        suite.network.plug(host)
    return done


async def delegation(suite: RecordedSuite) -> list[str]:
    """One agent asks another, or two, one of which fails."""
    asks = {"tool_calls": [{"name": f"delegate_to_{n}", "arguments": {"task": "Count."}} for n in ("worker", "mate")]}
    await suite.add(make_thinker("mate", call("sink"), "Nobody sank.", tools=True)(suite.network))
    await suite.add(make_thinker("captain", asks, "Seven.", peers="worker,mate")(suite.network))
    await suite.add(
        make_thinker("admiral", call("delegate_to_captain", task="Sail."), "Aye.", peers="captain")(suite.network)
    )
    return [(await suite.execute(plan=[{"id": "a", "agent": name}])).task_id for name in ("captain", "admiral")]


async def tool(suite: RecordedSuite) -> list[str]:
    """A model calls tools, and one of them fails."""
    make = make_thinker("mate", call("count", harbour="Kiel"), call("sink", ship=1), "Seven ships.", tools=True)
    await suite.add(make(suite.network))
    return [(await suite.execute(text, plan=[{"id": "a", "agent": "mate"}])).task_id for text in ("Count.", "Sail.")]


async def model(suite: RecordedSuite) -> list[str]:
    """A model answers in words, and says nothing."""
    await suite.add(make_thinker("poet", "The sea is wide.")(suite.network))
    await suite.add(make_thinker("mute", "")(suite.network))
    return [
        (await suite.execute(plan=[{"id": "a", "agent": name}, step("b", "a")])).task_id for name in ("poet", "mute")
    ]


async def cancel(suite: RecordedSuite) -> list[str]:
    """A caller stops the task at different moments."""
    done = []
    for seconds in (0.0, 0.3, 1.2, 2.5):
        plan = [step("a", seconds=1.0), step("b", "a", seconds=1.0), step("c", seconds=3.0)]
        task = await suite.begin(plan=plan)
        await asyncio.sleep(seconds)
        await suite.client.post(f"/tasks/{task}/cancel")
        done.append((await suite.ended(task)).task_id)
    return done


async def kill(suite: RecordedSuite) -> list[str]:
    """The coordinator is killed in the middle, and takes the tasks up when it is back."""
    plan = [step("a", seconds=0.5), step("b", "a", seconds=2.0), step("c", seconds=1.2), step("d", "b", "c")]
    tasks = [await suite.begin(plan=plan, timeout_seconds=60) for _ in range(3)]
    await asyncio.sleep(suite.random.uniform(0.8, 1.1))
    await suite.kill(seconds=suite.random.uniform(0.5, 3.0))
    return [(await suite.ended(task, seconds=120)).task_id for task in tasks]


async def kill_delegation(suite: RecordedSuite) -> list[str]:
    """The coordinator is killed while one agent works for another."""
    asks = call("delegate_to_worker", task="Slowly.")
    await suite.add(make_thinker("captain", asks, "Aye.", peers="worker")(suite.network))
    tasks = [await suite.begin(plan=[{"id": "a", "agent": "captain"}], timeout_seconds=60) for _ in range(2)]
    await asyncio.sleep(1.0)
    await suite.kill(seconds=suite.random.uniform(0.5, 3.0))
    return [(await suite.ended(task, seconds=120)).task_id for task in tasks]


async def late(suite: RecordedSuite) -> list[str]:
    """Answers that come too late, or are lost and asked for again."""
    slow = [step("a", seconds=3.0, timeout_seconds=0.5, on_failure="continue"), step("b", "a")]
    done = [(await suite.execute(plan=slow)).task_id]
    for seconds in (0.1, 0.8):
        suite.cut("worker", seconds)
        done.append((await suite.execute(plan=[step("a", seconds=0.4), step("b", "a")])).task_id)
        await suite.sees("worker", "healthy")
    done.append((await suite.execute(plan=[step("a", seconds=9.0), step("b", seconds=0.1)], timeout_seconds=2)).task_id)
    return done


async def nobody(suite: RecordedSuite) -> list[str]:
    """No agent can do it, or none that is there."""
    plan = [step("a", capability="sail", on_failure="continue"), step("b", "a")]
    done = [(await suite.execute(plan=plan)).task_id]
    suite.network.unplug("worker")
    done.append((await suite.execute(plan=[step("a"), step("b", "a")], timeout_seconds=4)).task_id)
    suite.network.plug("worker")
    await suite.sees("worker", "healthy", seconds=60)
    return done


async def queued(suite: RecordedSuite) -> list[str]:
    """No place is free in time: the task ends as it waits."""
    blocking = [await suite.begin(plan=[step("a", seconds=5.0)], timeout_seconds=60) for _ in range(64)]
    done = [(await suite.execute(plan=[step("a")], timeout_seconds=seconds)).task_id for seconds in (0.5, 30.0)]
    for task in blocking:
        await suite.ended(task, seconds=600)
    return done


async def budget(suite: RecordedSuite) -> list[str]:
    """The task has fewer calls than steps."""
    plan = [step("a", fails=1), step("b", "a"), step("c", "b"), step("d", "c")]
    return [(await suite.execute(plan=plan, max_calls=calls)).task_id for calls in (2, 3)]


KINDS: tuple[Play, ...] = (
    default, plans, retry, hedge, delegation, tool, model, cancel, kill, kill_delegation, late, nobody, queued, budget
)  # fmt: skip
