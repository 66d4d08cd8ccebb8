"""What of a report is shown, and in which order: no sentence twice, and an admission before everything else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.report.model import ADMITTED, AskedWord, Cited, NumberedSource, Report, Section
from shared.report.safe import clean

NEAREST = "Nearest passages"
_ADDED = re.compile(r"([?？]) \([^()]*\)\Z")


@dataclass(frozen=True)
class ShownReport:
    """A report as its readers see it.

    `quoted` says that the statements are passages, each shown with its place. `admits` is the
    sentence that says that nothing answers, "" where something does. `unread` are sources that no statement cites.
    """

    report: Report
    quoted: bool
    admits: str
    absent: tuple[str, ...]
    respelled: tuple[AskedWord, ...]
    answer: tuple[Cited, ...]
    sections: tuple[Section, ...]
    unread: frozenset[int]

    @property
    def sources_title(self) -> str:
        """What the list of sources is called: where no statement is shown, it is all that there is."""
        return "Nearest pages" if self.admits and not self.sections else "Sources"

    def part(self, item: Cited) -> str:
        """The part of the question that a statement answers, where there are several; "" where there is one.

        What a part points back at was added in brackets for the search: "And why? (the lease)".
        """
        asked = clean(item.question) if len(self.answer) > 1 else ""
        return _ADDED.sub(r"\1", asked)

    def sources(self, item: Cited) -> list[NumberedSource]:
        """The sources that a statement cites, the one that it is quoted from first."""
        known = {source.number: source for source in self.report.sources}
        return [known[number] for number in item.citations if number in known]


def present(report: Report) -> ShownReport:
    """What is shown of a report, also of one that was stored by an earlier version."""
    summary = [item for item in report.summary if clean(item.statement)]
    admits = ""
    if report.answered is False:
        first = summary.pop(0) if summary and not summary[0].citations else None
        admits = clean(first.statement) if first else f"{ADMITTED}."
    said: set[str] = set()
    answer = _fresh(summary, said, ())
    first_said = sorted(said)
    sections = [Section(title=s.title, findings=_fresh(s.findings, said, first_said)) for s in report.sections]
    if admits and answer:
        sections.insert(0, Section(title=NEAREST, findings=answer))
        answer = []
    cited = {number for item in [*answer, *(f for s in sections for f in s.findings)] for number in item.citations}
    absent = [word.word for word in report.words if word.weight and not (word.passages or word.searched)]
    return ShownReport(
        report=report,
        quoted=not report.written and (report.answered is not None or bool(report.words)),
        admits=admits,
        absent=tuple(word for word in absent if clean(word).casefold() not in admits.casefold()) if admits else (),
        respelled=tuple(word for word in report.words if word.searched and word.searched != word.word),
        answer=tuple(answer),
        sections=tuple(section for section in sections if section.findings),
        unread=frozenset(source.number for source in report.sources if source.number not in cited),
    )


def place(source: NumberedSource) -> list[str]:
    """A passage's place: the document's name, then the headings above it, outermost first."""
    title = clean(source.title) or clean(source.location) or clean(source.id)
    headings = [part for part in clean(source.heading).split(" › ") if part]
    return [title, *(part for part in headings if part != title)]


def asks(report: Report) -> bool:
    """Whether the question has to be said besides the title."""
    question = clean(report.question)
    return bool(question) and question.casefold() != clean(report.title).casefold()


def format_date(modified: str) -> str:
    """A source's date as people write it, "3 May 2026"; "" where there is none that can be read."""
    try:
        day = datetime.fromisoformat(modified)
    except ValueError:
        return ""
    return f"{day.day} {day:%B %Y}"


def join_words(words: Sequence[str], last: str = "and") -> str:
    """Words as a sentence names them: a, b and c."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _fresh(items: Iterable[Cited], said: set[str], answer: Sequence[str]) -> list[Cited]:
    """The statements that are neither in `said`, which remembers them, nor inside of the answer."""
    kept = []
    for item in items:
        words = " ".join(item.statement.split()).casefold()
        if words and words not in said and not any(words in other for other in answer):
            said.add(words)
            kept.append(item)
    return kept
