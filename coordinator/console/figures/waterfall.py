"""PURE: a task over time, out of its steps and events: who waited, who worked, and what the end had to wait for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from coordinator.journal.events import TaskEvent
from coordinator.tasks.task import Step, Task
from shared.contracts import Status

Kind = Literal["queue", "wait", "run", "failed", "pause", "call"]
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
    """A line of the waterfall: a step, a delegation below it, or the queue; `after` is what it waited for."""

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

    def spent(self, *kinds: Kind) -> float:
        """Seconds of its bars of these kinds."""
        return sum(bar.seconds for bar in self.bars if bar.kind in kinds)

    @property
    def worked(self) -> float:
        return self.spent("run", "failed", "call")

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
    def marks(self) -> list[tuple[str, float]]:
        """Places of the marks on the time line, and their seconds since its beginning."""
        whole = self.ended - self.began
        return [(f"{100 * n / PARTS:.0f}%", whole * n / PARTS) for n in range(PARTS + 1)]


def draw(task: Task, events: Sequence[TaskEvent], *, now: float) -> Waterfall:
    """The waterfall of a task; `now` (Unix seconds) is where open bars end."""
    ended = task.finished_at if task.finished_at is not None else max(now, task.created_at)
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
        elif step_id:
            by_step[step_id].append(event)
    path = find_critical_path(task)
    rows = [_queue(task, ended)]
    for step in task.steps:
        rows.append(_step(task, step, by_step[step.id], ended=ended, critical=step.id in path))
        rows += _delegations(step.id, children, by_step, ended=ended, depth=1)
    return Waterfall(task.created_at, max(ended, task.created_at + 1e-3), tuple(rows), path, dict(told))


def find_critical_path(task: Task) -> tuple[str, ...]:
    """Ids of the steps that the end had to wait for, in their order: from the last step, always the latest need."""
    begun = [step for step in task.steps if step.started_at is not None]
    if not begun:
        return ()
    known = {step.id: step for step in begun}
    at: Step | None = max(begun, key=_end)
    path: list[str] = []
    while at is not None and at.id not in path:
        path.append(at.id)
        needs = [known[id] for id in at.needs if id in known]
        at = max(needs, key=_end, default=None)
    return tuple(reversed(path))


def _end(step: Step) -> float:
    return step.finished_at if step.finished_at is not None else float("inf")


def _queue(task: Task, ended: float) -> Row:
    began = task.started_at if task.started_at is not None else ended
    bar = Bar("queue", task.created_at, began, "waiting for a place", open=task.started_at is None and not task.ended)
    return Row("", "queue", "", (bar,), is_step=False, note=f"priority {task.priority}")


def _step(task: Task, step: Step, events: Sequence[TaskEvent], *, ended: float, critical: bool) -> Row:
    needs = [task.step(id) for id in step.needs if id in task.places]
    done = [need for need in needs if need.finished_at is not None]
    ready = max((need.finished_at or 0.0 for need in done), default=task.started_at or task.created_at)
    blocked = any(not need.ended for need in needs)
    last = max(done, key=_end, default=None)
    until = step.finished_at if step.finished_at is not None else ended
    bars = tuple(_attempts(events, ready=None if blocked or task.started_at is None else ready, until=until, step=step))
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
        after=", ".join(need.id for need in needs if not need.ended) if blocked else last.id if last else "",
        note=step.error.detail if step.error else "",
        critical=critical,
    )


def _attempts(events: Sequence[TaskEvent], *, ready: float | None, until: float, step: Step) -> Iterator[Bar]:
    """The bars of one step, from when it was ready."""
    at, kind, what = ready, "wait", "waiting for an agent"
    started: TaskEvent | None = None
    for event in events:
        data = event.fields
        if event.type == "step.started":
            if at is not None and event.at > at:
                yield Bar("pause" if kind == "pause" else "wait", at, event.at, what)
            started = event
        elif event.type == "step.retried":
            began = started.at if started else event.at
            yield Bar("failed", began, event.at, f"attempt {data.get('attempt')}: {data.get('why', '')}")
            at, kind, what, started = event.at, "pause", f"pause before attempt {int(data.get('attempt', 0)) + 1}", None
        elif event.type in ("step.finished", "step.failed"):
            if started is not None:
                good = event.type == "step.finished"
                why = "" if good else f": {data.get('why', '')}"
                yield Bar("run" if good else "failed", started.at, event.at, f"attempt {data.get('attempt')}{why}")
            elif at is not None and event.at > at:
                yield Bar("wait", at, event.at, what)
            return
    if started is not None:
        yield Bar("run", started.at, until, f"attempt {started.fields.get('attempt')}", open=not step.ended)
    elif at is not None and step.status in (Status.QUEUED, Status.RUNNING):
        yield Bar("pause" if kind == "pause" else "wait", at, until, what, open=True)


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
