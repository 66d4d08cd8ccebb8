"""The analyzer: findings, agreements and contradictions out of the evidence the steps before delivered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path

from shared.contracts import StepRequest
from shared.definition import Agent, Context, Reply
from shared.report import Analysis, Evidence, Finding
from workers import agreement, relevance, text, topics
from workers.agreement import Weights
from workers.claims import Claim, claims
from workers.evidence import Intake, document, intake
from workers.relevance import Question, Ranked

MAX_FINDINGS = 12
MIN_FINDINGS = 3  # of each sub-question
MAX_CLAIMS = 1_200  # sentences that are compared with each other, the most relevant first
MAX_SOURCES = 40
SUPPORT = (
    "Support is strong where another document says the same, moderate where one document states it and holds most of the "
    "question's words, weak otherwise or where another document contradicts it."
)


def agent(state_dir: Path) -> Agent:
    """The analyzer as a value; it keeps nothing in `state_dir`."""
    return Agent(
        name="analyzer",
        description="Finds what answers the question in the evidence, and where sources agree and differ.",
        capabilities=("analyze",),
        run=run,
        max_concurrency=8,
    )


async def run(step: StepRequest, ctx: Context) -> Reply:
    """Analyses `step.upstream`; the output is an Analysis. What could not be read is in `missing`."""
    found = intake(step.upstream)
    await ctx.progress(f"Reading {len(found.evidence)} passages")
    until = time.monotonic() + 0.6 * max(0.0, ctx.seconds_left())
    analysis = await asyncio.to_thread(analyse, step.task_description, found, lambda: time.monotonic() > until)
    return Reply(output=analysis.model_dump(), missing=found.missing)


def analyse(task: str, found: Intake, out_of_time: Callable[[], bool] = lambda: False) -> Analysis:
    """What the evidence says about a task, by rules alone: statements are quoted, never made up."""
    passages = sorted(found.evidence.values(), key=lambda e: -e.score)
    statements: list[tuple[text.Sentence, Evidence]] = []
    notes = list(found.notes)
    for number, item in enumerate(passages):
        if number % 20 == 0 and out_of_time():
            notes.append(f"Time ran out: {number} of {len(passages)} passages were read.")
            break
        statements += [(sentence, item) for sentence in text.sentences(item.text or item.excerpt)]
    asked = _questions(task, found)
    by_question = [_answers(one, statements, found) for one in asked]
    chosen = [pair for pair in _shares(asked, by_question) if pair is not None]
    compared = _claims(by_question, statements)
    relevant = {r.sentence.text: min(1.0, r.coverage) for ranked in by_question for r in ranked}
    agreements, contradictions = agreement.agreements_and_contradictions(compared, relevant, out_of_time)
    findings = _findings(chosen, compared, [s.statement for c in contradictions for s in c.sides])
    if findings:
        notes.append(SUPPORT)
    cited = {i for f in findings for i in f.evidence} | {i for a in agreements for i in a.evidence}
    cited |= {i for c in contradictions for side in c.sides for i in side.evidence}
    order = sorted(passages, key=lambda e: (e.id not in cited, -e.score))
    return Analysis(
        question=task or (asked[0].text if asked else ""),
        findings=findings,
        agreements=agreements,
        contradictions=contradictions,
        key_terms=topics.key_terms([r for _, r in chosen], relevance.question(" ".join(q.text for q in asked))),
        sources=order[: max(len(cited), MAX_SOURCES if findings else 5)],
        searched=found.searched,
        thin=not findings,
        notes=notes,
    )


def _questions(task: str, found: Intake) -> list[Question]:
    asked = list(dict.fromkeys(q for questions in found.questions.values() for q in questions)) or [task]
    return [question for q in asked[:20] if (question := relevance.question(q)).weights]


def _answers(asked: Question, statements: Sequence[tuple[text.Sentence, Evidence]], found: Intake) -> list[Ranked]:
    mine = [(s, e) for s, e in statements if not found.questions.get(e.id) or asked.text in found.questions[e.id]]
    return relevance.rank(asked, mine)


def _shares(asked: Sequence[Question], by_question: Sequence[Sequence[Ranked]]) -> list[tuple[Question, Ranked] | None]:
    """Each question's best answers, without repetition, in turn, so that each gets its share."""
    share = max(MIN_FINDINGS, MAX_FINDINGS // max(1, len(asked)))
    columns: list[list[tuple[Question, Ranked]]] = []
    taken: list[Ranked] = []
    for question, ranked in zip(asked, by_question, strict=True):
        mine: list[tuple[Question, Ranked]] = []
        best = ranked[0].score if ranked else 0.0
        for one in ranked[:400]:
            if len(mine) == share or one.score < 0.5 * best:
                break
            if one.is_answer(question) and not any(_repeats(one, other) for other in taken):
                mine.append((question, one))
                taken.append(one)
        columns.append(mine)
    return [pair for row in zip_longest(*columns) for pair in row]


def _repeats(one: Ranked, other: Ranked) -> bool:
    shared = len(one.stems & other.stems)
    return shared / (min(len(one.stems), len(other.stems)) or 1) > 0.7


def _claims(
    by_question: Sequence[Sequence[Ranked]], statements: Sequence[tuple[text.Sentence, Evidence]]
) -> list[Claim]:
    """What is compared: the statements that touch a question first, each once a document."""
    ranked = sorted((r for ranked in by_question for r in ranked), key=lambda r: -r.score)
    ordered = [(r.sentence, r.evidence) for r in ranked] + list(statements)
    kept: dict[tuple[str, str], Evidence] = {}
    for sentence, evidence in ordered:
        if sentence.alone and len(kept) < MAX_CLAIMS:
            kept.setdefault((sentence.text, document(evidence)), evidence)
    first = [claims(sentence, evidence, place) for (sentence, place), evidence in kept.items()]
    known = frozenset(name for some in first for one in some for name in one.names)
    return [
        one
        for (sentence, place), evidence in kept.items()
        for one in claims(sentence, evidence, place, known & set(text.words(sentence[:30])))
    ]


def _findings(
    chosen: Sequence[tuple[Question, Ranked]], compared: Sequence[Claim], disputed: Sequence[str]
) -> list[Finding]:
    weigh = agreement.weights(compared)
    names = topics.topics([r for _, r in chosen], chosen[0][0]) if chosen else []
    return [
        _finding(number, question, ranked, topic, _agreeing(ranked, compared, weigh), ranked.sentence.text in disputed)
        for number, ((question, ranked), topic) in enumerate(zip(chosen, names, strict=True), 1)
    ]


def _agreeing(ranked: Ranked, compared: Sequence[Claim], weigh: Weights) -> list[str]:
    mine = [one for one in compared if one.text == ranked.sentence.text and one.evidence == ranked.evidence.id]
    return [
        other.evidence
        for one in mine
        for other in compared
        if other.document != one.document
        and len(other.matter & one.matter) > 1
        and (verdict := agreement.compare(one, other, weigh)) is not None
        and verdict.kind == "agree"
    ]


def _finding(
    number: int, question: Question, ranked: Ranked, topic: str, agreeing: Sequence[str], disputed: bool
) -> Finding:
    evidence = list(dict.fromkeys([ranked.evidence.id, *agreeing]))
    return Finding(
        id=f"f{number}",
        statement=ranked.sentence.text,
        topic=topic,
        evidence=evidence[:6],
        support="weak" if disputed else "strong" if len(evidence) > 1 else "moderate" if ranked.bare >= 0.5 else "weak",
        score=round(min(1.0, max(0.0, ranked.score)), 3),
        question=question.text,
    )


if __name__ == "__main__":
    from shared.serve import serve_worker

    serve_worker(agent, default_port=8002)
