"""Tavily as a search engine: docs.tavily.com/documentation/api-reference/endpoint/search."""

from __future__ import annotations

from pydantic import BaseModel

from shared.errors import WorkerFault
from workers.providers.calls import USER_AGENT, Api
from workers.providers.web import Engine, EngineResult, Results
from workers.reading.documents.document import Document, strip_anchors
from workers.reading.formats import markdown

BASE = "https://api.tavily.com"
MAX_QUERY = 400  # characters
MAX_RAW = 200_000  # characters of one page that are looked at
HINTS = {
    401: "check SEARCH_API_KEY",
    403: "check SEARCH_API_KEY",
    432: "the plan of SEARCH_API_KEY has reached its limit",
    433: "SEARCH_API_KEY has reached its pay-as-you-go limit",
}


class _Result(BaseModel):
    url: str | None = None
    title: str | None = None
    content: str | None = None
    raw_content: str | None = None


class _Answer(BaseModel):
    results: list[_Result]


def engine(key: str | None, url: str | None) -> Engine:
    """Asks Tavily with `key`. Its own reading of a page is used where it sends one, so the page is not fetched."""

    async def search(api: Api, question: str, limit: int) -> Results:
        if not key:
            raise WorkerFault("SEARCH_PROVIDER=tavily needs SEARCH_API_KEY.", type="bad_setting")
        answer = await api.ask(
            _Answer,
            "POST",
            (url or BASE).rstrip("/").removesuffix("/search") + "/search",
            json={
                "query": question[:MAX_QUERY],
                "max_results": min(limit, 20),
                "search_depth": "basic",
                "include_raw_content": "markdown",
            },
            headers={"Authorization": f"Bearer {key}", "User-Agent": USER_AGENT},
        )
        return Results(
            [
                EngineResult(each.url or "", each.title or "", each.content or "", _parse_result(each))
                for each in answer.results
            ]
        )

    return search


def _parse_result(result: _Result) -> Document | None:
    if not result.raw_content or not result.raw_content.strip():
        return None
    return strip_anchors(markdown.read(result.raw_content[:MAX_RAW]))
