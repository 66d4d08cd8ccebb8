"""Documents on the first page: shown to whom may send them, taken with its token only, removed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from coordinator.access.keys import make_key
from tests.support.fakes import Network, Suite, uploading

HTML = {"Accept": "text/html"}


@pytest.fixture
async def suite(network: Network, tmp_path: Path) -> AsyncIterator[Suite]:
    async with Suite(network, app=uploading(tmp_path / "uploads", upload_bytes=1_000)) as suite:
        yield suite


def token(page: httpx.Response) -> str:
    return re.findall(r'name="token" value="([^"]+)"', page.text)[0]


async def names(suite: Suite) -> list[str]:
    return [one["name"] for one in (await suite.client.get("/documents")).json()["documents"]]


def form(*parts: tuple[str, str | tuple[str, bytes]]) -> list[tuple[str, tuple[str | None, str | bytes]]]:
    """As a browser sends a form: its fields in their order."""
    return [(name, (None, value) if isinstance(value, str) else value) for name, value in parts]


async def test_form_works_without_scripts(suite: Suite) -> None:
    """Several files, replaced where that is wished; then the first page comes again, and shows them."""
    page = await suite.client.get("/console/", headers=HTML)
    first = form(("token", token(page)), ("file", ("a.md", b"A")), ("file", ("<b>.md", b"B")))
    again = form(("token", token(page)), ("replace", "true"), ("file", ("a.md", b"other")))

    answers = [await suite.client.post("/console/documents", files=one, headers=HTML) for one in (first, again)]

    assert [(one.status_code, one.headers["location"]) for one in answers] == [(303, "/console/")] * 2
    page = await suite.client.get("/console/", headers=HTML)
    assert "&lt;b&gt;.md" in page.text
    assert "No healthy researcher searches these documents" in page.text


async def test_document_is_removed_by_its_button(suite: Suite) -> None:
    await suite.client.put("/documents/a b&c.md", content=b"A")
    page = await suite.client.get("/console/", headers=HTML)
    (value,) = re.findall(r'name="name" value="([^"]+)"', page.text)
    sent = {"name": value.replace("&amp;", "&"), "token": token(page)}

    refused = await suite.client.post("/console/documents/remove", data=sent | {"token": "wrong"})
    removed = await suite.client.post("/console/documents/remove", data=sent)

    assert (refused.status_code, removed.status_code, await names(suite)) == (403, 303, [])


@pytest.mark.parametrize(
    "parts",
    [
        [("file", ("a.md", b"A"))],
        [("token", "wrong"), ("file", ("a.md", b"A"))],
        [("file", ("a.md", b"A")), ("token", "right")],
    ],
)
async def test_form_needs_its_token_first(suite: Suite, parts: list[tuple[str, str | tuple[str, bytes]]]) -> None:
    """A page of another site knows none; a token that comes after the file comes too late."""
    right = token(await suite.client.get("/console/", headers=HTML))
    sent = form(*((name, right if value == "right" else value) for name, value in parts))

    answer = await suite.client.post("/console/documents", files=sent, headers=HTML)

    assert (answer.status_code, await names(suite)) == (403, [])


async def test_form_of_another_site_is_refused(suite: Suite) -> None:
    """Also with the right token."""
    sent = form(("token", token(await suite.client.get("/console/", headers=HTML))), ("file", ("a.md", b"A")))
    headers = HTML | {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}

    answer = await suite.client.post("/console/documents", files=sent, headers=headers)

    assert (answer.status_code, await names(suite)) == (403, [])


async def test_script_is_told_why(suite: Suite) -> None:
    """What is wrong with a document comes as JSON where a script sends it, and as a page else."""
    right = token(await suite.client.get("/console/", headers=HTML))
    sent = [
        form(("token", right), ("file", (name, content)))
        for name, content in (("photo.png", b"A"), ("../a.md", b"A"), ("a.md", b"x" * 1_001), ("a.md", b"A"))
    ]

    answers = [
        await suite.client.post("/console/documents", files=one, headers={"Accept": "application/json"}) for one in sent
    ]
    page = await suite.client.post("/console/documents", files=sent[0], headers=HTML)

    assert [one.status_code for one in answers] == [422, 422, 413, 201]
    assert ["type" in answers[0].json()["detail"], "path" in answers[1].json()["detail"]] == [True, True]
    assert answers[3].json()["documents"][0]["status"] == "stored"
    assert (page.status_code, page.headers["content-type"]) == (422, "text/html; charset=utf-8")


async def test_documents_are_hidden_while_off(coordinator: Suite) -> None:
    page = await coordinator.client.get("/console/", headers=HTML)
    answer = await coordinator.client.post(
        "/console/documents", files=form(("token", token(page)), ("file", ("a.md", b"A"))), headers=HTML
    )

    assert "Documents to ask about" not in page.text
    assert answer.status_code == 404


async def test_documents_are_hidden_without_the_scope(network: Network, tmp_path: Path) -> None:
    """A key that may only read and ask neither sees nor sends them."""
    keys = tmp_path / "keys"
    asker, sender = make_key(keys, "asker", ["execute", "read"]), make_key(keys, "ann", ["read", "upload"])
    async with Suite(network, api_key="k", keys_file=keys, app=uploading(tmp_path / "uploads")) as suite:
        pages, answers = [], []
        for key in (asker, sender):
            suite.client.cookies.clear()
            login = await suite.client.get("/console/login", headers=HTML)
            await suite.client.post("/console/login", data={"token": token(login), "key": key})
            pages.append(await suite.client.get("/console/", headers=HTML))
            sent = form(("token", token(pages[-1])), ("file", ("a.md", b"A")))
            answers.append(await suite.client.post("/console/documents", files=sent, headers=HTML))
        listed = (await suite.client.get("/documents")).json()["documents"]

    assert ["Documents to ask about" in page.text for page in pages] == [False, True]
    assert [one.status_code for one in answers] == [403, 303]
    assert "scope upload" in answers[0].text
    assert [one["sent_by"] for one in listed] == ["ann"]
