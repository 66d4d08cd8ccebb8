"""PURE: the doctor's rule for documents: which are not searched, and whether uploads can come in."""

from __future__ import annotations

from coordinator.cli.doctor.facts import CLI, Diagnosis, Facts, Severity
from shared.documents.types import MAX_BYTES
from shared.report.sources import Skipped

MAX_NAMED = 3
FULL = 0.9  # of what the folder of uploads may hold
VOLUME = "/uploads"  # in the compose files
PLAINLY = "UPLOADS_DIR=data/uploads make run"
CHOSEN = ("is hidden", "is named in")  # by whoever keeps the folder: nothing to warn of


def documents(facts: Facts) -> list[Diagnosis]:
    """A folder without documents, documents that could not be read, files that the rules leave out, and uploads."""
    return _indexed(facts) + _uploaded(facts)


def _uploaded(facts: Facts) -> list[Diagnosis]:
    seen = facts.coordinator.uploads
    if seen is None:
        return []
    found = []
    if seen.trouble is not None:
        found.append(_finding("problem", "Documents cannot be uploaded.", seen.trouble, _mend_folder(facts)))
    elif not seen.searched:
        why = "None of the healthy ones looks into the coordinator's UPLOADS_DIR."
        mend = facts.up("researcher", environ=f"UPLOADS_DIR={VOLUME}") if facts.project else PLAINLY
        found.append(_finding("problem", "No researcher searches the uploaded documents.", why, mend))
    remove = f"{CLI} documents --url {facts.coordinator.url}"
    if seen.bytes >= FULL * seen.most_bytes or seen.documents >= FULL * seen.most_documents:
        why = (
            f"{seen.documents:,} of {seen.most_documents:,} documents; {seen.bytes / 1e6:,.0f} of"
            f" {seen.most_bytes / 1e6:,.0f} MB."
        )
        found.append(_finding("warning", "The folder of uploads is nearly full.", why, remove))
    elif seen.trouble is None and seen.free_bytes < MAX_BYTES:
        why = f"Beside what is kept free, it has {seen.free_bytes / 1e6:,.0f} MB."
        found.append(_finding("warning", "The disk of uploads is nearly full.", why, remove))
    return found


def _mend_folder(facts: Facts) -> str:
    seen = facts.coordinator.uploads
    if facts.project is None:
        return PLAINLY
    if seen is None or f"UPLOADS_DIR={VOLUME} " not in (seen.trouble or ""):
        return facts.up("coordinator", environ=f"UPLOADS_DIR={VOLUME}")
    own = "run --rm --no-deps --user root --cap-add CHOWN coordinator"
    return f"{facts.compose} {own} chown -R muster:muster {VOLUME}"


def _indexed(facts: Facts) -> list[Diagnosis]:
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
    index, uploads = facts.coordinator.index, facts.coordinator.uploads
    said = [f"{index.files:,} documents below {index.folder} are searched."] if index else []
    if uploads:
        said.append(f"{_count(uploads.documents, 'was', 'were')} uploaded, {uploads.bytes / 1e6:,.1f} MB.")
    return " ".join(said)


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
