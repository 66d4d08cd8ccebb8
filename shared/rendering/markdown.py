"""A report, or one passage in its place, as CommonMark: the answer first, its sources at the end.

Citations link to `source-N` anchors in the list of sources. jinja2 is not needed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from shared.rendering.blocks import Block, Code, Listing, Paragraph, Table, Terms, blocks
from shared.rendering.links import Link, address
from shared.rendering.passage import ShownPassage
from shared.rendering.shown import ShownReport, asks, format_date, join_words, place, present
from shared.report.model import Cited, NumberedSource, Report
from shared.report.safe import clean, code, escape_markdown, longest_fence

_ABOUT = "About this answer"


def to_markdown(report: Report, link: Link = address) -> str:
    """The report with its title and everything in it."""
    head = [f"# {escape_markdown(report.title) or 'Report'}"]
    if asks(report):
        head.append(f"**Question:** {escape_markdown(report.question)}")
    return _join([*head, *_body(present(report), link)])


def answer_to_markdown(report: Report, link: Link = address) -> str:
    """The report without its title, for who has just asked: it begins with the answer, or the admission."""
    return _join(_body(present(report), link))


def beginning_to_markdown(report: Report, link: Link = address) -> str:
    """How `answer_to_markdown` begins of a report of which only the answer is there yet."""
    return _join(_answer(present(report), link)).removesuffix("\n")


def passage_to_markdown(passage: ShownPassage) -> str:
    """A passage with what comes before and after it."""
    title, *headings = place(passage.source)
    about = [" › ".join(escape_markdown(part) for part in headings), _where(passage.source, address(passage.source))]
    day = format_date(passage.source.modified)
    return _join(
        [
            f"# {escape_markdown(title)}",
            ", ".join(part for part in (*about, day) if part),
            *([f"*{escape_markdown(passage.note)}*"] if passage.note else []),
            *(["…", *_blocks(blocks(passage.before))] if passage.before else []),
            *(["---"] if passage.before else []),
            *_blocks(blocks(passage.text)),
            *(["---"] if passage.after else []),
            *([*_blocks(blocks(passage.after)), "…"] if passage.after else []),
        ]
    )


def _answer(seen: ShownReport, link: Link) -> Iterator[str]:
    if seen.admits:
        yield f"**{escape_markdown(seen.admits)}**"
    if seen.absent:
        yield f"No document has {join_words([f'*{escape_markdown(word)}*' for word in seen.absent], 'or')}."
    if seen.respelled:
        changed = [f"*{escape_markdown(w.searched)}* instead of “{escape_markdown(w.word)}”" for w in seen.respelled]
        yield f"Searched for {join_words(changed)}."
    for item in seen.answer:
        if part := seen.part(item):
            yield f"**{escape_markdown(part)}**"
        yield from _item(item, seen, link)


def _body(seen: ShownReport, link: Link) -> Iterator[str]:
    report = seen.report
    yield from _answer(seen, link)
    for section in seen.sections:
        yield f"## {escape_markdown(section.title) or 'More'}"
        for item in section.findings:
            yield from _item(item, seen, link)
    yield from _agreements(report)
    yield from _sources(seen, link)
    if report.missing:
        yield "## What is missing"
        yield "\n".join(f"- **{escape_markdown(m.what)}**: {escape_markdown(m.why)}" for m in report.missing)
    if report.searched or report.notes or report.made:
        yield f"## {_ABOUT}"
        said = [*(f"Searched: {one}" for one in report.searched), *report.notes, report.made]
        yield "\n".join(f"- {escape_markdown(one)}" for one in said if clean(one))


def _item(item: Cited, seen: ShownReport, link: Link) -> Iterator[str]:
    """A passage and its place, or a sentence with its numbers."""
    numbers = "".join(f" [{n}](#source-{n})" for n in item.citations)
    if clean(item.said):
        yield f"{escape_markdown(item.said)}{numbers}"
    *first, last = _blocks(blocks(item.statement)) or [""]
    if not seen.quoted:
        inline = isinstance(blocks(item.statement)[-1], Paragraph)
        yield from ([*first, last + numbers] if inline else [*first, last, numbers.strip()])
        return
    yield from [*first, last]
    said = [
        f"{_source_title(source, link)} [{source.number}](#source-{source.number})" for source in seen.sources(item)
    ]
    if said:
        yield f"— {'; '.join(said)}"


def _agreements(report: Report) -> Iterator[str]:
    """Where sources agree and differ, where a report says that."""
    numbers = {source.id: source.number for source in report.sources}
    if report.agreements:
        yield "## Where sources agree"
        yield "\n".join(f"- {_with_citations(one.statement, one.citations)}" for one in report.agreements)
    if report.contradictions:
        yield "## Where sources differ"
    for one in report.contradictions:
        why = f": {escape_markdown(one.why)}" if clean(one.why) else ""
        sides = [
            f"    - {_with_citations(s.statement, sorted({numbers[i] for i in s.evidence if i in numbers}))}"
            for s in one.sides
        ]
        yield "\n".join([f"- **{escape_markdown(one.about) or 'Differing statements'}**{why}", *sides])


def _with_citations(statement: str, citations: Iterable[int]) -> str:
    return escape_markdown(statement) + "".join(f" [{n}](#source-{n})" for n in citations)


def _sources(seen: ShownReport, link: Link) -> Iterator[str]:
    if not seen.report.sources:
        return
    yield f"## {seen.sources_title}"
    for source in seen.report.sources:
        day = format_date(source.modified)
        said = [_source_title(source, link), _where(source, link(source)), day]
        line = f'{source.number}. <a id="source-{source.number}"></a>{", ".join(part for part in said if part)}'
        shows = source.number in seen.unread and clean(source.excerpt)
        yield f"{line}\n\n   {escape_markdown(source.excerpt)}" if shows else line


def _source_title(source: NumberedSource, link: Link) -> str:
    """The place, linked where it can be opened."""
    said = " › ".join(escape_markdown(part) for part in place(source))
    target = link(source)
    return f"[{said}]({target})" if target else said


def _where(source: NumberedSource, linked: str) -> str:
    """The path or address, unless the link above shows it."""
    location = clean(source.location)
    web = address(source)
    if not location or web == linked != "" or location == clean(source.title):
        return ""
    return f"<{web}>" if web else code(location)


def _blocks(found: Sequence[Block], indent: str = "") -> list[str]:
    """Blocks as Markdown, each a string; `indent` is the indentation of the text of the item around them."""
    return [_indent(_block(block), indent) for block in found]


def _block(block: Block) -> str:
    match block:
        case Paragraph(text=text):
            return escape_markdown(text)
        case Code(text=text):
            fence = "`" * max(3, longest_fence(text) + 1)
            return f"{fence}\n{text}\n{fence}"
        case Listing():
            return _list(block)
        case Table(header=header, rows=rows):
            names = header or ("",) * len(rows[0])
            return "\n".join(_row(cells) for cells in (names, ("---",) * len(names), *rows))
        case Terms(pairs=pairs):
            return "\n".join(f"- **{escape_markdown(term)}** — {escape_markdown(said)}" for term, said in pairs)


def _list(block: Listing) -> str:
    lines = []
    for at, item in enumerate(block.items, start=1):
        mark = f"{item.number if item.number is not None else at}. " if block.ordered else "- "
        inside = _blocks(item.inside, " " * len(mark))
        lines.append("\n".join([mark + escape_markdown(item.text), *inside]))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join('---' if cell == '---' else escape_markdown(cell) for cell in cells)} |"


def _indent(text: str, indent: str) -> str:
    return "\n".join(indent + line if line else line for line in text.split("\n")) if indent else text


def _join(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part.strip()) + "\n"
