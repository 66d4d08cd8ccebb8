"""A report on a terminal: the answer first, then its sources, in the terminal's width, with links where it has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.style import Style
from rich.table import Table
from rich.text import Text

from shared.rendering import Link, blocks, clean
from shared.rendering.blocks import Block, Code, Listing, Paragraph, Terms
from shared.rendering.marks import Marked, marker
from shared.rendering.shown import ShownReport, format_date, join_words, place, present
from shared.report.model import Cited, NumberedSource, Report

WIDEST = 100  # columns: longer lines are hard to read

Marking = Callable[[str], Marked]


def print_report(report: Report, console: Console, link: Link) -> None:
    """The whole report. `link` says where a source can be opened; a terminal without links shows the address."""
    seen, mark = present(report), marker(report.words)
    width = min(console.width, WIDEST)
    for part in _parts(seen, mark, link, plain_links=console.color_system is None):
        console.print(part, width=width, soft_wrap=False, highlight=False, markup=False)


def _parts(seen: ShownReport, mark: Marking, link: Link, *, plain_links: bool) -> Iterator[RenderableType]:
    report = seen.report
    if seen.admits:
        yield Text(seen.admits, style="bold yellow")
    if seen.absent:
        yield Text(f"No document has {join_words([clean(word) for word in seen.absent], 'or')}.", style="yellow")
    if seen.respelled:
        changed = [f"{clean(word.searched)} instead of “{clean(word.word)}”" for word in seen.respelled]
        yield Text(f"Searched for {join_words(changed)}.", style="dim")
    for item in seen.answer:
        if part := seen.part(item):
            yield Text(f"\n{part}", style="bold")
        yield from _item(item, seen, mark, link)
    for section in seen.sections:
        yield _title(section.title or "More")
        for item in section.findings:
            yield from _item(item, seen, mark, link)
    if report.contradictions:
        yield _title("Where sources differ")
        for one in report.contradictions:
            yield Text(f"{clean(one.about)}: {clean(one.why)}".strip(": "))
            yield from (Padding(Text(f"– {clean(side.statement)}"), (0, 0, 0, 2)) for side in one.sides)
    if report.sources:
        yield _title(seen.sources_title)
        yield from (_source(source, seen, link, plain_links=plain_links) for source in report.sources)
    if report.missing:
        yield _title("What is missing")
        yield from (Text(f"{clean(m.what)}: {clean(m.why)}", style="yellow") for m in report.missing)
    said = [*(f"Searched: {one}" for one in report.searched), *report.notes, report.made]
    if any(said):
        yield Text("\n" + "\n".join(clean(one) for one in said if clean(one)), style="dim")


def _title(text: str) -> RenderableType:
    return Padding(Rule(Text(clean(text), style="bold"), align="left", characters="─", style="dim"), (1, 0, 0, 0))


def _item(item: Cited, seen: ShownReport, mark: Marking, link: Link) -> Iterator[RenderableType]:
    """A passage with its place below, or a sentence with its numbers."""
    numbers = "".join(f" [{n}]" for n in item.citations)
    if said := clean(item.said):
        yield Padding(Text.assemble((said, "bold"), (numbers, "dim")), (1, 0, 0, 0))
    found = blocks(item.statement)
    inline = not seen.quoted and found and isinstance(found[-1], Paragraph)
    for at, block in enumerate(found):
        body = _block(block, mark)
        if inline and at == len(found) - 1 and isinstance(body, Text):
            body.append(numbers, style="dim")
        yield Padding(body, (1 if at == 0 or isinstance(block, Paragraph) else 0, 0, 0, 0))
    if not inline:
        for source in seen.sources(item):
            yield _place(source, link, style="cyan").append(f" [{source.number}]", style="dim")


def _place(source: NumberedSource, link: Link, *, style: str) -> Text:
    """Document and headings, which open the source where the terminal has links."""
    target = link(source)
    day = format_date(source.modified)
    linked = Style.parse(style) + (Style(link=target) if target else Style())
    text = Text(" › ".join(place(source)), style=linked)
    return Text.assemble(text, (f", {day}" if day else "", "dim"))


def _source(source: NumberedSource, seen: ShownReport, link: Link, *, plain_links: bool) -> RenderableType:
    row = Table.grid(padding=(0, 1))
    row.add_column(justify="right", min_width=2)
    row.add_column(overflow="fold")
    location, target = clean(source.location), link(source)
    shows = [location] if location else []
    if plain_links and target and target != location:
        shows.append(target)
    if source.number in seen.unread and clean(source.excerpt):
        shows.append(clean(source.excerpt))
    row.add_row(Text(str(source.number), style="dim"), _place(source, link, style="default"))
    for line in shows:
        row.add_row("", Text(line, style="dim", overflow="fold"))
    return row


def _block(block: Block, mark: Marking) -> RenderableType:
    if isinstance(block, Paragraph):
        return _highlight(block.text, mark)
    if isinstance(block, Code):
        return Padding(Text(block.text, style="green", overflow="fold"), (0, 0, 0, 4))
    if isinstance(block, Listing):
        return _list(block, mark)
    if isinstance(block, Terms):
        return _terms(block, mark)
    return _rows(block.header, block.rows, mark)


def _list(block: Listing, mark: Marking) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", no_wrap=True, min_width=2)
    grid.add_column(overflow="fold")
    for item in block.items:
        inside = [_block(inner, mark) for inner in item.inside]
        sign = "•" if item.number is None else f"{item.number}."
        grid.add_row(Text(sign, style="dim"), Group(_highlight(item.text, mark), *inside))
    return grid


def _terms(block: Terms, mark: Marking) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(overflow="fold", style="bold")
    grid.add_column(overflow="fold")
    for term, said in block.pairs:
        grid.add_row(_highlight(term, mark), _highlight(said, mark))
    return grid


def _rows(header: Sequence[str], rows: Sequence[Sequence[str]], mark: Marking) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_header=bool(header), pad_edge=False, padding=(0, 1))
    for at in range(len(rows[0])):
        table.add_column(Text(clean(header[at])) if header else "", overflow="fold", style="bold" if at == 0 else "")
    for row in rows:
        table.add_row(*(_highlight(cell, mark) for cell in row))
    return table


def _highlight(text: str, mark: Marking) -> Text:
    return Text.assemble(*((piece, "bold" if is_marked else "") for piece, is_marked in mark(clean(text))))
