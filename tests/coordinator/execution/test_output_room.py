"""What agents answer stays within memory: outputs of a task together, and the words of one failure."""

from __future__ import annotations

import pytest

from coordinator.execution.output_room import MOST_OF_ALL, MOST_OF_TASK, SMALL_BYTES, OutputRoom
from shared.agent import Context, Reply
from shared.contracts import Missing, Status, StepRequest
from shared.errors import OutputTooLarge, WorkerFault
from tests.support.fakes import Network, Suite, agent

LARGE = 5_000_000


async def answers_much(step: StepRequest, ctx: Context) -> Reply:
    return Reply("x" * LARGE)


async def fails_at_length(step: StepRequest, ctx: Context) -> Reply:
    raise WorkerFault("x" * 3_900_000, type="No such type\n" * 100)


async def lacks_much(step: StepRequest, ctx: Context) -> Reply:
    return Reply("done", missing=[Missing(what=f"{n}".ljust(3_000, "w"), why="y" * 3_000) for n in range(200)])


async def test_outputs_of_a_task_are_bounded() -> None:
    """Of forty outputs of 5 MB each, three fit; the other steps fail by name, and the coordinator goes on."""
    plan = [{"id": f"s{n}", "capability": "work"} for n in range(40)]
    async with Suite(Network(), agent("large", "work", answers_much)) as suite:
        task = await suite.execute(plan=plan, timeout_seconds=60)
        again = await suite.execute(plan=plan[:1], timeout_seconds=60)

    completed = [step for step in task.results if step.status is Status.COMPLETED]
    failed = [step.error for step in task.results if step.error is not None]
    assert task.status is Status.PARTIAL
    assert len(completed) == MOST_OF_TASK // LARGE
    assert {error.type for error in failed} == {"limit_reached"}
    assert "16,000,000 bytes" in failed[0].detail
    assert again.status is Status.COMPLETED  # the room of a task that has ended is free


async def test_words_of_a_failure_are_bounded() -> None:
    """An agent's detail and type go into the log, the journal and `/agents`."""
    plan = [{"id": "s", "capability": "work"}]
    async with Suite(Network(), agent("talker", "work", fails_at_length)) as suite:
        task = await suite.execute(plan=plan)
        agents = (await suite.client.get("/agents")).text
        stats = (await suite.client.get("/stats")).text

    error = task.results[0].error
    assert error is not None
    assert (error.type, len(error.detail)) == ("agent_error", 2_000)
    assert len(agents) < 10_000
    assert len(stats) < 20_000


async def test_missing_things_are_bounded() -> None:
    async with Suite(Network(), agent("poor", "work", lacks_much)) as suite:
        task = await suite.execute(plan=[{"id": "s", "capability": "work"}])

    assert {(len(one.what), len(one.why)) for one in task.missing} == {(2_000, 2_000)}
    assert len(task.missing) == 100


def test_room_of_all_tasks_is_bounded() -> None:
    """Small outputs fit beside the large ones of other tasks."""
    room = OutputRoom()
    for number in range(MOST_OF_ALL // LARGE):
        room.take(f"task-{number}", LARGE)

    with pytest.raises(OutputTooLarge, match="all open tasks"):
        room.take("late", LARGE)
    room.take("late", SMALL_BYTES)
    room.give_back("task-0")
    room.take("late", LARGE - SMALL_BYTES)
