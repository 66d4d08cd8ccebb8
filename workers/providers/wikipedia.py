"""Wikipedia as a search engine: mediawiki.org/wiki/API:Search, Extension:TextExtracts and API:Etiquette."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import BaseModel

from shared.contracts import Missing
from shared.errors import WorkerFault
from workers.language.languages import language_of
from workers.language.questions import content
from workers.providers.calls import USER_AGENT, Api, RateLimited
from workers.providers.web import Engine, EngineResult, Results
from workers.reading.documents.document import Document, DocumentBlock, DocumentSection

BASE = "https://en.wikipedia.org/w/api.php"
MAX_ARTICLES = 5  # each is a call of its own: whole texts come one at a time, and etiquette asks for no more at once
FURNITURE = frozenset(
    ("see also", "references", "external links", "further reading", "notes", "bibliography", "sources")
)
HINTS = {403: "Wikipedia refuses clients without an honest User-Agent, and some networks", 404: "check SEARCH_URL"}

_HEADING = re.compile(r"^(={2,6})\s*(.+?)\s*\1\s*$")
_MARKUP = re.compile(r"\{\\displaystyle.*?\}\s*$", re.MULTILINE)


class _Error(BaseModel):
    code: str
    info: str = ""


class _Page(BaseModel):
    title: str
    extract: str = ""


class _Query(BaseModel):
    search: list[_Page] = []
    pages: list[_Page] = []


class _Answer(BaseModel):
    query: _Query | None = None
    error: _Error | None = None
    batchcomplete: bool = False


def engine(url: str | None) -> Engine:
    """Asks the wiki at `url` (`https://de.wikipedia.org`, say, or the whole address of an api.php)."""
    endpoint = _endpoint(url)

    async def search(api: Api, question: str, limit: int) -> Results:
        terms = [word.text for word in content(question, language_of(question))]
        titles: list[str] = []
        # CirrusSearch wants every word; an everyday question has too many, so the second try wants any.
        for query in dict.fromkeys((" ".join(terms), " OR ".join(terms))):
            if query and not titles:
                listed = await _query(api, endpoint, list="search", srsearch=query[:300], srlimit=str(min(limit, 50)))
                titles = [page.title for page in listed.search]
        found: list[EngineResult] = []
        missing: list[Missing] = []
        for title in titles[:MAX_ARTICLES]:
            address = f"{endpoint.partition('/w/')[0]}/wiki/{quote(title.replace(' ', '_'))}"
            try:
                whole = await _query(
                    api, endpoint, prop="extracts", explaintext="1", exsectionformat="wiki", redirects="1", titles=title
                )
            except WorkerFault as exc:
                if not found:
                    raise
                missing.append(Missing(what=address, why=exc.detail.rstrip(".")))
                continue
            text = whole.pages[0].extract if whole.pages else ""
            if text.strip():
                found.append(EngineResult(address, title, document=read(title, text)))
            else:
                missing.append(Missing(what=address, why="has no text"))
        return Results(found, missing)

    return search


def read(title: str, extract: str) -> Document:
    """An article's plain text with `== headings ==` as sections, without its lists of links and references."""
    sections: list[DocumentSection] = []
    path: list[tuple[int, str]] = []
    anchor = ""
    blocks: list[DocumentBlock] = []

    def close() -> None:
        if blocks and not any(name.lower() in FURNITURE for _, name in path):
            sections.append(DocumentSection(tuple(name for _, name in path), anchor, tuple(blocks)))
        blocks.clear()

    for line in _MARKUP.sub("", extract).splitlines():
        heading = _HEADING.match(line.strip())
        if heading:
            close()
            level = len(heading[1])
            path = [*((above, name) for above, name in path if above < level), (level, heading[2])]
            anchor = heading[2].replace(" ", "_")
        elif text := " ".join(line.split()):
            blocks.append(DocumentBlock(text))
    close()
    return Document(title, tuple(sections))


async def _query(api: Api, endpoint: str, **parameters: str) -> _Query:
    call: dict[str, Any] = {"action": "query", "format": "json", "formatversion": "2", "maxlag": "5", **parameters}
    answer = await api.ask(_Answer, "GET", endpoint, params=call, headers={"User-Agent": USER_AGENT})
    if answer.error is not None:
        if answer.error.code in ("ratelimited", "maxlag"):
            raise RateLimited(api.provider, None, f" ({answer.error.info or answer.error.code})")
        raise WorkerFault(
            f"{api.provider} refused the call ({answer.error.code}: {answer.error.info}).", type="search_refused"
        )
    if answer.query is None and not answer.batchcomplete:
        raise WorkerFault(f"{api.provider} sent JSON of the wrong shape (/query: missing).", type="search_bad_answer")
    return answer.query or _Query()


def _endpoint(url: str | None) -> str:
    if not url:
        return BASE
    return url if urlsplit(url).path.strip("/") else url.rstrip("/") + "/w/api.php"
