"""PURE: the doctor's rules for the language model: whether it can be called, and what it cannot do."""

from __future__ import annotations

from coordinator.cli.doctor.facts import Diagnosis, Facts, SeenModel, Severity

SMALL_CONTEXT = 4_096  # tokens; an analysis of eight passages takes about as many
USUAL_READ, USUAL_WRITTEN = 2_500, 300  # tokens of one analysis
STEP_SECONDS = 12.0  # that a model has in a step of a task of 30 s
FORMS = {"json_object": "only whether it is JSON", "none": "nothing"}


def model(facts: Facts) -> list[Diagnosis]:
    """Settings that name no model, one that cannot be asked, and one that can do less than a step wants."""
    if facts.model_lacking:
        return [_finding("warning", "No model is configured.", facts.model_lacking, "grep -n MODEL_ .env")]
    seen = facts.model
    if seen is None:
        return []
    ask = f"curl -s {seen.url}/models"
    if seen.silent:
        unlisted = f" It has: {_some(seen.names)}." if seen.names and seen.name not in seen.names else ""
        return [_finding("problem", f"Model {seen.name} cannot be called.", f"{seen.silent}{unlisted}", ask)]
    found = []
    if len(seen.names) > 1 and not _is_listed(seen):  # with one, llama.cpp asks for no name
        what = f"The server answers, but lists no model {seen.name!r}."
        found.append(_finding("warning", what, f"It has: {_some(seen.names)}.", ask))
    if seen.format in FORMS or not seen.shaped:
        kept = FORMS.get(seen.format, "its answers against a schema, but this answer did not match it")
        why = f"The server checks {kept}." if seen.format in FORMS else "Its server accepts a schema but ignores it."
        what = f"Model {seen.name} may answer in the wrong format; the step then works without it."
        found.append(_finding("warning", what, why, ask))
    if seen.context is not None and seen.context < SMALL_CONTEXT:
        what = f"Model {seen.name} has a context of only {seen.context:,} tokens."
        found.append(
            _finding("warning", what, "Steps show it fewer passages.", "OLLAMA_CONTEXT_LENGTH=16384 ollama serve")
        )
    if (seconds := _seconds(seen)) is not None and seconds > STEP_SECONDS:
        what = f"Model {seen.name} takes about {seconds:.0f} s for a typical step."
        why = f"A task of 30 s leaves it {STEP_SECONDS:.0f} s: steps show it fewer passages, or do without it."
        found.append(_finding("warning", what, why, "REQUEST_TIMEOUT=120 make run"))
    return found


def well(facts: Facts) -> str:
    """One sentence on a model that can be called."""
    seen = facts.model
    if seen is None:
        return ""
    parts = [{"json_schema": "follows schemas", "json_object": "writes JSON"}.get(seen.format, "")]
    parts.append({"native": "supports tools", "string": "is told about tools in the prompt"}.get(seen.tools, ""))
    parts.append(f"has a context of {seen.context:,} tokens" if seen.context else "")
    if seen.reading and seen.writing:
        parts.append(f"{seen.reading:,.0f} tokens a second in and {seen.writing:,.0f} out")
    return f"Model {seen.name} at {seen.url} {', '.join(part for part in parts if part)}."


def _is_listed(seen: SeenModel) -> bool:
    """Whether its server lists it; Ollama lists `qwen3` as `qwen3:latest`."""
    return seen.name in seen.names or f"{seen.name}:latest" in seen.names


def _seconds(seen: SeenModel) -> float | None:
    if not seen.reading or not seen.writing:
        return None
    return USUAL_READ / seen.reading + USUAL_WRITTEN / seen.writing


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _finding(severity: Severity, what: str, why: str, mend: str) -> Diagnosis:
    return Diagnosis(check="model", severity=severity, what=what, why=why, mend=mend)
