"""A plain report out of whatever steps delivered: an analysis, passages, or any other JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from shared.contracts import Missing
from shared.rendering.shown import NEAREST
from shared.report.model import Analysis, Cited, Evidence, Finding, NumberedSource, Report, Research, Section

T = TypeVar("T", bound=BaseModel)
NOTHING = Cited(statement="Nothing was found.", citations=[])
MAX_STATEMENTS = 40  # of one step
MAX_CHARACTERS = 20_000  # of one statement: foreign outputs may be megabytes


def plain_report(title: str, question: str, outputs: Mapping[str, JsonValue], missing: Sequence[Missing]) -> Report:
    """A simple report out of what steps delivered, by step id: Analysis, Research, or any other JSON. Never raises."""
    summary: list[Cited] = []
    sections: list[Section] = []
    parts: list[Analysis] = []
    sources: dict[str, NumberedSource] = {}
    for step, output in outputs.items():
        if (analysis := _parse_output(Analysis, output, "findings")) is not None:
            number_sources(analysis.sources, sources)
            summary += [_cite(f, sources) for f in analysis.findings if f.answers]
            sections += _topics(analysis, sources)
            parts.append(analysis)
        elif (research := _parse_output(Research, output, "evidence")) is not None:
            number_sources(research.evidence, sources)
            sections += _passages(research, sources)
            parts.append(
                Analysis(
                    question=research.question,
                    searched=[research.searched],
                    words=research.words,
                    notes=research.notes,
                )
            )
        else:
            sections.append(Section(title=step, findings=_statements(output)))
    judged = [part.answered for part in parts if part.answered is not None]
    return Report(
        title=title,
        question=question,
        answered=any(judged) if judged else None,
        confidence=max((part.confidence for part in parts), default=0.0),
        words=list({word.word: word for part in parts for word in part.words}.values()),
        summary=summary or ([] if any(s.findings for s in sections) else [NOTHING]),
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


def _parse_output(shape: type[T], output: JsonValue, mark: str) -> T | None:
    if not isinstance(output, dict) or not isinstance(output.get(mark), list):
        return None
    try:
        needed = {name: "" for name, field in shape.model_fields.items() if field.is_required()}
        return shape.model_validate(needed | output)
    except ValidationError:
        return None


def _topics(analysis: Analysis, sources: Mapping[str, NumberedSource]) -> list[Section]:
    topics: dict[str, list[Cited]] = {}
    for finding in analysis.findings:
        if not finding.answers:
            topics.setdefault(finding.topic, []).append(_cite(finding, sources))
    other = NEAREST if analysis.answered is False else "Findings"
    return [Section(title=topic or other, findings=findings) for topic, findings in topics.items()]


def _cite(finding: Finding, sources: Mapping[str, NumberedSource]) -> Cited:
    return Cited(statement=finding.statement, citations=numbers(finding.evidence, sources), question=finding.question)


def _passages(research: Research, sources: Mapping[str, NumberedSource]) -> list[Section]:
    cited = [
        Cited(statement=e.excerpt or e.text[:400], citations=[sources[e.id].number])
        for e in research.evidence[:MAX_STATEMENTS]
        if (e.excerpt or e.text).strip()
    ]
    return [Section(title=research.question or "Passages", findings=cited)]


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
    kept = [line[:MAX_CHARACTERS] for line in lines if line.strip()]
    return [Cited(statement=line, citations=[]) for line in kept[:MAX_STATEMENTS]]


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
