"""The analyzer: findings, agreements and contradictions out of the evidence the steps before delivered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, takewhile
from pathlib import Path

from shared.contracts import StepRequest
from shared.definition import Agent, Context, Reply
from shared.report import Analysis, Evidence, Finding
from shared.settings import ModelSettings
from workers.answering import agreement, comparison, relevance, text, topics, words
from workers.answering.claims import Claim, claims
from workers.answering.comparison import Weights
from workers.answering.given import given
from workers.answering.intake import Intake, document, intake
from workers.answering.relevance import Question, Ranked, Statement
from workers.thinking.asking import Thinking, model_of

MAX_FINDINGS = 12
MAX_OF_ONE = 8  # of one question
BEST = 1.6  # a score that hardly any statement exceeds: a finding's score is a share of it
MIN_FINDINGS = 3  # of each sub-question
MAX_CLAIMS = 1_200  # sentences that are compared with each other, the most relevant first
MAX_SOURCES = 40
COMPARING_SHARE = 0.6  # of a step's time, after which no statements are compared any more
READING_SHARE = 0.25  # and none read: ranking what was read takes as long again, and cannot be cut short
BROAD = 4.5  # a question of more weight is a list of matters, and every statement found for it is worth comparing
MAX_QUESTIONS = 20
CORROBORATED = 0.1  # added to the score of a finding that another document supports
NEAR_BEST = 0.66  # of the best answer's score a finding must have
SUPPORT = (
    "Support is strong where another document says the same, moderate where one document states it and holds most of "
    "the question's words, weak otherwise or where another document contradicts it."
)


def agent(state_dir: Path, model: ModelSettings | None = None) -> Agent:
    """The analyzer as a value; it keeps nothing in `state_dir`, and thinks with the model that the settings name."""
    chosen = model or ModelSettings()
    return Agent(
        name="analyzer",
        description="Finds what answers the question in the evidence, and where sources agree and differ.",
        capabilities=("analyze",),
        run=run,
        open=lambda: model_of(chosen),
        max_concurrency=8,
    )


async def run(step: StepRequest, ctx: Context) -> Reply:
    """Analyses `step.upstream`, or the text that it was given; the output is an Analysis.

    `ctx.state` is a model or None. What could not be read, and why the model was not used, is in `missing`.
    """
    handed = given(step, ctx.ask)
    found = intake(handed.documents)
    await ctx.progress(f"Reading {len(found.evidence)} passages")
    thinking = Thinking(ctx.state, ctx)
    analysis = await _thought(handed.question, found, thinking)
    if analysis is None:
        analysis = await asyncio.to_thread(analysed_within, ctx.seconds_left(), handed.question, found)
    missing = [*handed.missing, *found.missing, *thinking.missing]
    return Reply(output=analysis.model_dump(), usage=thinking.usage, missing=missing)


async def _thought(task: str, found: Intake, thinking: Thinking) -> Analysis | None:
    if not (thinking and found.evidence):
        return None
    from workers.thinking.analysis import analysed

    return await analysed(task, found, thinking)


def analysed_within(seconds: float, task: str, found: Intake) -> Analysis:
    """`analyse`, which reads and compares no more than it can in most of these seconds."""
    began = time.monotonic()

    def over(share: float) -> bool:
        return time.monotonic() > began + share * max(0.0, seconds)

    return analyse(task, found, lambda: over(COMPARING_SHARE), lambda: over(READING_SHARE))


def analyse(
    task: str,
    found: Intake,
    out_of_time: Callable[[], bool] = lambda: False,
    out_of_reading_time: Callable[[], bool] = lambda: False,
) -> Analysis:
    """What the evidence says about a task, by rules alone: statements are quoted, never made up."""
    passages = sorted(found.evidence.values(), key=lambda e: -e.score)
    statements, late = _statements(passages, lambda: out_of_time() or out_of_reading_time())
    asked = [relevance.known(one, statements) for one in _questions(task, found)]
    by_question = [relevance.rank(one, statements) for one in asked]
    chosen = _shares(asked, by_question)
    compared = _claims(by_question, statements) if chosen else []
    relevant = {r.sentence.text: min(1.0, r.coverage) for ranked in by_question for r in ranked}
    answers = {r.sentence.text for one, some in zip(asked, by_question, strict=True) for r in some if r.is_answer(one)}
    if any(one.total > BROAD or one.is_open for one in asked):
        answers = {s.sentence.text for s in statements}
        relevant = {said: max(agreement.RELEVANT, relevant.get(said, 0.0)) for said in answers}
    agreements, contradictions = agreement.agreements_and_contradictions(compared, relevant, answers, out_of_time)
    findings = _findings(chosen, compared, [s.statement for c in contradictions for s in c.sides])
    cited = {i for f in findings for i in f.evidence} | {i for a in agreements for i in a.evidence}
    cited |= {i for c in contradictions for side in c.sides for i in side.evidence}
    order = sorted(passages, key=lambda e: (e.id not in cited, -e.score))
    return Analysis(
        question=task or (asked[0].text if asked else ""),
        findings=findings,
        agreements=agreements,
        contradictions=contradictions,
        key_terms=topics.key_terms([r for _, r in chosen], {stem for one in asked for stem in one.weights}),
        sources=order[: max(len(cited), MAX_SOURCES if findings else 5)],
        searched=found.searched,
        passages=len(passages),
        thin=not findings,
        notes=[*found.notes, *late, *([SUPPORT] if findings else [])],
    )


def _statements(passages: Sequence[Evidence], out_of_time: Callable[[], bool]) -> tuple[list[Statement], list[str]]:
    statements: list[Statement] = []
    for number, item in enumerate(passages):
        if number % 20 == 0 and out_of_time():
            return statements, [f"Time ran out: {number} of {len(passages)} passages were read, the best first."]
        place = document(item)
        statements += [relevance.statement(one, item, place) for one in text.sentences(item.text or item.excerpt)]
    return statements, []


def _questions(task: str, found: Intake) -> list[Question]:
    asked = list(dict.fromkeys(q for questions in found.questions.values() for q in questions)) or [task]
    return [relevance.question(q) for q in asked[:MAX_QUESTIONS]]


def _shares(asked: Sequence[Question], by_question: Sequence[Sequence[Ranked]]) -> list[tuple[Question, Ranked]]:
    """Each question's best answers, without repetition, in turn, so that each gets its share."""
    share = min(MAX_OF_ONE, max(MIN_FINDINGS, MAX_FINDINGS // max(1, len(asked))))
    chosen: list[tuple[Question, Ranked]] = []
    columns = [(one, _answers(one, ranked)) for one, ranked in zip(asked, by_question, strict=True)]
    for _ in range(share):
        for question, answers in columns:
            fresh = (one for one in answers if not any(_repeats(one, taken) for _, taken in chosen))
            chosen += [(question, one) for one in islice(fresh, 1)]
    return chosen


def _answers(question: Question, ranked: Sequence[Ranked]) -> Iterator[Ranked]:
    """The answers near the best one; where nothing answers, the three statements that come nearest."""
    best = ranked[0].score if ranked else 0.0
    near = list(takewhile(lambda one: one.score >= NEAR_BEST * best, ranked[:400]))
    answers = [one for one in near if one.is_answer(question)]
    return iter(answers or [one for one in near if one.touches(question)][:MIN_FINDINGS])


def _repeats(one: Ranked, other: Ranked) -> bool:
    if one.sentence.text in other.sentence.text or other.sentence.text in one.sentence.text:
        return True
    return 2 * len(one.stems & other.stems) / (len(one.stems) + len(other.stems) or 1) > 0.65


def _claims(by_question: Sequence[Sequence[Ranked]], statements: Sequence[Statement]) -> list[Claim]:
    """What is compared: the statements that touch a question first, each once a document."""
    ranked = sorted((r for ranked in by_question for r in ranked), key=lambda r: -r.score)
    kept: dict[tuple[str, str], Ranked | Statement] = {}
    ordered: list[Ranked | Statement] = [*ranked, *statements]
    for one in ordered:
        if one.sentence.core and len(kept) < MAX_CLAIMS:
            kept.setdefault((one.sentence.text, document(one.evidence)), one)
    parted = [(claims(one.sentence, one.evidence, place), one) for (_, place), one in kept.items()]
    names = frozenset(name for some, _ in parted for claim in some for name in claim.names)
    return [claim for some, one in parted for claim in _named(some, one, names)]


def _named(some: list[Claim], one: Ranked | Statement, names: frozenset[str]) -> list[Claim]:
    """The same claims, knowing that their first word is a name: it is written as one elsewhere."""
    first = names.intersection(words.words(one.sentence.core.split(" ", 1)[0])) - some[0].names
    return claims(one.sentence, one.evidence, some[0].document, first) if first else some


def _findings(
    chosen: Sequence[tuple[Question, Ranked]], compared: Sequence[Claim], disputed: Sequence[str]
) -> list[Finding]:
    weigh = comparison.weights(compared)
    names = topics.topics([ranked for _, ranked in chosen])
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
        and (verdict := comparison.compare(one, other, weigh)) is not None
        and verdict.kind == "agree"
    ]


def _finding(
    number: int, question: Question, ranked: Ranked, topic: str, agreeing: Sequence[str], disputed: bool
) -> Finding:
    evidence = list(dict.fromkeys([ranked.evidence.id, *agreeing]))
    score = ranked.score / BEST + (CORROBORATED if len(evidence) > 1 else 0.0)
    return Finding(
        id=f"f{number}",
        statement=ranked.sentence.text,
        topic=topic,
        evidence=evidence[:6],
        support="weak" if disputed else "strong" if len(evidence) > 1 else "moderate" if ranked.bare >= 0.5 else "weak",
        score=round(min(1.0, max(0.0, score)), 3),
        question=question.text,
    )


if __name__ == "__main__":
    from shared.serve import load_settings, serve_worker

    serve_worker(lambda state_dir: agent(state_dir, load_settings(ModelSettings)), default_port=8002)
