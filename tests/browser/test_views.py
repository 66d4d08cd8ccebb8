"""Every page of the console in Chromium: for screen readers, keyboards, phones, in the dark, and with bad luck."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from fastapi import FastAPI, Response
from playwright.async_api import Browser, Page, expect

from load.processes.ports import free_port
from tests.support.fakes import Held, Network, Suite, agent, serving

pytestmark = pytest.mark.timeout(240)
TEXTS = {
    "english": "Why are there tides?",
    "german": "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen" * 3,
    "hebrew": "למה יש גאות ושפל בים, ולמה פעמיים ביום?",
    "chinese": "为什么海里有潮汐" * 40,
    "long": "Wörter und mehr davon. " * 4_000,
}


async def fill(suite: Suite) -> list[str]:
    """Tasks of every kind; the addresses of all pages."""
    await suite.add(agent("painter", "paint", Held()))
    done = [(await suite.execute(text)).task_id for text in TEXTS.values()]
    lost = (await suite.execute("Fly", plan=[{"id": "lost", "capability": "fly"}])).task_id
    plan = [{"id": "paint", "capability": "paint"}, {"id": "x", "capability": "paint", "needs": ["paint"]}]
    running = await suite.begin("Paint", plan=plan, timeout_seconds=600)
    agent_id = (await suite.agents())["painter"].agent_id
    tasks = [f"/console/tasks/{one}" for one in (*done, lost, running)]
    lists = ["/console/", "/console/tasks", "/console/tasks?q=x&status=failed", "/console/agents", "/console/health"]
    more = ["/console/numbers", "/console/numbers?of=day", f"/console/agents/{agent_id}", "/console/tasks/nobody"]
    return [*lists, *more, *tasks, f"{tasks[0]}?step=research", f"{tasks[-2]}?step=lost"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(browser: Browser, suite: Suite, url: str, scheme: str) -> None:
    """On no page, in neither scheme."""
    context = await browser.new_context(color_scheme=scheme)  # type: ignore[arg-type]
    page, found = await context.new_page(), {}
    for path in await fill(suite):
        await page.goto(url + path)
        result = await Axe().run(page)
        found |= {
            (path, one["id"], one["nodes"][0]["html"][:200]): one["help"] for one in result.response["violations"]
        }

    assert found == {}


@pytest.mark.parametrize("width", [360, 768])
async def test_no_page_is_wider_than_the_screen(browser: Browser, suite: Suite, url: str, width: int) -> None:
    """Whatever the texts; wide tables scroll by themselves."""
    context = await browser.new_context(viewport={"width": width, "height": 740})
    page, wide = await context.new_page(), {}
    for path in await fill(suite):
        await page.goto(url + path)
        if (found := await page.evaluate("document.documentElement.scrollWidth")) > width:
            wide[path] = found

    assert wide == {}


async def test_keyboard_reaches_everything(page: Page, suite: Suite, url: str) -> None:
    """Tab leads first past the navigation; a question is asked and opened without a mouse."""
    await page.goto(f"{url}/console/")
    await page.keyboard.press("Tab")
    await expect(page.get_by_text("Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await page.keyboard.type("Why are there tides?")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")

    await expect(page.locator("h1")).to_have_text("Why are there tides?")


async def test_pages_work_without_scripts(browser: Browser, suite: Suite, url: str) -> None:
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(url)
    await page.get_by_label("What do you want to know?").fill("Why are there tides?")
    await page.get_by_role("button", name="Ask").click()
    await suite.ended(page.url.rpartition("/")[2])
    await page.reload()

    await expect(page.locator(".report")).to_contain_text("the moon pulls the sea")


async def test_a_restart_is_said_and_survived(page: Page, tmp_path: Path) -> None:
    """The page keeps what it shows, says that the connection is lost, and goes on by itself."""
    port, journal = free_port(), f"sqlite:///{tmp_path}/muster.db"
    async with Suite(database_url=journal) as suite, serving(suite.app, lifespan=False, port=port) as url:
        await page.goto(f"{url}/console/tasks")
        await expect(page.locator(".empty")).to_be_visible()
    await expect(page.locator("#connection")).to_contain_text("lost", timeout=60_000)
    await expect(page.locator("h1")).to_have_text("Tasks")
    async with Suite(database_url=journal) as suite, serving(suite.app, lifespan=False, port=port):
        await suite.execute("After the restart", plan=[{"id": "one", "capability": "fly"}])
        await expect(page.locator(".tasks tbody tr")).to_have_count(1, timeout=90_000)


async def test_a_task_that_was_pruned_is_said(page: Page, suite: Suite, url: str) -> None:
    """Its page is left as it is while it is looked at, and is no more when it is loaded again."""
    task = await suite.execute()
    await page.goto(f"{url}/console/tasks/{task.task_id}")
    await suite.services.store.prune(before=suite.services.wall() + 10)
    await page.reload()

    await expect(page.locator(".notice")).to_contain_text("There is no task")


async def test_session_that_ends_leads_to_the_log_in(page: Page, network: Network) -> None:
    """Also in a second tab, which was open: it is led there by itself, and back after the log-in."""
    async with Suite(network, api_key="key") as suite, serving(suite.app, lifespan=False) as url:
        await page.goto(f"{url}/console/tasks")
        await page.get_by_label("Key").fill("key")
        await page.get_by_role("button", name="Log in").click()
        await expect(page.locator("h1")).to_have_text("Tasks")
        other = await page.context.new_page()
        await other.goto(f"{url}/console/agents")
        await other.get_by_role("button", name="Log out").click()
        await expect(other.locator("h1")).to_have_text("Log in")
        await other.close()

        await page.reload()
        await page.get_by_label("Key").fill("key")
        await page.get_by_role("button", name="Log in").click()
        await expect(page).to_have_url(f"{url}/console/tasks")


async def test_an_agents_page_cannot_use_the_session(page: Page, suite: Suite, network: Network, url: str) -> None:
    """A page that an agent sends through the gateway runs no script, so it asks for nothing."""
    app = FastAPI()

    @app.get("/{path:path}")
    async def trap() -> Response:
        return Response("<h1>Trap</h1><script>document.body.textContent = 'ran'</script>", media_type="text/html")

    network.host("trap", app)
    await suite.register("trap", "http://trap", "x")
    await suite.sees("trap", "healthy")
    quiet = await page.context.new_page()  # its script is refused, which the fixture's page would report

    await quiet.goto(f"{url}/agents/trap/page")

    await expect(quiet.locator("body")).to_have_text("Trap")
    assert await quiet.evaluate("self.origin") == "null"
