"""Views become pages: the whole page, or only the part of it that changes.

jinja2 is imported with the first page, because a coordinator that nobody looks at should not carry it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

from fastapi import Response

from coordinator.access.scopes import Scope
from coordinator.console import assets
from coordinator.console.figures import words
from coordinator.console.visitor import Visitor
from shared.rendering import clean
from shared.version import VERSION

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
SECTIONS = (("", "Ask"), ("tasks", "Tasks"), ("agents", "Agents"), ("numbers", "Numbers"), ("health", "Health"))


@dataclass(frozen=True)
class View:
    """What a page shows; `over` says that nothing of it will change, so that it need not be watched.

    `section` is its place in the navigation.
    """

    template: str
    title: str
    section: str
    values: Mapping[str, Any] = field(default_factory=dict)
    over: bool = False


def render_page(view: View, visitor: Visitor | None, *, base: str, status: int = 200) -> Response:
    """The whole page; without a visitor it offers nothing but to look elsewhere."""
    text = (
        _environment()
        .get_template(view.template)
        .render(
            **_shared(base, visitor.scopes if visitor else frozenset()),
            view=view,
            visitor=visitor,
            sections=SECTIONS,
            version=VERSION,
            asset=partial(assets.address, base),
            **{"once": token_urlsafe(16), **view.values},
        )
    )
    return Response(text, status, headers=HEADERS, media_type="text/html")


def render_part(view: View, scopes: frozenset[Scope], *, base: str) -> str:
    """Only what is watched: the template's block `live`."""
    template = _environment().get_template(view.template)
    context = template.new_context({**_shared(base, scopes), "view": view, **view.values})
    return "".join(template.blocks["live"](context))


def _shared(base: str, scopes: frozenset[Scope]) -> dict[str, Any]:
    return {"base": base, "home": f"{base}/console", "may_execute": Scope.EXECUTE in scopes, "scopes": scopes}


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def shown_safely(value: Any) -> Any:
        """Every expression of a template passes here: no control characters, no marks that turn text around."""
        return clean(value, keep_lines=True) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=shown_safely,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("duration", "age", "moment", "iso", "count", "shorten", "as_json"):
        environment.filters[name] = getattr(words, name)
    return environment
