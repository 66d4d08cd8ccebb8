"""What the built-in workers hand to each other: evidence, then findings, then a report."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts import Missing

ADMITTED = "Your documents do not seem to answer this"  # how a report begins that has no answer


class _Open(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Source(_Open):
    """Where evidence comes from. `location` is the path below KNOWLEDGE_DIR, or the URL."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    id: str
    title: str
    location: str
    provider: str = ""
    score: float = 0.0
    excerpt: str = ""


class Evidence(Source):
    """One passage. `id` is the same for the same passage in every step; `location` may end in `#anchor`.

    `text` is the whole passage, plain; `excerpt` (of Source) the sentences around the hit, at most 400 characters.
    `score` is from 0 to 1, higher is better, comparable within one step. `language` is ISO 639-1, `modified` the
    source's date (ISO 8601); both are "" where unknown.

    `text` keeps a few conventions: a blank line between blocks; a list item begins with "- " or its number, two spaces
    in a level; code is four spaces in; a table's row is `cell | Column: cell`; a definition `term — explanation`.
    """

    text: str = ""
    heading: str = ""
    question: str = ""
    language: str = ""
    modified: str = ""


class AskedWord(_Open):
    """A word of the question that counts, as the index knows it.

    `searched` is what was searched instead ("": as asked), another spelling or a part of it, which then has an entry
    for each part. `weight` is its inverse document frequency, `passages` how many hold it (0: none).
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    word: str
    searched: str = ""
    weight: float = 0.0
    passages: int = 0


class Research(_Open):
    """Output of capability `research`. `searched` says where was looked, in words a reader understands."""

    question: str
    provider: str
    searched: str
    evidence: list[Evidence] = Field(default_factory=list)
    words: list[AskedWord] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)


class Finding(_Open):
    """A statement quoted from the evidence it points at; with `answers` it is shown as the answer to `question`.

    `by` is the model that chose it ("": the words of the question did), `said` what it says in that model's words, in
    the same language as the question if it could; "" where the quotation says it best.
    """

    id: str
    answers: bool = False
    by: str = ""
    said: str = ""
    statement: str
    topic: str
    evidence: list[str]
    support: Literal["strong", "moderate", "weak"]
    score: float = 0.0
    question: str = ""


class Agreement(_Open):
    """Different sources that say the same."""

    statement: str
    evidence: list[str]


class Side(_Open):
    statement: str
    evidence: list[str]


class Contradiction(_Open):
    """Different sources that cannot both be right; `about` names the matter, `why` what differs."""

    about: str
    sides: list[Side]
    why: str = ""


class Analysis(_Open):
    """Output of capability `analyze`. Every `evidence` id is in `sources`; `passages` counts what was read.

    `answered` is None if that was not judged; `confidence` is the share of the question, by weight, that the best
    passage and its headings hold; `unanswered` are the parts of the question that nothing answers. `agreements`,
    `contradictions` and `key_terms` are kept for readers of earlier reports.
    """

    question: str
    findings: list[Finding] = Field(default_factory=list)
    agreements: list[Agreement] = Field(default_factory=list)
    contradictions: list[Contradiction] = Field(default_factory=list)
    key_terms: list[str] = Field(default_factory=list)
    sources: list[Evidence] = Field(default_factory=list)
    searched: list[str] = Field(default_factory=list)
    passages: int = 0
    thin: bool = False
    answered: bool | None = None
    confidence: float = 0.0
    words: list[AskedWord] = Field(default_factory=list)
    unanswered: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)


class Cited(_Open):
    """A statement in a report with the numbers of its sources; `question` is the part that it answers, of several.

    `said` is what it says in a model's words, checked against the statement; shown above it, where there is any.
    """

    statement: str
    citations: list[int]
    question: str = ""
    support: str = ""
    said: str = ""


class Section(_Open):
    title: str
    findings: list[Cited]


class NumberedSource(Source):
    """A source as the report lists it; `number` is what citations use."""

    number: int
    heading: str = ""
    language: str = ""
    modified: str = ""


class Report(_Open):
    """A report as data; `shared.rendering` makes Markdown and HTML of it.

    `summary` is the answer, a statement for each part of the question; `sections` hold more. A statement may have
    several lines, by the conventions of `Evidence.text`. `answered` is None where no analyzer took part. `written`:
    the statements are a model's own words, not passages.
    """

    title: str
    question: str
    answered: bool | None = None
    confidence: float = 0.0
    words: list[AskedWord] = Field(default_factory=list)
    summary: list[Cited] = Field(default_factory=list)
    sections: list[Section] = Field(default_factory=list)
    agreements: list[Cited] = Field(default_factory=list)
    contradictions: list[Contradiction] = Field(default_factory=list)
    key_terms: list[str] = Field(default_factory=list)
    sources: list[NumberedSource] = Field(default_factory=list)
    missing: list[Missing] = Field(default_factory=list)
    searched: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    made: str = ""
    written: bool = False


class ReportOutput(_Open):
    """Output of capability `report`: the text in the format that was asked for, and the data behind it."""

    report: str
    format: Literal["markdown", "html", "json"]
    document: Report
