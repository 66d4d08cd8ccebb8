"""A SearXNG instance (SEARCH_URL) as a search engine: docs.searxng.org/dev/search_api.html."""

from __future__ import annotations

from pydantic import BaseModel, Field

from shared.contracts import Missing
from shared.errors import WorkerFault
from workers.providers.calls import USER_AGENT, Api
from workers.providers.web import Engine, EngineResult, Results

HINTS = {
    403: "add `json` to `search.formats` in the instance's settings.yml, and let its limiter pass this address",
    404: "SEARCH_URL must be the address of the instance itself",
}


class _Result(BaseModel):
    url: str | None = None
    title: str | None = None
    content: str | None = None


class _Answer(BaseModel):
    results: list[_Result]
    unresponsive_engines: list[list[str | None]] = Field(default_factory=list)


def engine(url: str | None) -> Engine:
    """Asks the instance at `url`; engines behind it that did not answer are named."""

    async def search(api: Api, question: str, limit: int) -> Results:
        if not url:
            raise WorkerFault("SEARCH_PROVIDER=searxng needs SEARCH_URL, your instance's address.", type="bad_setting")
        endpoint = url.rstrip("/").removesuffix("/search") + "/search"
        query = {"q": question[:400], "format": "json"}
        answer = await api.ask(_Answer, "GET", endpoint, params=query, headers={"User-Agent": USER_AGENT})
        silent = [
            Missing(what=f"search engine {names[0]}", why=" ".join(part for part in names[1:] if part) or "no answer")
            for names in answer.unresponsive_engines
            if names and names[0]
        ]
        found = [EngineResult(each.url or "", each.title or "", each.content or "") for each in answer.results]
        if not found and silent:
            raise WorkerFault(
                "searxng found nothing because its engines failed: "
                + ", ".join(f"{each.what.removeprefix('search engine ')} ({each.why})" for each in silent)
                + ".",
                type="search_unavailable",
                retryable=True,
            )
        return Results(found[:limit], silent)

    return search
