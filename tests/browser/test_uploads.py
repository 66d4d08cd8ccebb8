"""Documents in Chromium: dropped, chosen, watched on their way, replaced and removed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, FilePayload, Page, expect

from tests.support.fakes import Network, Suite, serving, uploading

pytestmark = pytest.mark.timeout(180)
SOON = 60_000  # ms: the list follows within a second or two, and machines are busy
DROP = """([name, text]) => {
  const carried = new DataTransfer();
  carried.items.add(new File([text], name));
  for (const kind of ["dragenter", "dragover", "drop"])
    document.querySelector("h1").dispatchEvent(
      new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true }));
}"""


@pytest.fixture
async def url(network: Network, tmp_path: Path) -> AsyncIterator[str]:
    """Where a coordinator is that takes documents of at most a kilobyte."""
    async with Suite(network, app=uploading(tmp_path / "uploads", upload_bytes=1_000)) as suite:
        await suite.client.put("/documents/قديم.md", content=b"old")
        async with serving(suite.app, lifespan=False) as url:
            yield url


def a_file(name: str, text: str) -> FilePayload:
    return {"name": name, "mimeType": "text/plain", "buffer": text.encode()}


def row(page: Page, name: str) -> Any:
    return page.locator(".documents tbody tr", has_text=name)


async def test_dropped_document_appears_in_the_list(page: Page, url: str) -> None:
    """Wherever on the page it is dropped; the list follows by itself."""
    await page.goto(f"{url}/console/")
    await page.evaluate(DROP, ["notes.md", "# Notes"])

    await expect(page.locator("#sending li")).to_contain_text("stored", timeout=SOON)
    await expect(row(page, "notes.md")).to_be_visible(timeout=SOON)
    await expect(row(page, "notes.md")).to_contain_text("7 Bytes", timeout=SOON)


async def test_chosen_documents_are_told_one_by_one(page: Page, url: str) -> None:
    """What is stored, what is too large, what is of no use, and why."""
    await page.goto(f"{url}/console/")
    files = [a_file("a.md", "A"), a_file("big.md", "x" * 2_000), a_file("photo.png", "P"), a_file("قديم.md", "old")]
    await page.get_by_label("Drop documents here").set_input_files(files)

    rows = page.locator("#sending li")
    for at, said in enumerate(["stored", "larger than 0.001 MB", "type that no researcher reads", "unchanged"]):
        await expect(rows.nth(at)).to_contain_text(said, timeout=SOON)
    await expect(page.locator(".documents tbody tr")).to_have_count(2, timeout=SOON)


async def test_taken_name_is_replaced_on_request(page: Page, url: str) -> None:
    await page.goto(f"{url}/console/")
    await page.get_by_label("Drop documents here").set_input_files([a_file("قديم.md", "newer")])
    await expect(page.locator("#sending li")).to_contain_text("There is another document", timeout=SOON)

    await page.get_by_role("button", name="Replace it").click()

    await expect(page.locator("#sending li")).to_contain_text("replaced", timeout=SOON)
    await expect(row(page, "قديم.md")).to_contain_text("5 Bytes", timeout=SOON)


async def test_document_is_removed_with_the_keyboard(page: Page, url: str) -> None:
    await page.goto(f"{url}/console/")
    await page.get_by_role("button", name="Remove قديم.md").focus()
    await page.keyboard.press("Enter")

    await expect(page.get_by_text("No documents were uploaded yet.")).to_be_visible(timeout=SOON)


async def test_documents_are_sent_without_scripts(browser: Browser, url: str) -> None:
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{url}/console/")
    await page.get_by_label("Drop documents here").set_input_files([a_file("a.md", "A"), a_file("b.md", "B")])
    await page.get_by_role("button", name="Upload").click()

    await expect(page.locator(".documents tbody tr")).to_have_count(3, timeout=SOON)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_about_documents(browser: Browser, url: str, scheme: str) -> None:
    """Also while a document is refused; and a phone shows all of it."""
    context = await browser.new_context(color_scheme=scheme, viewport={"width": 360, "height": 740})  # type: ignore[arg-type]
    page = await context.new_page()
    await page.goto(f"{url}/console/")
    await page.get_by_label("Drop documents here").set_input_files([a_file("قديم.md", "newer")])
    await expect(page.get_by_role("button", name="Replace it")).to_be_visible(timeout=SOON)

    result = await Axe().run(page)

    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in result.response["violations"]] == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
