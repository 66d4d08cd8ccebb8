"""PURE: a task over time, out of its steps and events: who waited, who worked, and what the end had to wait for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from coordinator.console.figures.words import count
from coordinator.explaining.timeline import StepCourse, Timeline
from coordinator.journal.events import TaskEvent
from coordinator.tasks.task import Step, Task
from shared.contracts import Status

Kind = Literal["queue", "wait", "run", "failed", "pause", "call", "model", "tool"]
LEGEND: dict[Kind, str] = {
    "run": "worked",
    "failed": "failed",
    "wait": "waited",
    "pause": "pause before a retry",
    "model": "model",
    "tool": "tool or search",
    "call": "other agent",
}
PARTS = 4  # of the time line that have a mark between them


@dataclass(frozen=True)
class Bar:
    """A stretch of time, in Unix seconds; `open` says that it goes on."""

    kind: Kind
    began: float
    ended: float
    what: str
    open: bool = False

    @property
    def seconds(self) -> float:
        return max(0.0, self.ended - self.began)


@dataclass(frozen=True)
class Row:
    """A line of the waterfall: a step, a call below it, or the queue.

    `after` is what it waited for, `taken_from` the task that has run it before.
    """

    id: str
    name: str
    status: str
    bars: tuple[Bar, ...]
    depth: int = 0
    agent: str = ""
    instance: str = ""
    attempts: int = 0
    calls: int = 0
    tokens: int = 0
    after: str = ""
    note: str = ""
    critical: bool = False
    is_step: bool = True
    taken_from: str = ""

    def spent(self, *kinds: Kind) -> float:
        """Seconds of its bars of these kinds."""
        return sum(bar.seconds for bar in self.bars if bar.kind in kinds)

    @property
    def worked(self) -> float:
        return self.spent("run", "failed", "call", "model", "tool")

    @property
    def waited(self) -> float:
        return self.spent("queue", "wait", "pause")


@dataclass(frozen=True)
class Waterfall:
    """All rows, from `began` to `ended`."""

    began: float
    ended: float
    rows: tuple[Row, ...] = ()
    path: tuple[str, ...] = ()
    told: dict[str, list[tuple[float, str]]] = field(default_factory=dict)  # progress by step: when and what

    def place(self, at: float) -> str:
        """A time as a share of the width, for SVG."""
        whole = max(self.ended - self.began, 1e-6)
        return f"{100 * min(1.0, max(0.0, (at - self.began) / whole)):.3f}%"

    def width(self, bar: Bar) -> str:
        """A bar's share of the width; the shortest can still be seen."""
        whole = max(self.ended - self.began, 1e-6)
        return f"{max(0.3, 100 * min(1.0, bar.seconds / whole)):.3f}%"

    @property
    def legend(self) -> list[tuple[Kind, str]]:
        """The kinds of bars that there are, in words."""
        seen = {bar.kind for row in self.rows for bar in row.bars}
        return [(kind, word) for kind, word in LEGEND.items() if kind in seen]

    @property
    def marks(self) -> list[tuple[str, float]]:
        """Places of the marks on the time line, and their seconds since its beginning."""
        whole = self.ended - self.began
        return [(f"{100 * n / PARTS:.0f}%", whole * n / PARTS) for n in range(PARTS + 1)]


def draw(task: Task, events: Sequence[TaskEvent], timeline: Timeline) -> Waterfall:
    """The waterfall of a task, out of its timeline and what the events say besides; open bars end with the timeline."""
    by_step: defaultdict[str, list[TaskEvent]] = defaultdict(list)
    children: defaultdict[str, list[TaskEvent]] = defaultdict(list)
    told: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
    for event in events:
        step_id = str(event.fields.get("step_id", ""))
        if event.type == "step.progress":
            told[step_id].append((event.at, str(event.fields.get("message", ""))))
        elif event.type.startswith("delegation."):
            by_step[step_id].append(event)
            if event.type != "delegation.finished":
                children[str(event.fields.get("parent", ""))].append(event)
        elif event.type == "step.hedged" or "calls" in event.fields:
            by_step[step_id].append(event)
    path = tuple(course.step.id for course in timeline.path)
    ended = timeline.ended_at
    rows = [_queue(task, ended)]
    for step in task.steps:
        if (course := timeline.courses.get(step.id)) is None:
            rows.append(_taken_over(task, step))
            continue
        rows.append(_step(task, course, ended=ended, critical=step.id in path))
        rows += _calls(course, by_step[step.id])
        rows += _second_calls(course, by_step[step.id])
        rows += _delegations(step.id, children, by_step, ended=ended, depth=1)
    return Waterfall(timeline.began_at, max(ended, task.created_at + 1e-3), tuple(rows), path, dict(told))


def _queue(task: Task, ended: float) -> Row:
    began = task.started_at if task.started_at is not None else ended
    bar = Bar("queue", task.created_at, began, "waiting for a place", open=task.started_at is None and not task.ended)
    return Row("", "queue", "", (bar,), is_step=False, note=f"priority {task.priority}")


def _taken_over(task: Task, step: Step) -> Row:
    """A step that an earlier task has run."""
    source = task.rerun.taken[step.id] if task.rerun is not None else ""
    who = step.answered_by or step.agent or step.capability or ""
    return Row(step.id, step.id, step.status, (), agent=who, taken_from=source)


def _step(task: Task, course: StepCourse, *, ended: float, critical: bool) -> Row:
    step = course.step
    needs = [task.step(id) for id in step.needs if id in task.places]
    done = [need for need in needs if need.finished_at is not None]
    waits_for = [need.id for need in needs if not need.ended]
    last = max(done, key=lambda need: need.finished_at or 0.0, default=None)
    if not waits_for and not course.attempts and not step.ended and task.started_at is not None:
        ready = max([task.started_at, *(need.finished_at or 0.0 for need in done)])
        bars: tuple[Bar, ...] = (Bar("wait", ready, ended, "waiting for an agent", open=True),)
    else:
        bars = tuple(_attempts(course))
    usage = step.spent
    return Row(
        id=step.id,
        name=step.id,
        status=step.status,
        bars=bars,
        agent=step.answered_by or step.agent or step.capability or "coordinator",
        instance=step.instance or "",
        attempts=step.attempt,
        calls=usage.calls,
        tokens=usage.tokens,
        after=", ".join(waits_for) or (last.id if last else ""),
        note=step.error.detail if step.error else "",
        critical=critical,
    )


def _attempts(course: StepCourse) -> Iterator[Bar]:
    """The bars of one step, from when it was ready."""
    step, free_at = course.step, course.ready_at
    for n, attempt in enumerate(course.attempts):
        is_last = n == len(course.attempts) - 1
        if attempt.wait > 0:
            yield Bar("wait", free_at, attempt.sent_at, "waiting for an agent")
        failed = bool(attempt.error) or (is_last and step.status in (Status.FAILED, Status.TIMED_OUT))
        why = attempt.why or ("a restart cut it off" if attempt.cut_off else "")
        why = why or (step.error.detail if is_last and step.error else "")
        what = f"attempt {attempt.number}" + (f", {attempt.instance}" if attempt.instance else "")
        yield Bar(
            "failed" if failed or attempt.cut_off else "run",
            attempt.sent_at,
            attempt.ended_at,
            f"{what}: {why}" if why else what,
            open=is_last and not step.ended and attempt.error is None,
        )
        free_at = attempt.ended_at
        if attempt.pause > 0:
            following = course.ended_at if is_last else course.attempts[n + 1].sent_at
            free_at = min(attempt.ended_at + attempt.pause, max(following, attempt.ended_at))
            yield Bar("pause", attempt.ended_at, free_at, f"pause before attempt {attempt.number + 1}")
    if course.waiting > 0 and course.ended_at > free_at:
        yield Bar("wait", free_at, course.ended_at, "waiting for an agent", open=not step.ended)
    elif not course.attempts and step.started_at is not None and step.finished_at is not None:
        yield Bar("run" if step.status is Status.COMPLETED else "failed", course.ready_at, course.ended_at, "worked")


def _calls(course: StepCourse, events: Sequence[TaskEvent]) -> Iterator[Row]:
    """The models, tools and searches that a step has called, each with its calls in one row."""
    sent = {attempt.number: attempt for attempt in course.attempts}
    found: defaultdict[tuple[str, str], list[tuple[Bar, int]]] = defaultdict(list)
    for event in events:
        if (attempt := sent.get(event.fields.get("attempt", 0))) is None:
            continue
        for call in event.fields.get("calls", ()):
            began = min(attempt.sent_at + call["at"], attempt.ended_at)
            why = f": {call['error']}" if call.get("error") else ""
            kind: Kind = "failed" if why else "model" if call["kind"] == "model" else "tool"
            ended = min(began + call["seconds"], attempt.ended_at)
            bar = Bar(kind, began, ended, f"{call['kind']} {call['name']}{why}")
            found[call["kind"], call["name"]].append((bar, call.get("tokens", 0)))
    for (what, name), calls in found.items():
        tokens = sum(tokens for _, tokens in calls)
        said = count(len(calls), "call") + (f", {count(tokens, 'token')}" if tokens else "")
        bars = tuple(bar for bar, _ in calls)
        yield Row("", f"{what} {name}", "", bars, 1, is_step=False, note=said, calls=len(calls), tokens=tokens)


def _second_calls(course: StepCourse, events: Sequence[TaskEvent]) -> Iterator[Row]:
    """Instances that got the step, too, because the first took far too long."""
    for event in events:
        if event.type == "step.hedged":
            agent = str(event.fields.get("agent", "")) or course.step.answered_by or ""
            bar = Bar("call", event.at, max(event.at, course.ended_at), "second call", open=not course.step.ended)
            instance = str(event.fields.get("instance", ""))
            yield Row("", "second call", "", (bar,), 1, agent, instance, is_step=False, note=instance)


def _delegations(
    parent: str,
    children: dict[str, list[TaskEvent]],
    events: dict[str, list[TaskEvent]],
    *,
    ended: float,
    depth: int,
) -> Iterator[Row]:
    """What a step or another delegation has asked of agents, and what these have asked, in their order."""
    for begun in children.get(parent, ()):
        data = begun.fields
        id, agent = str(data.get("step_id", "")), str(data.get("agent", ""))
        row = Row(id, f"asks {agent}", "", (), depth=depth, agent=agent, is_step=False)
        if begun.type == "delegation.refused":
            yield replace(row, status="refused", note=str(data.get("why", "")), bars=(_call(begun.at, begun.at),))
            continue
        end = next((e for e in events.get(id, ()) if e.type == "delegation.finished"), None)
        usage: dict[str, Any] = end.fields.get("usage", {}) if end else {}
        yield replace(
            row,
            status=str(end.fields.get("status", "")) if end else "running",
            bars=(_call(begun.at, end.at if end else ended, open=end is None),),
            calls=int(usage.get("calls", 0)),
            tokens=int(usage.get("input_tokens", 0)) + int(usage.get("output_tokens", 0)),
        )
        if id != parent:
            yield from _delegations(id, children, events, ended=ended, depth=depth + 1)


def _call(began: float, ended: float, *, open: bool = False) -> Bar:
    return Bar("call", began, ended, "delegation", open=open)
