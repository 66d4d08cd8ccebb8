"""The console's pages over HTTP: who may see them, what they carry, and what they refuse."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import httpx
import pytest

from coordinator.access.keys import make_key, remove_keys
from shared.report.model import Cited, Report
from tests.support.fakes import Held, Network, Suite, agent, eventually, serving

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
KEY = "a-key-that-is-long"
PAINT = [{"id": "paint", "capability": "paint"}]


def token(page: httpx.Response) -> str:
    """What the forms of a page carry."""
    found = re.search(r'name="token" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def visitor_of(suite: Suite) -> httpx.AsyncClient:
    """A browser without a key: it keeps cookies and follows no redirect."""
    transport = httpx.ASGITransport(suite.app, raise_app_exceptions=False)
    return httpx.AsyncClient(base_url="http://coordinator", transport=transport, headers=HTML)


async def log_in(visitor: httpx.AsyncClient, key: str = KEY, to: str = "/console/") -> httpx.Response:
    page = await visitor.get("/")
    return await visitor.post("/console/login", data={"token": token(page), "key": key, "to": to})


async def test_root_leads_a_browser_to_the_console(suite: Suite) -> None:
    """And a program to JSON that says where things are."""
    seen = await suite.client.get("/", headers=HTML)
    told = await suite.client.get("/")

    assert (seen.status_code, seen.headers["location"]) == (303, "/console/")
    assert (told.status_code, told.json()["console"]) == (200, "/console/")


@pytest.mark.parametrize("path", ["/console/", "/console/tasks", "/console/tasks?q=a%25_\\&status=failed&agent=x"])
async def test_every_page_is_small_and_strict(suite: Suite, path: str) -> None:
    """Its policy lets nothing run that is not the console's own, and it loads from nowhere else."""
    page = await suite.client.get(path, headers=HTML)

    assert page.status_code == 200
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert page.headers["x-content-type-options"] == "nosniff"
    assert re.findall(r'(?:src|href|action)="(?!/)(?!\?)(?!#)[^"]', page.text) == []
    assert not re.search(r"<style|<script(?! src)| style=| on[a-z]+=", page.text)


async def test_first_view_has_at_most_100_kb(suite: Suite) -> None:
    """With all that it loads."""
    page = await suite.client.get("/console/", headers=HTML)
    assets = [await suite.client.get(one) for one in set(re.findall(r'"(/console/static/[^"]+)"', page.text))]

    assert {one.status_code for one in assets} == {200}
    assert len(page.content) + sum(len(one.content) for one in assets) <= 100_000


async def test_errors_are_pages_below_the_console_only(suite: Suite) -> None:
    page = await suite.client.get("/console/tasks/nobody", headers=HTML)
    answer = await suite.client.get("/tasks/nobody", headers=HTML)

    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_form_without_token_changes_nothing(coordinator: Suite) -> None:
    """Every POST needs what only the visitor's own pages have."""
    answers = [
        await coordinator.client.post(path, data={"task_description": "x", "token": "wrong"}, headers=HTML)
        for path in ("/console/ask", "/console/tasks/x/cancel")
    ]

    assert [a.status_code for a in answers] == [403, 403]
    assert (await coordinator.client.get("/tasks")).json()["tasks"] == []


async def test_same_form_twice_is_one_task(suite: Suite) -> None:
    """A double click asks once; what was changed is another question."""
    page = await suite.client.get("/console/", headers=HTML)
    form = {"token": token(page), "once": "abc", "task_description": "Why are there\r\ntides?"}

    first, second = [await suite.client.post("/console/ask", data=form) for _ in range(2)]
    other = await suite.client.post("/console/ask", data=form | {"task_description": "Why?"})

    assert first.status_code == second.status_code == 303
    assert first.headers["location"] == second.headers["location"] != other.headers["location"]
    task = await suite.ended(first.headers["location"].rpartition("/")[2])
    assert task.task_description == "Why are there\ntides?"


@pytest.mark.parametrize(
    "wrong",
    [
        {"task_description": " "},
        {"timeout_seconds": "nan"},
        {"timeout_seconds": "-1"},
        {"priority": "high"},
        {"agent": "nobody"},
    ],
)
async def test_wrong_form_comes_back_filled(suite: Suite, wrong: dict[str, str]) -> None:
    """With what is wrong, and without what was typed being lost."""
    page = await suite.client.get("/console/", headers=HTML)
    answer = await suite.client.post(
        "/console/ask", data={"task_description": "Why <so>?", "token": token(page)} | wrong
    )

    assert 400 <= answer.status_code < 500
    assert 'role="alert"' in answer.text
    assert ("Why &lt;so&gt;?" in answer.text) == ("task_description" not in wrong)


async def test_with_a_key_the_root_is_the_log_in(network: Network) -> None:
    """The API stays 401; a program that asks for the root still learns where things are."""
    async with Suite(network, api_key=KEY) as suite, visitor_of(suite) as visitor:
        root, page, tasks = [await visitor.get(path) for path in ("/", "/console/tasks?q=x", "/tasks")]

    assert (root.status_code, 'type="password"' in root.text) == (200, True)
    assert (page.status_code, page.headers["location"]) == (303, "/console/login?to=/console/tasks%3Fq%3Dx")
    assert tasks.status_code == 401


async def test_session_opens_pages_and_no_api(network: Network) -> None:
    """Its cookie is out of a script's reach, stays with this site, and is not what the API asks for."""
    async with Suite(network, api_key=KEY) as suite, visitor_of(suite) as visitor:
        answer = await log_in(visitor, to="/console/tasks")
        page, tasks = await visitor.get("/console/tasks"), await visitor.get("/tasks")

    cookie = answer.headers["set-cookie"].lower()
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/tasks")
    assert all(word in cookie for word in ("httponly", "samesite=lax", "max-age=43200"))
    assert KEY not in cookie
    assert (page.status_code, tasks.status_code) == (200, 401)


@pytest.mark.parametrize("to", ["https://evil.example", "//evil.example", "/console//evil", "/tasks", "/console\\x"])
async def test_log_in_leads_nowhere_else(network: Network, to: str) -> None:
    async with Suite(network, api_key=KEY) as suite, visitor_of(suite) as visitor:
        answer = await log_in(visitor, to=to)

    assert answer.headers["location"] == "/console/"


async def test_wrong_key_is_refused_and_audited(network: Network) -> None:
    async with Suite(network, api_key=KEY) as suite, visitor_of(suite) as visitor:
        answer = await log_in(visitor, key="wrong")
        entries = (await suite.client.get("/audit")).json()["entries"]

    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert "audit.key_refused" in {entry["type"] for entry in entries}


async def test_log_in_is_audited_by_its_key(network: Network) -> None:
    async with Suite(network, api_key=KEY) as suite, visitor_of(suite) as visitor:
        await log_in(visitor)
        entries = (await suite.client.get("/audit")).json()["entries"]

    assert [e["caller"] for e in entries if e["type"] == "audit.console_login"] == ["api_key"]


async def test_key_that_goes_takes_its_sessions(network: Network, tmp_path: Path) -> None:
    """At the next request, and not when the session would have ended."""
    keys = tmp_path / "keys"
    key = make_key(keys, "guest", ["read"])
    async with Suite(network, api_key=KEY, keys_file=keys) as suite, visitor_of(suite) as visitor:
        await log_in(visitor, key)
        before = await visitor.get("/console/")
        remove_keys(keys, "guest")
        await asyncio.sleep(1.1)  # between two looks at the file
        after = await visitor.get("/console/")

    assert (before.status_code, after.status_code) == (200, 303)


async def test_report_is_shown_as_it_is_made(suite: Suite) -> None:
    """What an agent has told of the report while it works stands on the page."""
    held = Held()
    await suite.add(agent("painter", "paint", held))
    task_id = await suite.begin("Paint", plan=PAINT, timeout_seconds=300)
    await eventually(lambda: held.began)
    told = Report(title="T", question="Q", summary=[Cited(statement="The moon pulls.", citations=[])])
    data = {"step_id": "paint", "attempt": 1, "message": "Writing", "report": told.model_dump()}
    suite.services.store.note(task_id, "step.progress", data)
    await suite.services.store.attempts_written()

    page = await suite.client.get(f"/console/tasks/{task_id}", headers=HTML)

    assert "The report, as far as it is" in page.text
    assert "The moon pulls." in page.text
    held.let_go.set()


async def test_large_tasks_are_shown_in_part(suite: Suite) -> None:
    """A thousand steps, a text of 100 KB without blanks, and an output of megabytes."""
    await suite.add(agent("large", "large", Held(output={"x": "y" * 3_000_000}, let_go=_set())))
    plan = [{"id": f"s{n}", "capability": "fly"} for n in range(1_000)]
    many = (await suite.execute(plan=plan)).task_id
    long = (await suite.execute("x" * 100_000)).task_id
    wide = (await suite.execute(plan=[{"id": "one", "capability": "large"}])).task_id

    pages = [
        await suite.client.get(f"/console/tasks/{path}", headers=HTML)
        for path in (f"{many}?step=s999", long, f"{wide}?step=one")
    ]

    assert [page.status_code for page in pages] == [200] * 3
    assert "lines are not shown" in pages[0].text
    assert "Step s999" in pages[0].text
    assert "more characters" in pages[2].text
    assert all(len(page.content) < 400_000 for page in pages)


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


async def test_logged_out_cookie_opens_nothing(network: Network) -> None:
    """Also where somebody has kept it."""
    async with Suite(network, api_key=KEY) as suite, visitor_of(suite) as visitor:
        await log_in(visitor)
        kept = dict(visitor.cookies)
        page = await visitor.get("/console/")
        await visitor.post("/console/logout", data={"token": token(page)})
        visitor.cookies.update(kept)
        answer = await visitor.get("/console/")

    assert answer.status_code == 303


async def test_session_ends_with_its_time(network: Network) -> None:
    clock = [1_000_000.0]
    async with Suite(network, api_key=KEY, app={"wall": lambda: clock[0]}) as suite, visitor_of(suite) as visitor:
        await log_in(visitor)
        before = await visitor.get("/console/")
        clock[0] += 43_201
        after = await visitor.get("/console/")

    assert (before.status_code, after.status_code) == (200, 303)


@pytest.mark.parametrize("cookie", ["", "x", "a.b.c.d", "..", "\u00e4.1.2.3", "a." * 50])
async def test_made_up_cookies_open_nothing(network: Network, cookie: str) -> None:
    async with Suite(network, api_key=KEY) as suite, visitor_of(suite) as visitor:
        answer = await visitor.get("/console/", headers={"Cookie": f"muster_session={cookie}".encode()})

    assert answer.status_code == 303


async def test_scopes_decide_what_is_shown(network: Network, tmp_path: Path) -> None:
    """A key that only looks sees no form and cancels nothing; one that only registers sees no page."""
    keys = tmp_path / "keys"
    looks, registers = make_key(keys, "looker", ["read"]), make_key(keys, "worker", ["register"])
    async with Suite(network, api_key=KEY, keys_file=keys) as suite:
        async with visitor_of(suite) as visitor:
            await log_in(visitor, looks)
            page = await visitor.get("/console/")
            asked = await visitor.post("/console/ask", data={"token": token(page), "task_description": "x"})
        async with visitor_of(suite) as visitor:
            await log_in(visitor, registers)
            refused = await visitor.get("/console/")

    assert (page.status_code, "<textarea" in page.text) == (200, False)
    assert (asked.status_code, refused.status_code) == (403, 403)


async def test_other_sites_may_post_nothing(network: Network) -> None:
    """Also with a session: a page of another site is refused by its Origin."""
    async with Suite(network, api_key=KEY) as suite, visitor_of(suite) as visitor:
        await log_in(visitor)
        page = await visitor.get("/console/")
        form = {"token": token(page), "task_description": "x"}
        answer = await visitor.post("/console/ask", data=form, headers={"Origin": "https://evil.example"})

    assert answer.status_code == 403


async def test_watched_page_is_sent_when_it_changes(suite: Suite) -> None:
    """First as it is, then once it is different; a task that has ended says that nothing more comes."""
    held = Held()
    await suite.add(agent("painter", "paint", held))
    task_id = await suite.begin("Paint", plan=PAINT, timeout_seconds=300)
    async with serving(suite.app, lifespan=False) as url, httpx.AsyncClient(timeout=60) as client:
        events = []
        address = f"{url}/console/tasks/{task_id}"
        async with client.stream("GET", address, headers={"Accept": "text/event-stream"}) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    events.append(line)
                    held.let_go.set()

    assert "running" in events[0]
    assert "completed" in events[-2]
    assert events[-1] == "data: {}"


async def test_viewers_share_one_look(suite: Suite) -> None:
    """However many watch a page, it is rendered once for all; and for nobody, not at all."""
    live = suite.app.state.console_live
    async with serving(suite.app, lifespan=False) as url, httpx.AsyncClient(timeout=60) as client:

        async def watch() -> None:
            async with client.stream("GET", f"{url}/console/tasks", headers={"Accept": "text/event-stream"}) as stream:
                async for line in stream.aiter_lines():
                    if line.startswith("event: view"):
                        return

        watching = [asyncio.create_task(watch()) for _ in range(20)]
        await asyncio.gather(*watching)

    assert live.rendered <= 20
    assert live.watched == 0
