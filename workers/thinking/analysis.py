"""An analysis by a model, of which only what stands in the evidence is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from shared.errors import ContextTooSmall
from shared.report import Agreement, Analysis, Contradiction, Evidence, Finding, Side
from workers.answering.intake import Intake, document
from workers.thinking.asking import MADE_WITH, Thinking
from workers.thinking.checks import FromModel, Labelled, Text, line, with_excerpts

MAX_FINDINGS = 12
MAX_SHOWN = 8  # agreements, and contradictions
MAX_STATEMENT = 600  # characters
MAX_TERMS = 8
MAX_QUESTIONS = 20
MAX_SOURCES = 40
REPLY_TOKENS = 2_500
ALL = "What are the main points of these passages?"
SUPPORT = (
    "Support is strong where different documents are quoted, moderate where one is, weak without a quote or where "
    "another document contradicts it."
)
INSTRUCTIONS = f"""You analyse passages to answer a question. Use nothing but the passages, no other knowledge.

Give at most {MAX_FINDINGS} findings, the most important first. A finding is one statement of one or two sentences that
helps to answer the question, with
- evidence: the labels of the passages that state it, such as ["p2"];
- quotes: the words of those passages that it rests on, copied letter by letter, one or two sentences each;
- topic: a heading of two to four words for it;
- question: the number of the question it answers.
Give agreements where passages of different documents say the same, and contradictions where they cannot both be right,
each side with its own evidence and quotes. Give as key_terms up to {MAX_TERMS} terms of the passages that matter most.
If the passages do not answer the question, give no findings."""

Names = Annotated[list[Text], Field(max_length=200)]


class ModelStatement(FromModel):
    """A statement with the labels of its passages, and what it quotes from them."""

    statement: Text
    evidence: Names = Field(default_factory=list)
    quotes: Names = Field(default_factory=list)


class ModelFinding(ModelStatement):
    topic: Text = ""
    question: int = 1


class ModelContradiction(FromModel):
    about: Text = ""
    why: Text = ""
    sides: Annotated[list[ModelStatement], Field(max_length=50)] = Field(default_factory=list)


class ModelAnalysis(FromModel):
    """What a model is asked for."""

    findings: Annotated[list[ModelFinding], Field(max_length=500)]
    agreements: Annotated[list[ModelStatement], Field(max_length=500)] = Field(default_factory=list)
    contradictions: Annotated[list[ModelContradiction], Field(max_length=500)] = Field(default_factory=list)
    key_terms: Names = Field(default_factory=list)


async def analysed(task: str, found: Intake, thinking: Thinking) -> Analysis | None:
    """The model's analysis of what was found; None where there is none that holds, and `thinking` knows why."""
    from shared.models.fence import DATA_RULE, fenced

    instructions = f"{INSTRUCTIONS}\n{DATA_RULE}"
    questions = _questions(task, found)
    asked = "\n".join(f"Question {number}: {one}" for number, one in enumerate(questions, 1))
    room = thinking.room(instructions=instructions, shape=ModelAnalysis, reply_tokens=REPLY_TOKENS) - len(asked) - 100
    passages = sorted(found.evidence.values(), key=lambda e: -e.score)
    labelled = Labelled(passages, room)
    if not labelled.passages:
        thinking.failed("What the step may spend does not suffice for a single passage.")
        return None
    try:
        said = await thinking.asked(
            instructions=instructions,
            data=f"{fenced(asked)}\n\nThe passages:\n{fenced(labelled.text)}",
            shape=ModelAnalysis,
            reply_tokens=REPLY_TOKENS,
        )
    except ContextTooSmall:
        return await analysed(task, found, thinking)
    if said is None:
        return None
    analysis = checked(said, labelled, questions)
    if not analysis.findings:
        thinking.failed(
            "None of its findings stands in the evidence." if said.findings else "It found nothing in the evidence."
        )
        return None
    notes = [*found.notes, f"{MADE_WITH}{thinking.name}. {SUPPORT}", *analysis.notes]
    if len(labelled.passages) < len(passages):
        notes.append(f"Of {len(passages)} passages the model read the best {len(labelled.passages)}.")
    return analysis.model_copy(
        update={
            "question": task or questions[0],
            "sources": _sources(analysis, passages),
            "answered": True,
            "searched": found.searched,
            "passages": len(passages),
            "notes": notes,
        }
    )


def checked(said: ModelAnalysis, labelled: Labelled, questions: Sequence[str]) -> Analysis:
    """What of a model's analysis holds, with the passages it cites as sources."""
    contradictions = _contradictions(said.contradictions, labelled)
    disputed = {side.statement for c in contradictions for side in c.sides}
    findings: list[Finding] = []
    quotes: dict[str, list[str]] = {}
    for one in said.findings:
        cited, quoted = _grounded(one, labelled)
        statement = line(one.statement)
        if not cited or not _is_short(statement) or len(findings) == MAX_FINDINGS:
            continue
        for id, some in quoted.items():
            quotes.setdefault(id, []).extend(some)
        number = len(findings)
        findings.append(
            Finding(
                id=f"f{number + 1}",
                statement=statement,
                topic=line(one.topic)[:90] or "Findings",
                evidence=[item.id for item in cited][:6],
                support=_support(cited, bool(quoted), statement in disputed),
                score=round(1 - 0.05 * number, 2),
                question=questions[one.question - 1 if 0 < one.question <= len(questions) else 0],
            )
        )
    dropped, given = len(said.findings) - len(findings), len(said.findings)
    left_out = f"{dropped} of the model's {given} findings were left out: they do not stand in what they cite."
    return Analysis(
        question=questions[0],
        findings=findings,
        agreements=_agreements(said.agreements, labelled),
        contradictions=contradictions,
        key_terms=_terms(said.key_terms, labelled),
        sources=with_excerpts(labelled.passages, quotes),
        notes=[left_out] if dropped else [],
    )


def _questions(task: str, found: Intake) -> list[str]:
    asked = dict.fromkeys(line(q) for questions in found.questions.values() for q in questions)
    return [q for q in asked if q][:MAX_QUESTIONS] or [line(task) or ALL]


def _grounded(one: ModelStatement, labelled: Labelled) -> tuple[list[Evidence], dict[str, list[str]]]:
    """The passages a statement may cite: those that exist, and where it quotes, those that hold a quote."""
    cited = labelled.known(one.evidence)
    quoted = dict(labelled.quoting(one.quotes, cited))
    if any(quote.strip() for quote in one.quotes):
        cited = [item for item in cited if item.id in quoted]
    return cited, quoted


def _support(cited: Sequence[Evidence], quoted: bool, disputed: bool) -> Literal["strong", "moderate", "weak"]:
    if disputed or not quoted:
        return "weak"
    return "strong" if len({document(item) for item in cited}) > 1 else "moderate"


def _agreements(said: Sequence[ModelStatement], labelled: Labelled) -> list[Agreement]:
    agreed = [(line(one.statement), _grounded(one, labelled)[0]) for one in said]
    return [
        Agreement(statement=statement, evidence=[item.id for item in cited])
        for statement, cited in agreed
        if _is_short(statement) and len({document(item) for item in cited}) > 1
    ][:MAX_SHOWN]


def _contradictions(said: Sequence[ModelContradiction], labelled: Labelled) -> list[Contradiction]:
    """Those with two sides that stand in different documents."""
    kept: list[Contradiction] = []
    for one in said:
        sides = [(line(side.statement), _grounded(side, labelled)[0]) for side in one.sides]
        sides = [(statement, cited) for statement, cited in sides if cited and _is_short(statement)]
        if len(sides) > 1 and len({document(item) for _, cited in sides for item in cited}) > 1:
            shown = [Side(statement=statement, evidence=[item.id for item in cited]) for statement, cited in sides]
            kept.append(Contradiction(about=line(one.about)[:200], sides=shown, why=line(one.why)[:300]))
    return kept[:MAX_SHOWN]


def _is_short(statement: str) -> bool:
    return 0 < len(statement) <= MAX_STATEMENT


def _terms(said: Sequence[str], labelled: Labelled) -> list[str]:
    """Terms that are words of the passages."""
    terms = dict.fromkeys(line(term) for term in said)
    return [t for t in terms if 1 < len(t) <= 60 and labelled.quoting([t], labelled.passages)][:MAX_TERMS]


def _sources(analysis: Analysis, passages: Sequence[Evidence]) -> list[Evidence]:
    """What is cited first, with the quotes as excerpts, then the rest by score."""
    shown = {item.id: item for item in analysis.sources}
    cited = {i for f in analysis.findings for i in f.evidence} | {i for a in analysis.agreements for i in a.evidence}
    cited |= {i for c in analysis.contradictions for side in c.sides for i in side.evidence}
    order = sorted((shown.get(item.id, item) for item in passages), key=lambda e: (e.id not in cited, -e.score))
    return order[: max(len(cited), MAX_SOURCES)]
