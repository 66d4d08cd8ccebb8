"""PURE: the doctor's rules for memory, disks, health checks and limits, and the table of all rules."""

from __future__ import annotations

from collections.abc import Callable

from coordinator.cli.doctor.documents import documents
from coordinator.cli.doctor.documents import well as well_documented
from coordinator.cli.doctor.facts import (
    CLI,
    COORDINATOR,
    KILLED,
    PYTHON,
    RECENT_SECONDS,
    Check,
    Container,
    Diagnosis,
    Disk,
    Facts,
    LogLine,
    Severity,
)
from coordinator.cli.doctor.model import model
from coordinator.cli.doctor.model import well as well_thinking
from coordinator.cli.doctor.reachability import AWAY, reach

TIGHT_MEMORY = 0.9  # of a container's limit
SCARCE_MEMORY = 0.05  # of the machine, available
FULL_DISK, TIGHT_DISK = 0.97, 0.85
FULL_BYTES, TIGHT_BYTES = 2**20, 200 * 2**20  # a journal that cannot grow by a megabyte takes no tasks
LARGE_LOG_BYTES = 100 * 2**20
BUSY = ("agent_busy", "limit_reached", "timeout")
FULL_WORDS = ("disk is full", "no space left on device", "database or disk is full")


def examine(facts: Facts) -> list[Diagnosis]:
    """What every rule finds, in the table's order; one that finds nothing says what it saw, if it saw anything.

    Replicas of which the same is to be said, with the same command, are said once.
    """
    found = []
    for check, (rule, well) in RULES.items():
        said = well(facts)
        found += list(dict.fromkeys(rule(facts))) or (
            [Diagnosis(check=check, severity="ok", what=said)] if said else []
        )
    return found


def memory(facts: Facts) -> list[Diagnosis]:
    """Containers that were killed for want of memory, or soon will be."""
    found = [finding for c in facts.containers if (finding := _memory_of(facts, c))]
    if facts.memory_available is not None and facts.memory_available < SCARCE_MEMORY:
        why = f"{facts.memory_available:.0%} is available."
        found.append(
            _finding("memory", "warning", "This machine is short of memory.", why, "ps aux --sort=-rss | head")
        )
    return found


def _memory_of(facts: Facts, c: Container) -> Diagnosis | None:
    limit = f"its limit of {_size(c.memory_limit)}" if c.memory_limit else "the machine's memory"
    again = f", and was restarted {c.restarts} times" if c.restarts else ""
    if c.oom_killed:
        why = f"Its container was killed at {limit}{again}."
        return _finding("memory", "problem", f"{c.service} ran out of memory.", why, _more_memory(facts, c))
    if c.killed:
        why = f"Exit code {KILLED}{again}: out of memory, `docker kill`, or a stop that took too long."
        return _finding("memory", "problem", f"{c.service} was killed.", why, facts.up(c.service))
    if not c.memory_limit:
        why = "It can use up the memory of all other services."
        return _finding("memory", "warning", f"{c.service} has no memory limit.", why, _more_memory(facts, c))
    if c.memory_share is not None and c.memory_share >= TIGHT_MEMORY:
        why = f"It takes {c.memory_share:.0%} of {limit}."
        return _finding("memory", "warning", f"{c.service} is short of memory.", why, _more_memory(facts, c))
    return None


def disk(facts: Facts) -> list[Diagnosis]:
    """Disks that are full, and logs that will fill them."""
    rooms = [_room(d, "this machine", f"du -xh {d.folder} | sort -h | tail") for d in facts.disks]
    found = [finding for finding in rooms if finding]
    for c in facts.containers:
        full = [finding for d in c.disks if (finding := _room(d, c.service, _free(facts, d, c)))]
        found += full or _said_full(facts, c)
        if not c.log_rotated:
            size = f"; its log has {_size(c.log_bytes)}" if c.log_bytes is not None else ""
            why = f"The driver {c.log_driver} keeps everything{size}. Set max-size and max-file under `logging`."
            severity: Severity = "problem" if (c.log_bytes or 0) > LARGE_LOG_BYTES else "warning"
            mend = facts.up(c.service, "--force-recreate")
            found.append(_finding("disk", severity, f"{c.service}'s log is not rotated.", why, mend))
    return found


def _said_full(facts: Facts, c: Container) -> list[Diagnosis]:
    """A disk that the log says was full lately, though nothing can be seen of it now."""
    line = next((n for n in reversed(c.log) if _says_full(n) and facts.at - n.at < RECENT_SECONDS), None)
    if line is None:
        return []
    over = bool(c.disks)
    what = f"{c.service}'s disk {'was' if over else 'is'} full."
    why = f"Its log says {line.event or line.text[:200]!r}{'; there is room now' if over else ''}."
    return [
        _finding("disk", "warning" if over else "problem", what, why, f"{facts.compose} logs --tail 50 {c.service}")
    ]


def health(facts: Facts) -> list[Diagnosis]:
    """Health checks that fail, and containers that do not run."""
    found = [finding for c in facts.containers if (finding := _health_of(facts, c))]
    seen = facts.coordinator
    if seen.missing is not None:
        mend = f"{facts.compose} logs --tail 50 {COORDINATOR}" if facts.project else "make run"
        found.append(_finding("health", "problem", "The coordinator is not ready.", f"It says: {seen.missing}.", mend))
    if seen.failed and seen.last_error_type not in (*AWAY, *BUSY):
        found.append(_failed("health", facts))
    return found


def _health_of(facts: Facts, c: Container) -> Diagnosis | None:
    if c.oom_killed or c.killed:
        return None  # memory speaks of it
    if c.status == "paused":
        mend = f"{facts.compose} unpause {c.service}"
        return _finding("health", "problem", f"{c.service} is paused.", "It was paused with `docker pause`.", mend)
    if c.looping:
        mend = f"{facts.compose} logs --tail 50 {c.service}"
        return _finding("health", "problem", f"{c.service} keeps restarting.", f"Its container {c.ending}.", mend)
    if not c.running:
        why = f"Its container {c.ending}."
        return _finding("health", "problem", f"{c.service} does not run.", why, facts.up(c.service))
    if c.health == "unhealthy":
        why = f"{c.health_said or 'The check fails'}. Docker does not restart an unhealthy container."
        mend = f"{facts.compose} restart {c.service}"
        return _finding("health", "problem", f"{c.service}'s health check fails.", why, mend)
    if c.health == "none":
        why = "A hang would go unnoticed. Restore the image's HEALTHCHECK."
        mend = facts.up(c.service, "--force-recreate")
        return _finding("health", "warning", f"{c.service} has no health check.", why, mend)
    return None


def limits(facts: Facts) -> list[Diagnosis]:
    """Queues that are full, requests that were refused, agents that take no more."""
    seen, most = facts.coordinator, facts.limits
    found = []
    recent = {c.service: _refusals(facts, c) for c in facts.containers}
    at_most = most.running if most else 64
    wider = f"MAX_CONCURRENT_TASKS={2 * at_most}"
    mend = facts.up(COORDINATOR, environ=wider) if facts.project else f"{wider} make run"
    here = f"{seen.running} tasks run and {seen.queued} wait"
    if recent.get(COORDINATOR):
        why = f"It answered 429 {recent[COORDINATOR]} times in the last ten minutes; {here}."
        found.append(_finding("limits", "problem", "The coordinator refuses tasks.", why, mend))
    elif most is not None and most.queued and seen.queued >= most.queued:
        why = f"{here}; MAX_QUEUED_TASKS is {most.queued}."
        found.append(_finding("limits", "problem", "The queue is full.", why, mend))
    elif most is not None and seen.running >= most.running:
        why = f"{here}; MAX_CONCURRENT_TASKS is {most.running}."
        found.append(_finding("limits", "warning", "The maximum number of tasks is running.", why, mend))
    elif seen.refused:
        why = f"It answered 429 {seen.refused} times since its start; {here}."
        found.append(_finding("limits", "warning", "The coordinator has refused tasks.", why, mend))
    found += _agents_at_their_limit(facts)
    for service, count in recent.items():
        if service != COORDINATOR and count:
            why = f"It answered 429 {count} times in the last ten minutes."
            found.append(_finding("limits", "warning", f"{service} was full.", why, _another(facts, service)))
    if seen.failed and seen.last_error_type in BUSY:
        found.append(_failed("limits", facts))
    return found


def _agents_at_their_limit(facts: Facts) -> list[Diagnosis]:
    found = []
    for agent in facts.coordinator.agents or ():
        home = facts.container_of(agent)
        if agent.breaker != "closed":
            why = f"Five calls in a row failed, the last with: {agent.last_error or 'no reason'}"
            mend = f"{facts.compose} logs --tail 50 {home.service}" if home else facts.curl(agent.endpoint)
            what = f"{agent.name}'s breaker is {agent.breaker.replace('_', ' ')}."
            found.append(_finding("limits", "problem", what, why.rstrip(".") + ".", mend))
        elif agent.max_concurrency is not None and agent.load >= agent.max_concurrency:
            why = f"It works on {agent.load} steps and takes {agent.max_concurrency}."
            mend = _another(facts, home.service if home else agent.name)
            found.append(_finding("limits", "warning", f"{agent.name} is full.", why, mend))
    return found


def _well_reached(facts: Facts) -> str:
    if facts.coordinator.agents is None:
        return f"The coordinator answers at {facts.coordinator.url}."
    healthy = sum(agent.status == "healthy" for agent in facts.coordinator.agents)
    outside = [a for a in facts.coordinator.agents if facts.containers and a.instance and not facts.container_of(a)]
    where = "".join(f" {agent.name} is at {agent.endpoint}." for agent in outside if agent.status == "healthy")
    return f"The coordinator answers at {facts.coordinator.url} and reaches {healthy} agents.{where}"


def _well_remembered(facts: Facts) -> str:
    if facts.containers:
        return f"{len(facts.containers)} containers are within their limits; none was killed."
    share = facts.memory_available
    return f"This machine has {share:.0%} of its memory available." if share is not None else ""


def _well_stored(facts: Facts) -> str:
    folders = [d.folder for d in (*facts.disks, *(d for c in facts.containers for d in c.disks))]
    rotated = " Logs are rotated." if facts.containers else ""
    return f"There is room in {', '.join(dict.fromkeys(folders))}.{rotated}" if folders else ""


def _well(facts: Facts) -> str:
    if facts.containers:
        return f"{sum(c.well for c in facts.containers)} containers pass their health checks."
    return "The coordinator is ready." if facts.coordinator.silent is None else ""


def _well_limited(facts: Facts) -> str:
    seen = facts.coordinator
    return f"{seen.running} tasks run, {seen.queued} wait; nothing was refused." if seen.agents is not None else ""


def _without_keys(facts: Facts) -> str:
    shared = "No key is set: agents share names, and whoever reaches the port can register another one under any name."
    return shared if facts.coordinator.keyless else ""


RULES: dict[Check, tuple[Callable[[Facts], list[Diagnosis]], Callable[[Facts], str]]] = {
    "reach": (reach, _well_reached),
    "memory": (memory, _well_remembered),
    "disk": (disk, _well_stored),
    "health": (health, _well),
    "limits": (limits, _well_limited),
    "documents": (documents, well_documented),
    "model": (model, well_thinking),
    "keys": (lambda _: [], _without_keys),
}


def _finding(check: Check, severity: Severity, what: str, why: str, mend: str) -> Diagnosis:
    return Diagnosis(check=check, severity=severity, what=what, why=why, mend=mend)


def _failed(check: Check, facts: Facts) -> Diagnosis:
    seen = facts.coordinator
    mend = f"{CLI} tasks --status {seen.failed_status} --url {seen.url}"
    why = f"The last: {seen.last_error.rstrip('.') or 'unknown reason'}."
    return _finding(
        check,
        "warning",
        f"{seen.failures} failed in the last ten minutes.",
        why,
        mend,
    )


def _more_memory(facts: Facts, c: Container) -> str:
    usual, name = (1024, "COORDINATOR_MEMORY") if c.service == COORDINATOR else (512, "WORKER_MEMORY")
    return facts.up(c.service, environ=f"{name}={max(usual, 2 * c.memory_limit // 2**20)}m")


def _another(facts: Facts, name: str) -> str:
    if facts.project:
        count = sum(c.service == name for c in facts.containers) + 1
        return facts.up(name, "--no-recreate", f"--scale {name}={count}")
    return f"COORDINATOR_URL={facts.coordinator.url} {PYTHON} -m workers.{name} --port 8012"


def _room(place: Disk, whose: str, mend: str) -> Diagnosis | None:
    full = place.used >= FULL_DISK or place.free_bytes < FULL_BYTES
    if not full and place.used < TIGHT_DISK and place.free_bytes >= min(TIGHT_BYTES, place.total_bytes / 4):
        return None
    what = f"{whose}: {place.folder} is {'full' if full else 'nearly full'}."
    why = f"{place.used:.0%} of {_size(place.total_bytes)} are used, {_size(place.free_bytes)} are free."
    return _finding("disk", "problem" if full else "warning", what, why, mend)


def _free(facts: Facts, place: Disk, c: Container) -> str:
    """A disk of its own is looked into; one that Docker shares is rid of what Docker does not need."""
    if place.total_bytes < 10 * 2**30:
        return f"{facts.compose} exec {c.service} du -ah {place.folder}"
    return "docker image prune -f && docker builder prune -f"


def _says_full(line: LogLine) -> bool:
    return line.event == "journal.full" or any(words in line.text.lower() for words in FULL_WORDS)


def _refusals(facts: Facts, c: Container) -> int:
    return sum(
        line.event == "request.done" and line.fields.get("status") == "429" and facts.at - line.at < RECENT_SECONDS
        for line in c.log
    )


def _size(count: int) -> str:
    for unit, size in (("GB", 2**30), ("MB", 2**20), ("KB", 2**10)):
        if count >= size:
            return f"{count / size:.0f} {unit}" if count >= 10 * size else f"{count / size:.1f} {unit}"
    return f"{count} bytes"
