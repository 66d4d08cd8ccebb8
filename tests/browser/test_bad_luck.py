"""The console in Chromium with bad luck: dying agents under load, wrong clocks, two tabs, pages of others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Response
from playwright.async_api import Page, expect

from tests.support.fakes import Held, Network, Suite, agent, serving
from tests.support.processes import Agents, Coordinator

pytestmark = pytest.mark.timeout(300)
DAY_MS = 86_400_000
PLAN = [{"id": "paint", "capability": "paint"}]


async def test_two_tabs_show_the_same(page: Page, suite: Suite, url: str) -> None:
    """What is done in one is seen in the other by itself."""
    held = Held()
    await suite.add(agent("painter", "paint", held))
    task_id = await suite.begin("Paint", plan=PLAN, timeout_seconds=300)
    other = await page.context.new_page()
    for tab in (page, other):
        await tab.goto(f"{url}/console/tasks/{task_id}")
        await expect(tab.locator(".facts .badge")).to_have_text("running")

    await other.get_by_role("button", name="Cancel").click()

    await expect(other.locator(".facts .badge")).to_have_text("cancelled", timeout=60_000)
    await page.bring_to_front()
    await expect(page.locator(".facts .badge")).to_have_text("cancelled", timeout=60_000)


@pytest.mark.parametrize("wrong", [-DAY_MS, DAY_MS])
async def test_clock_of_the_browser_does_not_count(page: Page, network: Network, wrong: int) -> None:
    """Ages are the coordinator's, the page goes on following, and the session lasts."""
    async with Suite(network, api_key="key") as suite, serving(suite.app, lifespan=False) as url:
        headers = {"Authorization": "Bearer key"}
        now = await page.evaluate("Date.now()")
        await page.clock.install(time=(now + wrong) / 1000)
        await page.goto(f"{url}/console/tasks")
        await page.get_by_label("Key").fill("key")
        await page.get_by_role("button", name="Log in").click()
        await expect(page.locator("h1")).to_have_text("Tasks")

        await suite.execute("A day off", headers=headers, plan=[{"id": "one", "capability": "fly"}])

        await expect(page.locator(".tasks tbody tr")).to_have_count(1, timeout=60_000)
        await expect(page.locator(".tasks time")).to_have_text("just now")


async def test_pages_of_others_run_nothing(page: Page, network: Network) -> None:
    """A report and an agent's card with scripts, opened with a session: neither runs, so neither asks the API."""
    app = FastAPI()

    @app.get("/{path:path}")
    async def trap() -> Response:
        return Response("<h1>Trap</h1><script>document.body.textContent = 'ran'</script>", media_type="text/html")

    said = "<script>document.body.textContent = 'ran'</script><b onclick='x()'>bold</b>"
    output = Held({"report": f"# {said}"})
    output.let_go.set()
    network.host("trap", app)
    async with Suite(network, agent("mocker", "paint", output), api_key="key") as suite:
        suite.client.headers["Authorization"] = "Bearer key"
        known = await suite.register("trap", "http://trap", "x")
        await suite.sees("trap", "healthy")
        task = await suite.execute(said, plan=PLAN)
        async with serving(suite.app, lifespan=False) as url:
            await page.goto(f"{url}/console/tasks")
            await page.get_by_label("Key").fill("key")
            await page.get_by_role("button", name="Log in").click()
            await expect(page.locator("h1")).to_have_text("Tasks")
            for path in (f"agents/{known['agent_id']}/card", f"tasks/{task.task_id}/report.html"):
                quiet = await page.context.new_page()  # what is refused there would be reported of the fixture's page
                answer = await quiet.goto(f"{url}/console/{path}")
                assert answer is not None
                assert (answer.status, "sandbox" in answer.headers["content-security-policy"]) == (200, True)
                assert await quiet.evaluate("self.origin") == "null"
                assert "Trap" in (await quiet.content()) or "bold" in (await quiet.content())
                assert await quiet.locator("body").inner_text() != "ran"
                with pytest.raises(Exception, match="fetch"):
                    await quiet.evaluate(f"fetch('{url}/tasks').then(one => one.text())")


async def test_task_pruned_while_it_is_watched(page: Page, suite: Suite, url: str) -> None:
    """Its page stays as it was; what is clicked there says that the task is gone."""
    task = await suite.execute("Why are there tides?")
    await page.goto(f"{url}/console/tasks/{task.task_id}")
    await suite.services.store.prune(before=suite.services.wall() + 10)

    await expect(page.locator(".report")).to_contain_text("the moon pulls the sea")
    await page.get_by_role("button", name="Run again", exact=True).first.click()

    await expect(page.locator(".notice")).to_contain_text("There is no task")


async def test_killed_worker_is_seen_while_tasks_run(page: Page, tmp_path: Path) -> None:
    """Under load, a worker dies by `kill -9` and comes back: each open page shows it by itself, and no task is lost."""
    plan = [{"id": "work", "capability": "worker", "input": {"delay_ms": 400}}]
    body = {"task_description": "Work on it", "plan": plan, "timeout_seconds": 120}
    with Coordinator(tmp_path / "coordinator").start().ready() as coordinator:
        async with httpx.AsyncClient(base_url=coordinator.url, timeout=150) as client:
            with Agents(tmp_path / "first", coordinator.url) as agents:
                await asyncio.to_thread(agents.register)
                await page.goto(f"{coordinator.url}/console/agents")
                await expect(page.locator(".agents .badge.healthy")).to_have_count(2, timeout=60_000)
                load = [asyncio.create_task(client.post("/execute_task", json=body)) for _ in range(40)]
                held = body | {"plan": [plan[0] | {"input": {"delay_ms": 15_000}}]}
                begun = await client.post("/execute_task", json=held, headers={"Prefer": "respond-async"})
                task = await page.context.new_page()
                await task.goto(f"{coordinator.url}/console/tasks/{begun.json()['task_id']}")
                await expect(task.locator(".fall rect.run.open")).to_have_count(1, timeout=60_000)
                agents.process.kill()
                await page.bring_to_front()
                await expect(page.locator(".agents .badge.unreachable").first).to_be_visible(timeout=60_000)
                await task.bring_to_front()
                await expect(task.locator(".fall rect.failed").first).to_be_attached(timeout=60_000)
            with Agents(tmp_path / "second", coordinator.url) as agents:
                await asyncio.to_thread(agents.register)
                ended = await asyncio.gather(*load)
                await expect(task.locator(".facts .badge")).to_have_text("completed", timeout=115_000)
                await expect(task.locator("#why")).to_be_visible()

    assert [answer.json()["status"] for answer in ended] == ["completed"] * 40
