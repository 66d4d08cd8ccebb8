"""Pages: a report, a passage in its context, and third-party Markdown; nothing is loaded, no script can run.

jinja2 and markdown-it-py are imported on first use, because a service that never renders should not carry them.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.rendering.blocks import blocks
from shared.rendering.links import Link, address
from shared.rendering.marks import marker
from shared.rendering.passage import ShownPassage
from shared.rendering.shown import asks, format_date, place, present
from shared.report.model import NumberedSource, Report
from shared.report.safe import clean, web_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jinja2 import Environment
    from markupsafe import Markup

    from shared.report.model import AskedWord

TEMPLATES = Path(__file__).parent.parent / "templates"
PALETTE = TEMPLATES / "palette.css"  # the colours, which the console shares
MAX_FORMATTED = 100_000  # characters of foreign Markdown: they take 0.5 s, six times as long where they are hostile
_ANCHOR = re.compile(r'<a id="(source-\d{1,6})"></a>')
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*\Z")


def to_html(report: Report, link: Link = address) -> str:
    """The report as one self-contained page, on which the question's words are marked."""
    seen = present(report)
    numbers = {source.id: source.number for source in report.sources}
    return (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            seen=seen,
            asks=asks(report),
            link=_opened(link),
            cite=lambda ids: sorted({numbers[i] for i in ids if i in numbers}),
            mark=_mark(report.words),
        )
    )


def passage_to_html(passage: ShownPassage, *, back: str) -> str:
    """A passage in its place; `back` is the address of the report, one of ours."""
    return (
        _environment()
        .get_template("passage.html")
        .render(passage=passage, source=passage.source, back=back, mark=_mark(passage.words))
    )


def markdown_to_html(text: str, title: str) -> str:
    """A page around third-party Markdown. Raw HTML in it is shown as text; unsafe links become text.

    A text longer than `MAX_FORMATTED` is shown as it is.
    """
    body = markdown_to_part(text)
    return _environment().get_template("page.html").render(title=clean(title) or "Report", body=body)


def markdown_to_part(text: str) -> Markup:
    """Third-party Markdown as a part of a page, by the same rules."""
    from markupsafe import Markup

    text = clean(text, keep_lines=True)
    return Markup(_markdown().render(text)) if len(text) <= MAX_FORMATTED else Markup("<pre>{}</pre>").format(text)


def _mark(words: Sequence[AskedWord]) -> Callable[[str], Markup]:
    """A function that escapes a text, with the question's words marked."""
    from markupsafe import Markup, escape

    marked = marker(words)

    def mark(text: str) -> Markup:
        pieces = marked(clean(text, keep_lines=True))
        return Markup("").join(
            Markup("<mark>{}</mark>").format(one) if is_one else escape(one) for one, is_one in pieces
        )

    return mark


def _opened(link: Link) -> Callable[[NumberedSource], Markup]:
    from markupsafe import Markup

    return lambda source: Markup(link(source).replace("&", "&amp;").replace('"', "%22"))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    def shown_safely(value: Any) -> Any:
        """Every expression of a template passes here."""
        return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, finalize=shown_safely, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["url"] = lambda text: Markup(web_url(text).replace("&", "&amp;"))
    environment.filters["blocks"] = blocks
    environment.filters["place"] = place
    environment.filters["dated"] = format_date
    environment.filters["language"] = lambda text: text if _LANGUAGE.match(text) else ""
    return environment


@cache
def _markdown() -> Any:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline

    def anchor(state: StateInline, silent: bool) -> bool:
        """The one piece of HTML our own Markdown has: the anchors that citations point at."""
        if (found := _ANCHOR.match(state.src, state.pos)) is None:
            return False
        if not silent:
            token = state.push("anchor_open", "a", 1)
            token.attrs = {"id": found[1]}
            state.push("anchor_close", "a", -1)
        state.pos = found.end()
        return True

    markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
    markdown.inline.ruler.before("autolink", "anchor", anchor)
    return markdown
