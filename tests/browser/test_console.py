"""The console in Chromium: what people see and do on its pages."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page, expect

from shared.agent import Context, Reply
from shared.contracts import StepRequest
from shared.errors import WorkerFault
from tests.support.fakes import Held, Network, Suite, agent

pytestmark = pytest.mark.timeout(180)
HELD_PLAN = [{"id": "paint", "capability": "paint"}]


async def test_address_leads_to_an_answer(page: Page, suite: Suite, url: str) -> None:
    """A newcomer types the address, asks, and reads the report on the page that follows."""
    await page.goto(url)
    await page.get_by_label("What do you want to know?").fill("Why are there tides?")
    await page.get_by_role("button", name="Ask").click()

    await expect(page.get_by_role("heading", level=1)).to_have_text("Why are there tides?")
    await expect(page.locator(".facts .badge")).to_have_text("completed", timeout=60_000)
    await expect(page.locator(".report")).to_contain_text("the moon pulls the sea")


async def test_a_page_follows_its_task(page: Page, suite: Suite, url: str) -> None:
    """The page of a task that runs shows its end without being loaded again, and details that were opened stay open."""
    held = Held()
    await suite.add(agent("painter", "paint", held))
    task_id = await suite.begin("Paint", plan=HELD_PLAN, timeout_seconds=300)
    await page.goto(f"{url}/console/tasks/{task_id}")
    await page.get_by_text("in the journal").click()
    await expect(page.locator(".facts .badge")).to_have_text("running")

    held.let_go.set()

    await expect(page.locator(".facts .badge")).to_have_text("completed", timeout=60_000)
    await expect(page.get_by_text("task.finished")).to_be_visible()


async def test_cancel_ends_the_task(page: Page, suite: Suite, url: str) -> None:
    """A click on Cancel ends the task, and its page says so."""
    held = Held()
    await suite.add(agent("painter", "paint", held))
    task_id = await suite.begin("Paint", plan=HELD_PLAN, timeout_seconds=300)
    await page.goto(f"{url}/console/tasks/{task_id}")

    await page.get_by_role("button", name="Cancel").click()

    await expect(page.locator(".facts .badge")).to_have_text("cancelled", timeout=60_000)
    assert (await suite.task(task_id)).status == "cancelled"


async def test_list_is_searched_and_follows(page: Page, suite: Suite, url: str) -> None:
    """The list has the tasks that fit, and a new one that fits appears by itself."""
    await suite.execute("Tides of the sea")
    await suite.execute("Winds of the north")
    await page.goto(f"{url}/console/tasks")
    await page.get_by_label("Words").fill("tides")
    await page.get_by_role("button", name="Search").click()
    await expect(page.locator(".tasks tbody tr")).to_have_count(1)

    await suite.execute("More tides")

    await expect(page.locator(".tasks tbody tr")).to_have_count(2, timeout=60_000)


async def test_dying_agents_are_seen(page: Page, suite: Suite, network: Network, url: str) -> None:
    """While tasks run and an agent dies, the pages of agents and of health say so by themselves."""
    await page.goto(f"{url}/console/agents")
    await expect(page.locator(".agents .badge.healthy")).to_have_count(3, timeout=60_000)
    health = await page.context.new_page()
    await health.goto(f"{url}/console/health")
    running = [asyncio.create_task(suite.execute(f"Question {n}")) for n in range(20)]

    network.unplug("reporter")

    await asyncio.gather(*running)
    await expect(page.locator(".agents .badge.unreachable")).to_have_count(1, timeout=90_000)
    await health.bring_to_front()
    await expect(health.get_by_text("There are problems")).to_be_visible(timeout=90_000)


async def test_failed_step_runs_again_with_another_input(page: Page, suite: Suite, url: str) -> None:
    """The page says why it failed; with an input that is mended there, the task completes."""

    async def paint(step: StepRequest, ctx: Context) -> Reply:
        if step.input != {"colour": "red"}:
            raise WorkerFault("There is no blue.", retryable=False)
        return Reply("a red wall")

    await suite.add(agent("painter", "paint", paint))
    plan = [{"id": "look", "capability": "research"}, {"id": "paint", "capability": "paint", "needs": ["look"]}]
    task = await suite.execute("Paint", plan=[plan[0], plan[1] | {"input": {"colour": "blue"}}])
    await page.goto(f"{url}/console/tasks/{task.task_id}?step=paint")
    await expect(page.locator(".why")).to_contain_text("There is no blue.")

    await page.get_by_text("From this step, with another input").click()
    await page.get_by_label("Input, as JSON or as text").fill('{"colour": "red"}')
    await page.locator("#step").get_by_role("button", name="Run again from paint").click()

    await expect(page.locator(".facts .badge")).to_have_text("completed", timeout=60_000)
    await expect(page.locator(".fall")).to_contain_text("taken over from")


async def test_curl_command_asks_the_same(page: Page, suite: Suite, url: str) -> None:
    """What the button copies is a command with the task in it."""
    task = await suite.execute("It's a tide")
    await page.goto(f"{url}/console/tasks/{task.task_id}")

    await page.get_by_role("button", name="Copy as curl").click()

    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl -s ")
    assert "It" in copied
    assert "/execute_task" in copied


async def test_scripts_in_a_task_stay_text(page: Page, suite: Suite, url: str) -> None:
    """Whatever a task, its report or an agent says is shown and not run."""
    said = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    await suite.add(agent("mocker", "mock", Held(output={"report": said}, let_go=_set())))
    task = await suite.execute(said, plan=[{"id": "one", "capability": "mock"}])

    await page.goto(f"{url}/console/tasks/{task.task_id}?step=one")

    await expect(page.locator("h1")).to_contain_text("<script>")
    assert "owned" not in (await page.title()).partition("<")[0]
    assert await page.locator("main script, main img").count() == 0


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


async def test_docs_are_tried_without_internet(page: Page, suite: Suite, url: str) -> None:
    """The example of the first route can be sent as it stands."""
    await page.goto(f"{url}/docs#/tasks/execute_task_execute_task_post")
    await page.get_by_role("button", name="Execute", exact=True).click()

    await expect(page.locator(".live-responses-table tbody .response-col_status").first).to_contain_text(
        "200", timeout=60_000
    )
