"""The coordinator as a chat, for every protocol: a chat is a task, and its report is the answer."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any

from pydantic import JsonValue, ValidationError

from coordinator.access.caller import Caller, asking
from coordinator.admission.lane_header import lane_of
from coordinator.api.dependencies import Services
from coordinator.execution.waiting import TaskFailed
from coordinator.questions.followups import complete, points_back
from coordinator.reports.document import has_report, in_words
from coordinator.reports.view import view
from coordinator.tasks.task import Task
from shared.contracts import MAX_DESCRIPTION, NO_USAGE, AgentStatus, PlanStep, Status, TaskRequest
from shared.conversation import Ask, Delta, Final, Note, Piece, Skill, is_cut, spoken
from shared.errors import AgentLost, Conflict, Invalid, ModelNotFound
from shared.memory.store import Memory
from shared.rendering import Link, beginning_to_markdown
from shared.rendering.links import address, source_link
from shared.report.model import Report
from shared.server.bodies import make_invalid
from shared.version import VERSION

NAME = "coordinator"
RECALLED = 50  # questions of a session, in which one with a topic is looked for
PIECE_CHARACTERS = 200  # of a report that is streamed, of which all but the beginning is whole before its first word
BEGUN = "\n\n---\n\n"  # between what was begun and a report that begins otherwise


class CoordinatorFace:
    """`shared.conversation.Face` of the coordinator.

    It answers to `coordinator`, with a task of the default plan, and to every agent's name, with a task of one step.
    A question that has no topic of its own takes that of an earlier one, from the messages or from `memory`.
    """

    name = NAME
    description = "Carries a question through research, analysis and report, and answers with citations."
    version = VERSION

    def __init__(self, get_opened: Callable[[], Services], memory: Memory | None = None) -> None:
        self._get_opened = get_opened
        self._memory = memory

    def get_services(self) -> Services:
        """The coordinator's components; raises `Unavailable` before it is open."""
        return self._get_opened()

    def skills(self) -> Sequence[Skill]:
        """The default plan, and what the registered agents can do."""
        own = Skill("answer", "Answer a question", self.description, ("research", "analyze", "report"))
        agents = {i.name: i.registration for i in self.get_services().agents.registry.list_all()}
        return [
            own,
            *(
                Skill(name, name, known.description or f"Agent {name}.", tuple(known.capabilities))
                for name, known in sorted(agents.items())
            ),
        ]

    def models(self) -> Sequence[str]:
        """Its own name, and the names of the agents that are there."""
        agents = self.get_services().agents.registry.list_all()
        return [NAME, *sorted({i.name for i in agents if i.status is AgentStatus.HEALTHY} - {NAME})]

    async def answer(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        """Runs a task. Closing the stream cancels the task unless `stays`; a shutdown does not.

        Raises `ModelNotFound`, `Invalid`, `KeyReused`, `Overloaded`, `TaskFailed`, `StorageFull`, and `Unavailable`
        with the task's Location when the coordinator stops first.
        """
        services = self.get_services()
        ask = await self._complete(ask)
        wanted, caller = self._make_request(ask, services), asking.get()
        task = await self.accept(wanted, key=ask.key, traceparent=ask.traceparent, caller=caller)
        said = ""  # of the report, which goes out as it is written
        async with aclosing(self.watch(task, stays=lambda: ask.stays or ask.taken())) as notes:
            async for note in notes:
                yield note
                text = _render_beginning(task, note, services.settings.public_url) if isinstance(note, _Begun) else ""
                if len(text) > len(said) and text.startswith(said):
                    yield Delta(text[len(said) :])
                    said = text
        task = await services.dispatcher.wait_for_end(task.id)
        if task.status is Status.CANCELLED:
            raise AgentLost(f"Task {task.id} was cancelled.")
        if task.status in (Status.FAILED, Status.TIMED_OUT):
            raise TaskFailed(task, services.waiter.base)
        final = await asyncio.to_thread(_make_final, task, services.settings.public_url)
        if not final.text.startswith(said):  # another report than was begun, as a custom reporter may write
            final = replace(final, text=f"{said}{BEGUN}{final.text}")
        for start in range(len(said), len(final.text), PIECE_CHARACTERS):
            yield Delta(final.text[start : start + PIECE_CHARACTERS])
        yield final

    async def accept(
        self,
        wanted: TaskRequest,
        *,
        key: str | None = None,
        traceparent: str | None = None,
        caller: Caller | None = None,
    ) -> Task:
        """A durable task; the same `key` with the same request gives the one it has. Raises as `answer` does."""
        digest = hashlib.sha256(wanted.model_dump_json().encode()).hexdigest() if key else ""
        task, _ = await self.get_services().dispatcher.accept(
            wanted, idempotency_key=key, digest=digest, traceparent=traceparent, lane=lane_of(caller)
        )
        return task

    async def watch(self, task: Task, *, stays: Callable[[], bool] = lambda: False) -> AsyncGenerator[Note]:
        """What happens to a task until its end is durable; closing this early cancels the task unless it stays.

        Raises `Unavailable` with the task's Location when the coordinator stops first (the task goes on then), or
        cannot write the end within half a second of the deadline.
        """
        services = self.get_services()
        try:
            async with aclosing(_follow_notes(task, services)) as notes:
                async for note in notes:
                    yield note
            await services.waiter.wait_for_end(await services.dispatcher.get_task(task.id))
        except (GeneratorExit, asyncio.CancelledError):  # the caller left: a wait of ours that ends cancels nothing
            if not stays() and not services.stopping:
                with suppress(Conflict):  # it has just ended
                    await services.dispatcher.cancel(task.id)
            raise

    async def _complete(self, ask: Ask) -> Ask:
        """The same with a question that has a topic, if the conversation has one."""
        if (ask.model or NAME) != NAME or not points_back(ask.text):
            return ask  # an agent of its own name has the conversation itself
        earlier: Sequence[str] = [message.content for message in ask.earlier if message.role == "user"]
        if not earlier and self._memory is not None and ask.session:
            events = await self._memory.read_events(session=ask.session, type="user_message", limit=RECALLED)
            earlier = _take_before(ask.text, [str(event.content) for event in events])
        question = complete(ask.text, earlier)
        return replace(
            ask, messages=tuple(replace(m, content=question) if m is ask.question else m for m in ask.messages)
        )

    def _make_request(self, ask: Ask, services: Services) -> TaskRequest:
        model = ask.model or NAME
        plan: list[PlanStep] | None = None
        if model != NAME:
            if model not in services.agents.registry.list_names():
                raise ModelNotFound(f"There is no agent {model!r}. Available: {', '.join(self.models())}.")
            plan = [PlanStep(id="answer", agent=model, input=ask.text)]
        if plan is None and len(ask.text) > MAX_DESCRIPTION:
            why = f"The question has {len(ask.text)} characters; the limit is {MAX_DESCRIPTION}."
            raise Invalid(why, [{"pointer": "/messages", "detail": why}])
        if not ask.text.strip():
            raise Invalid("The question is empty.", [{"pointer": "/messages", "detail": "The question is empty."}])
        try:
            return TaskRequest(
                task_description=ask.text[:MAX_DESCRIPTION],
                timeout_seconds=float(ask.seconds) if ask.seconds else None,
                plan=plan,
                context=_make_context(ask),
            )
        except ValidationError as exc:
            raise make_invalid(exc) from exc


def _take_before(question: str, asked: Sequence[str]) -> Sequence[str]:
    """The conversation before one of its questions; a repeat may have others behind it."""
    places = [at for at, one in enumerate(asked) if one == question]
    return asked[: places[-1]] if places else asked


def _make_context(ask: Ask) -> Any:
    """What was said besides the question, for agents that read the context."""
    earlier = [{"role": m.role, "content": m.content} for m in ask.earlier if m.content]
    found: dict[str, Any] = {"messages": earlier} if earlier else {}
    if ask.session:
        found["session"] = ask.session
    if ask.options:
        found["options"] = ask.options
    return found or None


async def _follow_notes(task: Task, services: Services) -> AsyncGenerator[Note]:
    """What happens to a task, a sentence each, until it ends, times out or the coordinator stops."""
    following = services.waiter.follow(task.id, beat_seconds=services.settings.request_timeout, until=task)
    async with aclosing(following) as events:
        async for event in events:
            if event is not None and (note := _to_note(event.type, event.fields)):
                yield note


@dataclass(frozen=True)
class _Begun(Note):
    """A note with how the report begins."""

    report: Any = None


def _to_note(type: str, data: dict[str, Any]) -> Note | None:
    step = data.get("step_id", "")
    if type == "step.progress":
        return _Begun(f"{step}: {data.get('message', '')}", data.get("fraction"), data.get("report"))
    words = {"step.started": "started", "step.finished": "finished", "step.retried": "is tried again"}
    return Note(f"{step} {words[type]}") if type in words else None


def _make_final(task: Task, public_url: str | None) -> Final:
    seen = view(task)
    result = seen.result
    return Final(
        text=_to_words(task, result.report, public_url) if result else "",
        usage=task.usage or NO_USAGE,
        missing=seen.missing,
        data=seen.model_dump(mode="json"),
        task_id=task.id,
        answered=result.answered if result else None,
        confidence=result.confidence if result else 0.0,
        cut=len(task.steps) == 1 and is_cut(seen.missing),  # of several, one may be cut and the report whole
    )


def _render_beginning(task: Task, note: _Begun, public_url: str | None) -> str:
    """The first words of the report; "" where it is not the one report of its only analysis that will be shown."""
    if note.report is None or not has_report(task) or sum(step.capability == "analyze" for step in task.steps) != 1:
        return ""
    try:
        return beginning_to_markdown(Report.model_validate(note.report), _make_link(task, public_url))
    except ValidationError:
        return ""


def _make_link(task: Task, public_url: str | None) -> Link:
    return source_link(f"{public_url.rstrip('/')}/tasks/{task.id}/sources/") if public_url else address


def _to_words(task: Task, report: JsonValue, public_url: str | None) -> str:
    """The answer in words: without a title, which would repeat the question; sources are linked by whole addresses."""
    if not has_report(task):
        return spoken(report)
    return in_words(task, _make_link(task, public_url))
