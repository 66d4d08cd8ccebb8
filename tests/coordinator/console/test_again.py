"""Why a task went wrong, and running it again, on its page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from coordinator.access.keys import make_key
from coordinator.console.tasks.again import FIELD, read_wish, write_input
from coordinator.tasks.task import Step, Task
from shared.agent import Context, Reply
from shared.contracts import StepRequest
from shared.errors import WorkerFault
from tests.coordinator.console.test_pages import HTML, KEY, log_in, token, visitor_of
from tests.support.fakes import FILE_AND_SERVER, Held, Network, Suite, agent, eventually

PLAN = [
    {"id": "first", "capability": "paint", "input": {"colour": "blue"}},
    {"id": "second", "capability": "break", "needs": ["first"]},
]


async def breaks(step: StepRequest, ctx: Context) -> Reply:
    raise WorkerFault("The brush is broken.", retryable=False)


async def fail(suite: Suite) -> str:
    """A task of which one step completed and one failed."""
    await suite.add(agent("painter", "paint"))
    await suite.add(agent("breaker", "break", breaks))
    task = await suite.execute("Paint", plan=PLAN)
    assert task.status == "partial"
    return task.task_id


async def send(suite: Suite, task_id: str, *, at: str = "", once: str = "x", **fields: str) -> httpx.Response:
    page = await suite.client.get("/console/", headers=HTML)
    form = {"token": token(page), "once": once, **fields}
    return await suite.client.post(f"/console/tasks/{task_id}/rerun{at}", data=form, headers=HTML)


async def test_page_says_why_and_offers_more(suite: Suite) -> None:
    """The first cause and what to do about it stand on the page; a task without trouble says nothing."""
    task_id, well = await fail(suite), await suite.execute()

    page = await suite.client.get(f"/console/tasks/{task_id}", headers=HTML)
    other = await suite.client.get(f"/console/tasks/{well.task_id}", headers=HTML)

    assert "Why it is partial" in page.text
    assert "The brush is broken." in page.text.partition("Where the time went")[0]
    assert "Run again from second" in page.text
    assert 'id="why"' not in other.text


@FILE_AND_SERVER
async def test_step_runs_again_with_another_input(suite: Suite) -> None:
    """The steps before are taken over, and the page of the new task says from where."""
    task_id = await fail(suite)

    answer = await send(suite, task_id, at="?from_step=second", **{f"{FIELD}second": '{"brush": 2}'})

    new = await suite.services.dispatcher.get_task(answer.headers["location"].rpartition("/")[2])
    page = await suite.client.get(answer.headers["location"], headers=HTML)
    assert (answer.status_code, new.step("second").input) == (303, {"brush": 2})
    assert new.rerun is not None
    assert (new.rerun.of, dict(new.rerun.taken)) == (task_id, {"first": task_id})
    assert "taken over from" in page.text


@FILE_AND_SERVER
async def test_same_page_runs_it_once(suite: Suite) -> None:
    """A double click is one task; the page loaded again is another."""
    task_id = await fail(suite)

    answers = [await send(suite, task_id, at="?from_step=", once=once) for once in ("a", "a", "b")]

    assert len({answer.headers["location"] for answer in answers}) == 2


@FILE_AND_SERVER
async def test_what_cannot_run_again_is_said(suite: Suite) -> None:
    """A task that runs, a step that is none of it, an agent that is gone, and a number that is none."""
    await suite.add(agent("holder", "hold", Held()))
    app = await suite.add(agent("goer", "go"))
    running = await suite.begin(plan=[{"id": "a", "capability": "hold"}], timeout_seconds=300)
    gone = (await suite.execute(plan=[{"id": "a", "agent": "goer"}])).task_id
    await suite.remove("goer")
    await eventually(lambda: "goer" not in suite.services.agents.registry.list_names())
    assert app is not None

    statuses = [
        (await send(suite, running)).status_code,
        (await send(suite, gone, at="?from_step=b")).status_code,
        (await send(suite, gone, at="?from_step=a")).status_code,
        (await send(suite, gone, timeout_seconds="soon")).status_code,
        (await send(suite, "nobody")).status_code,
    ]

    assert statuses == [409, 422, 422, 400, 404]


def wish_of(given: Any, text: str) -> Any:
    task = Task("t", "What?", 0.0, 9.0, steps=(Step(id="a", capability="x", input=given),))
    return read_wish(task, {f"{FIELD}a": text}, "a").inputs


def test_unchanged_input_is_not_sent() -> None:
    """Whatever a browser makes of the ends of its lines and of marks that are not shown."""
    assert wish_of("one\r\ntwo\rthree", "one\ntwo\nthree") == {}
    assert wish_of("one\x00\u202etwo", write_input(Step(id="a", input="one\x00\u202etwo")) or "") == {}
    assert wish_of(None, "") == {}
    assert wish_of("42", "42") == {}


def test_changed_input_is_json_or_text() -> None:
    assert wish_of(None, '{"a": 1}') == {"a": {"a": 1}}
    assert wish_of({"a": 1}, "plain words") == {"a": "plain words"}


@FILE_AND_SERVER
async def test_recorded_task_can_be_replayed(network: Network, journal_url: str) -> None:
    """Its page shows the command and gives the recording as a file; that of a task without one does not."""
    async with Suite(network, agent("painter", "paint"), record="on", database_url=journal_url) as suite:
        task = await suite.execute(plan=[{"id": "a", "capability": "paint"}])
        page = await suite.client.get(f"/console/tasks/{task.task_id}", headers=HTML)
        file = await suite.client.get(f"/console/tasks/{task.task_id}/recording", headers=HTML)
    async with Suite() as suite:
        other = await suite.execute(plan=[{"id": "a", "capability": "fly"}])
        plain = await suite.client.get(f"/console/tasks/{other.task_id}", headers=HTML)

    assert f"muster replay {task.task_id}" in page.text
    assert (file.status_code, file.json()["task"]["id"]) == (200, task.task_id)
    assert f'{task.task_id}.json"' in file.headers["content-disposition"]
    assert "muster replay" not in plain.text


@FILE_AND_SERVER
async def test_question_can_be_changed(suite: Suite) -> None:
    """The form of the first page is filled with the question of the task."""
    task = await suite.execute("Why <is> it?", timeout_seconds=33)

    page = await suite.client.get(f"/console/?like={task.task_id}", headers=HTML)

    assert "Why &lt;is&gt; it?</textarea>" in page.text
    assert 'value="33"' in page.text


async def test_key_without_execute_runs_nothing_again(network: Network, tmp_path: Path) -> None:
    """It is offered no button, and its form is refused."""
    looks = make_key(tmp_path / "keys", "looker", ["read"])
    async with Suite(network, api_key=KEY, keys_file=tmp_path / "keys") as suite, visitor_of(suite) as visitor:
        suite.client.headers["Authorization"] = f"Bearer {KEY}"
        task = await suite.execute(plan=[{"id": "a", "capability": "fly"}])
        await log_in(visitor, looks)
        page = await visitor.get(f"/console/tasks/{task.task_id}")
        answer = await visitor.post(f"/console/tasks/{task.task_id}/rerun", data={"token": token(page)})

    assert ("Run again" in page.text, answer.status_code) == (False, 403)
