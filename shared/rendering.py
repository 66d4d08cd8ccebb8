"""A report as data becomes Markdown, a page of HTML, or, out of whatever steps delivered, a plain report.

Everything a source wrote is text here and stays text: it is escaped for the format it goes into, links are made of
http(s) addresses alone, and control and direction characters are taken out (Unicode TR36, section 3.1). jinja2 and
markdown-it-py are imported on first use, because a service that never renders should not carry them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, JsonValue, ValidationError

from shared.contracts import Missing
from shared.report import Analysis, Cited, Evidence, NumberedSource, Report, Research, Section

if TYPE_CHECKING:
    from jinja2 import Environment

T = TypeVar("T", bound=BaseModel)
TEMPLATES = Path(__file__).parent / "templates"
MAX_FORMATTED = 100_000  # characters of foreign Markdown: they take 0.5 s, six times as long where they are hostile
MAX_PLAIN_STATEMENTS = 40  # of one step, in a plain report
MAX_PLAIN_CHARACTERS = 20_000  # of one statement there: foreign outputs may be megabytes

# C0 and C1 controls, zero-width and direction characters, line separators, byte order marks, lone surrogates.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
_MARKS = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])|^(?:#|[-+=](?=[\s=-]|$))|^\d{1,9}(?=[.)])")
_ANCHOR = re.compile(r'<a id="(source-\d{1,6})"></a>')


def to_markdown(report: Report) -> str:
    """The report as CommonMark. Citations link to `source-N` anchors in the list of sources."""
    text = _environment("markdown").get_template("report.md").render(_view(report))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def to_html(report: Report) -> str:
    """The report as one self-contained page: nothing is loaded from elsewhere and no script can run."""
    return _environment("html").get_template("report.html").render(_view(report))


def markdown_to_html(text: str, title: str) -> str:
    """A page around somebody else's Markdown. Raw HTML in it is shown as text; unsafe links are no links.

    A text longer than `MAX_FORMATTED` is shown as it is.
    """
    from markupsafe import Markup

    text = clean(text, keep_lines=True)
    body = Markup(_markdown().render(text)) if len(text) <= MAX_FORMATTED else Markup("<pre>{}</pre>").format(text)
    return _environment("html").get_template("page.html").render(title=clean(title) or "Report", body=body)


def plain_report(title: str, question: str, outputs: Mapping[str, JsonValue], missing: Sequence[Missing]) -> Report:
    """A simple report out of what steps delivered, by step id: Analysis, Research, or any other JSON. Never raises."""
    sections: list[Section] = []
    parts: list[Analysis] = []
    sources: dict[str, NumberedSource] = {}
    for step, output in outputs.items():
        if (analysis := _read(Analysis, output, "findings")) is not None:
            number_sources(analysis.sources, sources)
            sections += _topics(analysis, sources)
            parts.append(analysis)
        elif (research := _read(Research, output, "evidence")) is not None:
            number_sources(research.evidence, sources)
            sections += _passages(research, sources)
            parts.append(Analysis(question=research.question, searched=[research.searched], notes=research.notes))
        else:
            sections.append(Section(title=step, findings=_statements(output)))
    return Report(
        title=title,
        question=question,
        summary=[] if any(s.findings for s in sections) else [Cited(statement="Nothing was found.", citations=[])],
        sections=[section for section in sections if section.findings],
        agreements=[
            Cited(statement=a.statement, citations=numbers(a.evidence, sources)) for p in parts for a in p.agreements
        ],
        contradictions=[c for p in parts for c in p.contradictions],
        key_terms=list(dict.fromkeys(term for p in parts for term in p.key_terms)),
        sources=list(sources.values()),
        missing=list(missing),
        searched=list(dict.fromkeys(s for p in parts for s in p.searched if s)),
        notes=list(dict.fromkeys(note for p in parts for note in p.notes)),
        made="Put together from the outputs of the steps as they are, without an analysis or a model.",
    )


def number_sources(evidence: Sequence[Evidence], into: dict[str, NumberedSource]) -> None:
    """Adds evidence, by id, to a numbered list of sources; a known id keeps its number."""
    for item in evidence:
        if item.id not in into:
            fields = item.model_dump(include=set(NumberedSource.model_fields) - {"number"})
            into[item.id] = NumberedSource(**fields, number=len(into) + 1)


def numbers(ids: Sequence[str], sources: Mapping[str, NumberedSource]) -> list[int]:
    """The citation numbers of evidence ids, ascending; an unknown id has none."""
    return sorted({sources[i].number for i in ids if i in sources})


def clean(text: str, *, keep_lines: bool = False) -> str:
    """Text without control and direction characters; white space becomes single spaces, or stays with `keep_lines`."""
    text = _UNSEEN.sub(lambda c: "\n" if c[0] in "\r\u2028\u2029" else " " if c[0] < " " else "", text)
    return text if keep_lines else " ".join(text.split())


def web_url(location: str) -> str:
    """The location as a safe link target, or "" when it is no http(s) address."""
    try:
        parts = urlsplit(location.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname or _UNSEEN.search(location):
            return ""
        return quote(parts.geturl(), safe=":/?#@!$&+,;=%~-._")
    except ValueError:
        return ""


def escape_markdown(text: str) -> str:
    """Text that any Markdown renderer shows as it is, also one with HTML enabled and one with GitHub's extensions."""
    escaped = _MARKS.sub(lambda mark: (mark[0] + "\\") if mark[0].isdigit() else "\\" + mark[0], clean(text))
    escaped = re.sub(r"&(?=#?\w+;)", "&amp;", escaped)
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def code(text: str) -> str:
    """Text as a Markdown code span, fenced by more backticks than it has in a row (CommonMark, section 6.1)."""
    text = clean(text)
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text else ""


@cache
def _environment(kind: str) -> Environment:
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        """Every expression of a template passes here; in Markdown this is what autoescape is in HTML."""
        if isinstance(value, Markup) or not isinstance(value, str):
            return value
        return clean(value) if kind == "html" else Markup(escape_markdown(value))

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, finalize=shown, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["url"] = lambda text: Markup(web_url(text).replace("&", "&amp;"))
    environment.filters["code"] = lambda text: Markup(code(text))
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


def _view(report: Report) -> dict[str, Any]:
    by_id = {source.id: source.number for source in report.sources}
    return {
        "report": report,
        "marked": {"strong support": "strong", "disputed": "disputed"},
        "cite": lambda ids: sorted({by_id[i] for i in ids if i in by_id}),
        "asks": clean(report.question).casefold() != clean(report.title).casefold() and bool(clean(report.question)),
    }


def _read(shape: type[T], output: JsonValue, mark: str) -> T | None:
    if not isinstance(output, dict) or not isinstance(output.get(mark), list):
        return None
    try:
        return shape.model_validate({"question": "", "provider": "", "searched": ""} | output)
    except ValidationError:
        return None


def _topics(analysis: Analysis, sources: Mapping[str, NumberedSource]) -> list[Section]:
    topics: dict[str, list[Cited]] = {}
    for finding in analysis.findings:
        cited = Cited(
            statement=finding.statement,
            citations=numbers(finding.evidence, sources),
            support=f"{finding.support} support",
        )
        topics.setdefault(finding.topic, []).append(cited)
    return [Section(title=topic or "Findings", findings=findings) for topic, findings in topics.items()]


def _passages(research: Research, sources: Mapping[str, NumberedSource]) -> list[Section]:
    cited = [
        Cited(statement=e.excerpt or e.text[:400], citations=[sources[e.id].number])
        for e in research.evidence[:MAX_PLAIN_STATEMENTS]
        if (e.excerpt or e.text).strip()
    ]
    return [
        Section(title=f"Passages found for: {research.question}" if research.question else "Passages", findings=cited)
    ]


def _statements(output: JsonValue) -> list[Cited]:
    if isinstance(output, dict):
        for key in ("report", "text", "answer", "output", "content"):
            if isinstance(found := output.get(key), str) and found.strip():
                return _statements(found)
        lines = [f"{key}: {_text(value)}" for key, value in output.items()]
    elif isinstance(output, list):
        lines = [_text(item) for item in output]
    else:
        lines = re.split(r"\n\s*\n", _text(output))
    kept = [line[:MAX_PLAIN_CHARACTERS] for line in lines if line.strip()]
    return [Cited(statement=line, citations=[]) for line in kept[:MAX_PLAIN_STATEMENTS]]


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
