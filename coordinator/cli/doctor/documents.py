"""PURE: the doctor's rule for the researcher's documents: which of them are not searched."""

from __future__ import annotations

from coordinator.cli.doctor.facts import Diagnosis, Facts, Severity
from shared.report.sources import Skipped

MAX_NAMED = 3
CHOSEN = ("is hidden", "is named in")  # by whoever keeps the folder: nothing to warn of


def documents(facts: Facts) -> list[Diagnosis]:
    """A folder without documents, documents that could not be read, and files that the rules leave out."""
    index = facts.coordinator.index
    if index is None:
        return []
    mend = f"curl -s {facts.coordinator.url}/agents/researcher/index"
    if not index.files and index.complete:
        empty = f"The researcher has no documents below {index.folder}."
        return [_finding("problem", empty, "No question can be answered.", "KNOWLEDGE_DIR=… make run")]
    found = []
    if failed := [each for each in index.skipped if each.failed]:
        named = "; ".join(f"{each.what} {each.why}" for each in failed[:MAX_NAMED])
        more = f"; and {len(failed) - MAX_NAMED} more" if len(failed) > MAX_NAMED else ""
        what = (
            f"{_count(len(failed), 'document or folder', 'documents or folders')} could not be read, or only in part."
        )
        found.append(_finding("warning", what, f"{named}{more}.", mend))
    ruled = [each for each in index.skipped if not each.failed and not each.why.startswith(CHOSEN)]
    if count := sum(each.files for each in ruled):
        why = f"{_by_reason(ruled)}."
        found.append(_finding("warning", f"{_count(count, 'file is', 'files are')} left out by rule.", why, mend))
    return found


def well(facts: Facts) -> str:
    index = facts.coordinator.index
    return f"{index.files:,} documents below {index.folder} are searched." if index else ""


def _by_reason(ruled: list[Skipped]) -> str:
    """`8 *.png, 4 *.zip: of a type that is not read; .git/: hidden`."""
    reasons: dict[str, list[Skipped]] = {}
    for each in sorted(ruled, key=lambda each: (-each.files, each.what)):
        reasons.setdefault(each.why, []).append(each)
    said = []
    for why, group in reasons.items():
        names = [f"{each.files:,} {each.what}" if each.files else each.what for each in group[:MAX_NAMED]]
        more = [f"{len(group) - MAX_NAMED} more"] if len(group) > MAX_NAMED else []
        said.append(f"{', '.join(names + more)}: {why.removeprefix('is ')}")
    return "; ".join(said)


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _finding(severity: Severity, what: str, why: str, mend: str) -> Diagnosis:
    return Diagnosis(check="documents", severity=severity, what=what, why=why, mend=mend)
