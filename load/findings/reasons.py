"""Why tasks failed or waited, in sentences, and which setting moves it."""

from __future__ import annotations

from dataclasses import dataclass

from load.findings.knee import MOSTLY, Broke
from load.findings.observer import AgentSeen, Observed
from load.findings.rows import BenchRow

SENTENCES = {
    "overloaded": "refused with 429: as many tasks ran and waited as may",
    "unavailable": "refused with 503: the coordinator was stopping or could not write",
    "storage_full": "refused with 503: the journal's disk is full",
    "unauthorized": "refused with 401: the API key is wrong",
    "partial": "answered in part: some steps were not done in time or had no agent",
    "task_timed_out": "timed out with nothing ready",
    "task_failed": "failed",
    "cancelled": "cancelled by a caller",
    "no_answer": "without any answer 2 s after their deadline",
    "connection_failed": "whose connection was refused or lost",
    "not_sent": "not sent: this program had 5,000 open already",
    "bad_answer": "answered with something other than a task",
}
LATE = ("partial", "task_timed_out", "no_answer")
GREW = 1.5  # times the first step's time: that agent got slower


@dataclass(frozen=True)
class Lever:
    """A setting, or another thing to change, and what speaks for it."""

    setting: str
    why: str


def explain(row: BenchRow) -> list[str]:
    """Returns a sentence for each way in which tasks of this row did not complete, the most frequent first."""
    found = []
    for reason, count in row.reasons.items():
        sentence = f"{count:,} of {row.tasks:,} tasks {SENTENCES.get(reason, f'ended with {reason}')}"
        if reason == "overloaded" and row.retry_after:
            sentence += f" (Retry-After up to {row.retry_after:g} s)"
        found.append(f"{sentence}.")
    if row.culprits:
        worst = ", ".join(f"{name} ({count:,})" for name, count in list(row.culprits.items())[:3])
        found.append(f"Steps that were not done, by agent and error: {worst}.")
    return found


def find_levers(row: BenchRow, seen: Observed, *, first: Observed, broke: Broke | None) -> list[Lever]:
    """Lists what to change, the likeliest first; nothing when nothing broke. `first` was seen in the first row."""
    if broke is None:
        return []
    alike = _find_shared_limit(seen, first)
    found = [alike] if alike else _find_full(seen)
    if refused := row.reasons.get("overloaded"):
        why = f"{refused:,} tasks were refused; a longer queue refuses fewer and makes them wait, it ends none sooner."
        found.append(Lever("MAX_QUEUED_TASKS", why))
    late = sum(row.reasons.get(reason, 0) for reason in LATE)
    if (late or broke == "latency") and not alike and not any(agent.full_share >= MOSTLY for agent in seen.agents):
        found += _find_slowest(row, seen, first)
    if late:
        why = f"{late:,} tasks had not ended at their deadline; more time helps only if fewer are started than end."
        found.append(Lever("--timeout here, REQUEST_TIMEOUT for callers that name none", why))
    return found or [_name_suspect(row)]


def _name_suspect(row: BenchRow) -> Lever:
    worst = next(iter(row.culprits), None)
    if worst is None:
        return Lever("none of ours", "Neither a queue nor an agent explains it; look at the log of the coordinator.")
    agent, _, error = worst.partition(": ")
    if error == "no_agent":
        return Lever("none of ours", f"Nobody took the steps of {agent} whatever the load; start an agent for it.")
    return Lever("none of ours", f"Steps end with {error} whatever the load; look at {agent} and its log.")


def _find_shared_limit(seen: Observed, first: Observed) -> Lever | None:
    """Finds a limit that all agents share: their steps got slower alike and none of them was full."""
    pairs = [(a.step_seconds, _get_step_seconds(a, first)) for a in seen.agents if a.step_seconds is not None]
    grown = [now / before for now, before in pairs if before]
    if len(grown) < 2 or len(grown) < len(pairs) or min(grown) < GREW or max(grown) > GREW * min(grown):
        return None
    if any(agent.full_share >= MOSTLY for agent in seen.agents):
        return None
    why = (
        f"The steps of every agent got slower alike, {min(grown):.1f} to {max(grown):.1f} times the first step's, and "
        f"none was full: the limit is what they share, the processor or the coordinator itself. A faster machine moves "
        f"this, or agents on another one."
    )
    return Lever("none of ours", why)


def _find_full(seen: Observed) -> list[Lever]:
    """Finds who had no place left: agents, or else the coordinator."""
    full = [agent for agent in seen.agents if agent.full_share >= MOSTLY]
    found = [
        Lever(
            f"more instances of {agent.name}, or its MAX_CONCURRENCY",
            f"{agent.name} was full: {agent.peak_load} of {agent.most} places taken in {agent.full_share:.0%} of the "
            f"looks. More places help if it waits for others, more instances if it works itself.",
        )
        for agent in sorted(full, key=lambda agent: -agent.full_share)
    ]
    if not full and seen.queued_share >= MOSTLY:
        why = f"At most {seen.peak_running} tasks ran while up to {seen.peak_queued:,} waited, and no agent was full."
        found.append(Lever("MAX_CONCURRENT_TASKS", why))
    return found


def _find_slowest(row: BenchRow, seen: Observed, first: Observed) -> list[Lever]:
    """Finds the slowest agent, if its steps explain the time of a task; else names the coordinator itself."""
    timed = [(agent.step_seconds, agent) for agent in seen.agents if agent.step_seconds is not None]
    if not timed or not row.average:
        return []
    seconds, agent = max(timed, key=lambda pair: pair[0])
    together = sum(seconds for seconds, _ in timed)
    if together < 0.5 * row.average and seen.queued_share < MOSTLY:
        why = (
            f"Agents took about {together:.2g} s of the {row.average:.2g} s of a task and no task waited for a place: "
            f"the rest is the coordinator itself. A faster core or disk for it moves this, or a second coordinator."
        )
        return [Lever("none of ours", why)]
    before = _get_step_seconds(agent, first)
    grew = before is not None and seconds > GREW * before
    if not grew and seen.queued_share >= MOSTLY:
        return []
    why = f"{agent.name} is the slowest: {seconds:.2g} s a step" + (
        f", {before:.2g} s in the first step." if grew else "."
    )
    return [Lever(f"more instances of {agent.name}", why)]


def _get_step_seconds(agent: AgentSeen, seen: Observed) -> float | None:
    return next((other.step_seconds for other in seen.agents if other.name == agent.name), None)
