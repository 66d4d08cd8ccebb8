"""Brave as a search engine: api-dashboard.search.brave.com/app/documentation/web-search."""

from __future__ import annotations

from pydantic import BaseModel, Field

from shared.errors import WorkerFault
from workers.providers.calls import USER_AGENT, Api
from workers.providers.web import Engine, EngineResult, Results

BASE = "https://api.search.brave.com/res/v1/web/search"
MAX_RESULTS = 20
MAX_QUERY_WORDS = 50
MAX_QUERY = 400  # characters
HINTS = {
    401: "check SEARCH_API_KEY",
    403: "check SEARCH_API_KEY and its plan",
    422: "check SEARCH_API_KEY; Brave also sends this for an unknown key",
}


class _Result(BaseModel):
    url: str | None = None
    title: str | None = None
    description: str | None = None
    extra_snippets: list[str] = Field(default_factory=list)


class _Web(BaseModel):
    results: list[_Result] = Field(default_factory=list)


class _Answer(BaseModel):
    """`web` is absent where Brave found nothing; `type` is there always and tells its answer from another's JSON."""

    type: str
    web: _Web | None = None


def engine(key: str | None, url: str | None) -> Engine:
    """Asks Brave with `key`."""

    async def search(api: Api, question: str, limit: int) -> Results:
        if not key:
            raise WorkerFault("SEARCH_PROVIDER=brave needs SEARCH_API_KEY.", type="bad_setting")
        query = " ".join(question.split()[:MAX_QUERY_WORDS])[:MAX_QUERY]
        answer = await api.ask(
            _Answer,
            "GET",
            url or BASE,
            params={
                "q": query,
                "count": str(min(limit, MAX_RESULTS)),
                "result_filter": "web",
                "extra_snippets": "true",
            },
            headers={"X-Subscription-Token": key, "Accept": "application/json", "User-Agent": USER_AGENT},
        )
        found = answer.web.results if answer.web else []
        return Results(
            [
                EngineResult(each.url or "", each.title or "", " ".join((each.description or "", *each.extra_snippets)))
                for each in found
            ]
        )

    return search
