"""What can be done on the console's pages besides asking, in Chromium, one click after the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from coordinator.access.keys import make_key
from tests.support.fakes import Network, Suite, agent, serving

pytestmark = pytest.mark.timeout(180)


async def log_in(page: Page, url: str, key: str, path: str) -> None:
    await page.goto(f"{url}{path}")
    await page.get_by_label("Key").fill(key)
    await page.get_by_role("button", name="Log in").click()


async def test_agent_is_drained_resumed_and_removed(page: Page, network: Network) -> None:
    """By the operator; each page says at once what it is like now."""
    suite = Suite(network, agent("painter", "paint"), api_key="key")
    async with suite, serving(suite.app, lifespan=False) as url:
        await log_in(page, url, "key", "/console/agents")
        await page.get_by_role("link", name="painter").click()
        await page.get_by_role("button", name="Drain").click()
        await expect(page.locator("h1 .badge")).to_have_text("draining", timeout=60_000)
        await page.get_by_role("button", name="Give it steps again").click()
        await expect(page.locator("h1 .badge")).to_have_text("healthy", timeout=60_000)
        await page.get_by_role("button", name="Remove").click()

        await expect(page.locator("h1")).to_have_text("Agents")


async def test_key_that_reads_is_offered_nothing_else(page: Page, network: Network, tmp_path: Path) -> None:
    """No form, no button that changes anything; what it may see is all there."""
    keys = tmp_path / "keys"
    looks = make_key(keys, "looker", ["read"])
    async with Suite(network, agent("painter", "paint"), api_key="key", keys_file=keys) as suite:
        suite.client.headers["Authorization"] = "Bearer key"
        task = await suite.execute("Paint", plan=[{"id": "paint", "capability": "paint"}])
        painter = (await suite.agents())["painter"].agent_id
        async with serving(suite.app, lifespan=False) as url:
            await log_in(page, url, looks, f"/console/tasks/{task.task_id}?step=paint")
            await expect(page.locator("#step")).to_be_visible()
            buttons = [await page.locator("main button:visible").all_text_contents()]
            for path in ("/console/", f"/console/agents/{painter}"):
                await page.goto(f"{url}{path}")
                await expect(page.locator("h1")).to_be_visible()
                buttons.append(await page.locator("main button:visible").all_text_contents())

    assert buttons == [["Copy as curl"], [], []]


async def test_question_is_changed_and_asked_again(page: Page, suite: Suite, url: str) -> None:
    """The form of the first page has the text of the task; what is asked from it is a task of its own."""
    task = await suite.execute("Why are there tides?")
    await page.goto(f"{url}/console/tasks/{task.task_id}")
    await page.get_by_role("link", name="Change the question").click()
    await expect(page.get_by_label("What do you want to know?")).to_have_value("Why are there tides?")
    await page.get_by_label("What do you want to know?").fill("Why are there tides twice a day?")
    await page.get_by_role("button", name="Ask").click()

    await expect(page.locator("h1")).to_have_text("Why are there tides twice a day?")
    assert task.task_id not in page.url


async def test_task_runs_again_whole_with_more_time(page: Page, suite: Suite, url: str) -> None:
    task = await suite.execute("Why are there tides?")
    await page.goto(f"{url}/console/tasks/{task.task_id}")
    await page.get_by_text("Run again from another step, or with more time").click()
    await page.get_by_label("Seconds until the answer").fill("77")
    await page.locator("#again").get_by_role("button", name="Run again").click()

    await expect(page.locator(".facts").nth(1)).to_contain_text("Runs again, as")
    await expect(page.locator(".facts").first).to_contain_text("of 1 min 17 s")
