"""Search engines and pages of the web: what they answer, and a name for each way they fail."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from pydantic import BaseModel

from shared.errors import WorkerFault
from shared.settings import SearchSettings
from tests.workers.index.test_local import Step
from workers.providers import calls, chosen
from workers.providers.calls import Api
from workers.providers.provider import SearchRequest

PAGE = """<html><head><title>Tides | The Harbour</title></head><body>
<nav><a href="/">Home</a> <a href="/x">Shop</a></nav>
<article><h1>Tides</h1><p>The sea rises and falls twice a day, and everybody at the harbour knows it by heart.</p>
<h2>Spring tides</h2><p>A spring tide comes shortly after a new or a full moon, when sun and moon pull in one line.
Its range is larger than that of other tides, which matters to everybody who moors a boat in a shallow harbour.</p>
<p>Fishermen have known about this for thousands of years, and they planned their voyages by it.</p></article>
<footer>Imprint, privacy, cookies</footer></body></html>"""
QUESTION = "When does a spring tide come?"
URL = "https://harbour.example/tides"
SNIPPET = "A spring tide comes shortly after a new or full moon each month."
WITH_KEY = {"search_api_key": "k3y"}
ANSWERS = {
    "searxng": {"results": [{"url": URL, "title": "Tides", "content": SNIPPET}], "unresponsive_engines": []},
    "tavily": {"results": [{"url": URL, "title": "Tides", "content": SNIPPET, "raw_content": None, "score": 0.9}]},
    "brave": {"type": "search", "web": {"results": [{"url": URL, "title": "<b>Tides</b>", "description": SNIPPET}]}},
}
SETTINGS = {
    "searxng": {"search_url": "http://searx.internal:8080"},
    "tavily": WITH_KEY,
    "brave": WITH_KEY,
    "wikipedia": {},
}
WEB = sorted(ANSWERS)
ALL = sorted(SETTINGS)


@asynccontextmanager
async def opened(name, api, tmp_path, **settings):
    wish = SearchSettings(_env_file=None, search_provider=name, **{**SETTINGS[name], **settings})
    async with chosen.provider(wish, tmp_path, transport=httpx.MockTransport(api)) as provider:
        yield provider


@asynccontextmanager
async def web(page=lambda request: httpx.Response(200, html=PAGE), **wish):
    async with httpx.AsyncClient(transport=httpx.MockTransport(page)) as http:
        yield Step(http=http, **wish)


async def search(name, api, tmp_path, page=lambda request: httpx.Response(200, html=PAGE), seconds=30.0, **settings):
    ask = SearchRequest(QUESTION, settings.pop("limit", 8))
    async with opened(name, api, tmp_path, **settings) as provider, web(page, seconds=seconds) as step:
        return await provider.search(ask, step)


def answering(name, status=200, **call):
    return lambda request: httpx.Response(status, **(call or {"json": ANSWERS[name]}))


@pytest.mark.parametrize("name", WEB)
async def test_pages_are_read_and_their_passages_ranked(tmp_path, name):
    """The passage that answers comes first, with the page's address, without navigation and imprint."""
    found = await search(name, answering(name), tmp_path)

    first = found.evidence[0]
    assert (first.location, first.title, first.provider) == (URL, "Tides", name)
    assert first.excerpt.startswith("A spring tide comes shortly after a new or a full moon, when sun")
    assert "Imprint" not in "".join(each.text for each in found.evidence)
    assert 0 < first.score <= 1
    assert found.missing == []
    assert f"in 1 page found by {name}" in found.searched


@pytest.mark.parametrize("name", ALL)
async def test_finding_nothing_is_a_result(tmp_path, name):
    empty = {
        "searxng": {"results": []},
        "tavily": {"results": []},
        "brave": {"type": "search"},
        "wikipedia": {"batchcomplete": True, "query": {"search": []}},
    }

    found = await search(name, answering(name, json=empty[name]), tmp_path)

    assert found.evidence == []
    assert found.searched == f"0 passages in 0 pages found by {name}"


async def test_searxng_is_asked_as_its_documentation_says(tmp_path):
    seen = []

    def api(request):
        seen.append(request)
        return httpx.Response(200, json={**ANSWERS["searxng"], "unresponsive_engines": [["bing", "CAPTCHA"]]})

    found = await search("searxng", api, tmp_path, search_url="http://searx.internal:8080/")

    assert str(seen[0].url.copy_with(query=None)) == "http://searx.internal:8080/search"
    assert dict(seen[0].url.params) == {"q": QUESTION, "format": "json"}
    assert [(each.what, each.why) for each in found.missing] == [("search engine bing", "CAPTCHA")]


async def test_searxng_whose_engines_are_all_silent_failed(tmp_path):
    api = answering("searxng", json={"results": [], "unresponsive_engines": [["bing", "timeout"]]})

    with pytest.raises(WorkerFault, match=r"bing \(timeout\)") as caught:
        await search("searxng", api, tmp_path)

    assert (caught.value.type, caught.value.retryable) == ("search_unavailable", True)


async def test_tavily_is_asked_as_its_documentation_says(tmp_path):
    """With the key as a bearer token; a page that Tavily has read already is not fetched."""
    seen = []

    def api(request):
        seen.append(request)
        raw = "# Tides\n\n## Spring\n\nA spring tide comes after a new moon, says the almanac.\n"
        return httpx.Response(200, json={"results": [{"url": URL, "title": "Tides", "raw_content": raw}]})

    found = await search("tavily", api, tmp_path, page=lambda request: httpx.Response(500))

    assert (seen[0].method, str(seen[0].url)) == ("POST", "https://api.tavily.com/search")
    assert seen[0].headers["authorization"] == "Bearer k3y"
    asked = json.loads(seen[0].content)
    assert (asked["query"], asked["max_results"]) == (QUESTION, 8)
    assert found.evidence[0].text == "A spring tide comes after a new moon, says the almanac."
    assert found.missing == []


async def test_brave_is_asked_as_its_documentation_says(tmp_path):
    seen = []

    def api(request):
        seen.append(request)
        return httpx.Response(200, json=ANSWERS["brave"])

    await search("brave", api, tmp_path, limit=30)

    assert str(seen[0].url.copy_with(query=None)) == "https://api.search.brave.com/res/v1/web/search"
    assert seen[0].headers["x-subscription-token"] == "k3y"
    assert (seen[0].url.params["q"], seen[0].url.params["count"]) == (QUESTION, "20")


async def test_wikipedia_articles_are_read_through_its_api(tmp_path):
    """Search, then each text; sections with their anchors; references left out; an honest User-Agent."""
    seen = []
    extract = (
        "Tides are the rise and fall of sea levels.\n\n\n== Types ==\n\n\n=== Spring tide ===\nA spring tide comes "
        "after a new moon.\n\n\n== References ==\nSpring tide, spring tide, spring tide.\n"
    )

    def api(request):
        seen.append(request)
        if "srsearch" in request.url.params:
            return httpx.Response(200, json={"batchcomplete": True, "query": {"search": [{"title": "Tide (sea)"}]}})
        page = {"title": "Tide (sea)", "extract": extract}
        return httpx.Response(200, json={"batchcomplete": True, "query": {"pages": [page]}})

    found = await search("wikipedia", api, tmp_path)

    assert found.evidence[0].location == "https://en.wikipedia.org/wiki/Tide_%28sea%29#Spring_tide"
    assert [each.heading for each in found.evidence] == ["Types › Spring tide", ""]
    assert all(request.headers["user-agent"].startswith("Muster/") for request in seen)
    assert dict(seen[0].url.params)["srsearch"] == "spring tide come"
    assert dict(seen[1].url.params)["explaintext"] == "1"


async def test_wikipedia_asks_for_any_word_where_all_find_nothing(tmp_path):
    seen = []

    def api(request):
        seen.append(request.url.params["srsearch"])
        return httpx.Response(200, json={"batchcomplete": True, "query": {"search": []}})

    await search("wikipedia", api, tmp_path, search_url="https://de.wikipedia.org")

    assert seen == ["spring tide come", "spring OR tide OR come"]


@pytest.mark.parametrize("code", ["ratelimited", "maxlag"])
async def test_wikipedia_reports_too_many_calls(tmp_path, code):
    """Wikipedia says in an answer that it is called too often."""
    with pytest.raises(WorkerFault) as caught:
        await search("wikipedia", answering("wikipedia", json={"error": {"code": code, "info": "wait"}}), tmp_path)

    assert (caught.value.type, caught.value.retryable) == ("search_rate_limited", True)


@pytest.mark.parametrize("name", ["tavily", "brave"])
async def test_missing_key_is_named(tmp_path, name):
    with pytest.raises(WorkerFault, match=f"SEARCH_PROVIDER={name} needs SEARCH_API_KEY") as caught:
        await search(name, answering(name), tmp_path, search_api_key=None)

    assert caught.value.type == "bad_setting"


async def test_missing_instance_is_named(tmp_path):
    with pytest.raises(WorkerFault, match="needs SEARCH_URL"):
        await search("searxng", answering("searxng"), tmp_path, search_url=None)


@pytest.mark.parametrize(
    ("name", "status", "said", "type_", "text"),
    [
        ("searxng", 403, {"text": "Forbidden"}, "search_refused", "add `json` to `search.formats`"),
        ("tavily", 401, {"json": {"detail": {"error": "Unauthorized: invalid key"}}}, "search_refused", "invalid key"),
        (
            "tavily",
            432,
            {"json": {"detail": {"error": "limit"}}},
            "search_refused",
            "the plan of SEARCH_API_KEY has reached its limit",
        ),
        ("brave", 422, {"json": {"error": {"detail": "token is invalid"}}}, "search_refused", "token is invalid"),
        ("wikipedia", 403, {"html": "<h1>no</h1>"}, "search_refused", "User-Agent"),
        ("brave", 302, {"headers": {"location": "https://x.example"}}, "search_bad_answer", "https://x.example"),
    ],
)
async def test_refusals_say_what_to_do(tmp_path, name, status, said, type_, text):
    with pytest.raises(WorkerFault) as caught:
        await search(name, answering(name, status, **said), tmp_path)

    assert (caught.value.type, caught.value.retryable) == (type_, False)
    assert text in caught.value.detail


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "garbage",
    [
        {"html": "<html><body>Please log in</body></html>"},
        {"content": b""},
        {"content": b"\xff\xfe{}\x80"},
        {"content": b'{"results": ['},
        {"content": b"[" * 100_000},
        {"json": []},
        {"json": {"hello": "world"}},
        {"json": {"type": 3, "results": "none", "query": "x"}},
        {"json": None},
    ],
)
async def test_garbage_is_a_bad_answer(tmp_path, name, garbage):
    with pytest.raises(WorkerFault) as caught:
        await search(name, answering(name, **garbage), tmp_path)

    assert (caught.value.type, caught.value.retryable) == ("search_bad_answer", False)
    assert caught.value.detail.startswith(name)


class _Shape(BaseModel):
    ok: bool


def api(handler, slept, *, left=30.0, now=datetime(2026, 11, 21, tzinfo=UTC)):
    async def sleep(seconds):
        slept.append(seconds)

    http = httpx.AsyncClient(transport=httpx.MockTransport(handler))
    return Api("engine", http, 2.0, lambda: left - sum(slept), {}, sleep, lambda: now)


def in_turn(*answers):
    waiting = list(answers)

    def handler(request):
        answer = waiting.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handler


OK = httpx.Response(200, json={"ok": True})
LATER = format_datetime(datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=7), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "3"}, 3.0),
        ({"Retry-After": LATER}, 7.0),
        ({"Retry-After": "Wed, 01 Jan 2020 00:00:00 GMT"}, 0.0),
        ({"X-RateLimit-Reset": "1, 1419704"}, 1.0),
    ],
)
async def test_rate_limit_is_waited_out_where_the_time_allows(headers, expected):
    slept: list[float] = []

    answer = await api(in_turn(httpx.Response(429, headers=headers), OK), slept).ask(_Shape, "GET", "https://x.example")

    assert answer.ok
    assert slept == [expected]


@pytest.mark.parametrize("retry_after", ["60", "nonsense", ""])
async def test_rate_limit_that_lasts_is_named(retry_after):
    slept: list[float] = []
    limited = [httpx.Response(429, headers={"Retry-After": retry_after}) for _ in range(3)]

    with pytest.raises(WorkerFault) as caught:
        await api(in_turn(*limited), slept).ask(_Shape, "GET", "https://x.example")

    assert (caught.value.type, caught.value.retryable) == ("search_rate_limited", True)
    assert sum(slept) < 5
    assert ("60 s" in caught.value.detail) == (retry_after == "60")


@pytest.mark.parametrize(
    ("failure", "type_"),
    [
        (httpx.Response(503), "search_unavailable"),
        (httpx.ConnectError("Connection refused"), "search_unavailable"),
        (httpx.ReadError("reset"), "search_unavailable"),
        (httpx.RemoteProtocolError("cut"), "search_unavailable"),
        (httpx.ReadTimeout("slow"), "search_timeout"),
    ],
)
async def test_passing_failures_are_tried_three_times_then_named(failure, type_):
    slept: list[float] = []

    answer = await api(in_turn(failure, failure, OK), slept).ask(_Shape, "GET", "https://x.example")
    with pytest.raises(WorkerFault) as caught:
        await api(in_turn(failure, failure, failure), []).ask(_Shape, "GET", "https://x.example")

    assert answer.ok
    assert len(slept) == calls.ATTEMPTS - 1
    assert (caught.value.type, caught.value.retryable) == (type_, True)


async def test_no_second_try_without_time_for_it():
    slept: list[float] = []

    with pytest.raises(WorkerFault):
        await api(in_turn(httpx.Response(503)), slept, left=0.6).ask(_Shape, "GET", "https://x.example")

    assert slept == []


@pytest.mark.parametrize("url", ["ftp://x.example", "no url", "http://"])
async def test_address_that_cannot_be_called_names_the_setting(url):
    async with httpx.AsyncClient() as http:
        with pytest.raises(WorkerFault, match="SEARCH_URL") as caught:
            await Api("engine", http, 2.0, lambda: 9.0, {}).ask(_Shape, "GET", url)

    assert caught.value.type == "search_refused"


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (lambda request: httpx.Response(404), "answered HTTP 404"),
        (
            lambda request: httpx.Response(200, content=b"\x89PNG", headers={"content-type": "image/png"}),
            "is image/png",
        ),
        (lambda request: httpx.Response(200, html="x" * 1_600_000), "is larger than 1.5 MB"),
        (lambda request: httpx.Response(200, html=""), "has no text in it"),
        (lambda request: httpx.Response(302, headers={"location": "/again"}), "redirects too many times"),
        (in_turn(httpx.ConnectError("The address of 10.0.0.1 is not allowed.")), "10.0.0.1 is not allowed"),
        (in_turn(httpx.ReadTimeout("slow")), "could not be fetched and read within"),
    ],
)
async def test_unreadable_page_is_told_snippet_used(tmp_path, page, why):
    """Page that cannot be read is told and its snippet stands in."""
    found = await search("brave", answering("brave"), tmp_path, page=page)

    assert [each.what for each in found.missing] == [URL]
    assert why in found.missing[0].why
    assert [(each.text, each.location) for each in found.evidence] == [(SNIPPET, URL)]


async def test_redirect_of_a_page_is_followed(tmp_path):
    def page(request):
        moved = request.url.path == "/tides"
        return httpx.Response(301, headers={"location": "/new"}) if moved else httpx.Response(200, html=PAGE)

    found = await search("brave", answering("brave"), tmp_path, page=page)

    assert found.missing == []
    assert len(found.evidence) > 0


async def test_pages_come_in_other_encodings_and_types(tmp_path):
    body = "Die Springtide kommt nach Neumond, spring tide, für alle Häfen.".encode("cp1252")
    plain = {"content": body, "headers": {"content-type": "text/plain; charset=windows-1252"}}

    found = await search("brave", answering("brave"), tmp_path, page=lambda request: httpx.Response(200, **plain))

    assert found.evidence[0].text == "Die Springtide kommt nach Neumond, spring tide, für alle Häfen."


async def test_step_without_time_gets_the_snippets(tmp_path):
    """No page is fetched when the step has half a second left."""
    found = await search("brave", answering("brave"), tmp_path, seconds=0.4)

    assert [each.text for each in found.evidence] == [SNIPPET]
    assert found.missing[0].why == "was not fetched: the step ran out of time"


async def test_only_web_addresses_and_each_once(tmp_path):
    urls = ["javascript:alert(1)", "file:///etc/passwd", "", URL, URL + "#part", URL + "/"]
    results = [{"url": url, "title": "Tides", "content": SNIPPET} for url in urls]
    fetched = []

    def page(request):
        fetched.append(str(request.url))
        return httpx.Response(200, html=PAGE)

    await search("searxng", answering("searxng", json={"results": results}), tmp_path, page=page)

    assert fetched == [URL]


async def test_only_the_operators_provider_may_be_private(tmp_path):
    """SEARCH_URL at 127.0.0.1 is called (and nobody answers there); without it the API must be public."""
    async with web() as step:
        wish = SearchSettings(_env_file=None, search_provider="searxng", search_url="http://127.0.0.1:9")
        async with chosen.provider(wish, tmp_path) as provider:
            with pytest.raises(WorkerFault) as caught:
                await provider.search(SearchRequest(QUESTION, 8), step)

    assert caught.value.type == "search_unavailable"
    assert "refused" in caught.value.detail
    assert "not allowed" not in caught.value.detail
