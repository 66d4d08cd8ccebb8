"""The form in which a caller wants an answer: format, with or without the steps' outputs, indented or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, Request, Response
from pydantic_core import to_json

from coordinator.reports.view import WITHOUT_OUTPUTS
from shared.contracts import Format, TaskView

FORMATS: Mapping[str, Format] = {"text/markdown": "markdown", "text/html": "html", "application/json": "json"}
TYPES: Mapping[str, str] = {name: type for type, name in FORMATS.items()}
POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
INDENT = 2


@dataclass(frozen=True)
class AnswerForm:
    """`?view=brief` and `?pretty`. curl, which people type, gets what is pretty unless it says otherwise."""

    brief: bool = False
    pretty: bool = False

    def task(self, seen: TaskView) -> str:
        """A TaskView as JSON."""
        without: Any = WITHOUT_OUTPUTS if self.brief else None
        return self._end(seen.model_dump_json(indent=INDENT if self.pretty else None, exclude=without))

    def json(self, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
        """A TaskView, or anything else that is JSON, as an answer."""
        if isinstance(body, TaskView):
            text = self.task(body)
        else:
            text = self._end(to_json(body, indent=INDENT if self.pretty else None).decode())
        return Response(text, status, headers=dict(headers or {}), media_type="application/json")

    def _end(self, text: str) -> str:
        return f"{text}\n" if self.pretty else text  # a terminal's prompt begins a line


async def _wanted(request: Request, view: Literal["full", "brief"] = "full", pretty: str | None = None) -> AnswerForm:
    if pretty is None:
        return AnswerForm(view == "brief", is_typed(request.headers.get("user-agent", "")))
    return AnswerForm(view == "brief", pretty.lower() not in ("0", "false", "no"))


def is_typed(agent: str) -> bool:
    """Whether a client is curl: its JSON is read by people, and by `jq`, to which line breaks are nothing."""
    return agent.startswith("curl/")


def written(text: str, format: Format, headers: Mapping[str, str] | None = None) -> Response:
    """A report or a source as an answer: no browser runs, loads or frames anything of it, whatever it quotes."""
    safe = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": POLICY if format == "html" else "sandbox"}
    return Response(text, headers=safe | dict(headers or {}), media_type=TYPES[format])


RequestedForm = Annotated[AnswerForm, Depends(_wanted)]


def choose_format(accept: str) -> Format | None:
    """The format that an Accept header prefers (RFC 9110, section 12.5.1); None if it names no known one."""
    liked: list[tuple[float, Format]] = []
    for part in accept.split(","):
        kind, *more = (piece.strip() for piece in part.split(";"))
        if kind.lower() in FORMATS:
            liked.append((_weight(more), FORMATS[kind.lower()]))
    best = max((weight for weight, _ in liked), default=0.0)
    return next((format for weight, format in liked if weight == best > 0), None)


def _weight(parameters: list[str]) -> float:
    given = next((p[2:] for p in parameters if p.lower().startswith("q=")), "1")
    try:
        return float(given)
    except ValueError:
        return 0.0
