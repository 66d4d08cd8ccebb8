"""Fixtures: a Chromium, and a suite behind a real port."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.browser.fetch import find_chromium
from tests.support.fakes import Suite, serving

OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A Chromium that asks nothing of the internet."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_chromium(), args=OPTIONS)
        yield browser
        await browser.close()


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A person with a clipboard, who waits patiently."""
    context = await browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    context.set_default_timeout(60_000)
    yield context
    await context.close()


@pytest.fixture
async def page(context: BrowserContext) -> AsyncIterator[Page]:
    """A page on which no script breaks, nothing is refused by the policy, and nothing is asked of other hosts."""
    page, wrong = await context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    page.on("request", lambda one: wrong.append(one.url) if "//127.0.0.1:" not in one.url else None)
    yield page
    assert wrong == []


@pytest.fixture
async def url(suite: Suite) -> AsyncIterator[str]:
    """Where the suite of the fixture `suite` is."""
    async with serving(suite.app, lifespan=False) as url:
        yield url
