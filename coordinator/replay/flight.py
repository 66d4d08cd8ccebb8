"""A task's flight that plays: agents, the network and chance are as recorded, and the workers' real code answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from pydantic import JsonValue

from coordinator.agent_calls.attempt import Attempt, StepAnswer
from coordinator.agent_calls.client import check
from coordinator.agents.instance import Instance
from coordinator.agents.registry import Registry
from coordinator.execution.delegations import Wish
from coordinator.recording import flight as flights
from coordinator.recording.recorder import compute_crc
from coordinator.replay.differences import Difference, as_json
from coordinator.replay.player import NotRecorded, Player
from coordinator.replay.timetable import Timetable
from coordinator.replay.workers import Workers
from coordinator.tasks.task import Step, Task
from shared.contracts import Progress, StepResult
from shared.errors import BadResponse, MusterError, StepFailure
from shared.limits.envelope import Envelope
from shared.recording.failures import read_failure
from shared.recording.recorder import read_recording

T = TypeVar("T")


class PlayedFlight:
    """Plays one recording; `free` are the steps that may go another way, `answers` replace recorded outputs."""

    def __init__(
        self,
        task: Task,
        events: list[dict[str, Any]],
        entries: list[dict[str, Any]],
        *,
        timetable: Timetable,
        tell: Callable[[Difference], None],
        free: frozenset[str] = frozenset(),
        answers: Mapping[str, JsonValue] | None = None,
    ) -> None:
        self._task = task
        self._timetable = timetable
        self._tell = tell
        self._free = free
        self._answers = dict(answers or {})
        self._instances: dict[tuple[str, int], str] = {}
        self._calls: defaultdict[tuple[str, int, str], list[dict[str, Any]]] = defaultdict(list)
        self._children: defaultdict[str, list[str]] = defaultdict(list)  # the instances of a delegation's attempts
        self._taken: defaultdict[str, int] = defaultdict(int)
        self._asks: list[dict[str, Any]] = []
        self._untaken: dict[tuple[str, int], dict[str, Any]] = {}
        self._seconds: dict[tuple[str, int], str] = {}
        self._progress: defaultdict[tuple[str, int], list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        self._tape = Player({}, began=0.0, where="the coordinator", free=False, tell=tell)
        self._asking: set[asyncio.Task[None]] = set()
        self.registry: Registry
        self.delegate: Callable[[Instance, Envelope, Wish], Awaitable[object]]
        self.workers: Workers
        self._read(events, entries)

    def _read(self, events: list[dict[str, Any]], entries: list[dict[str, Any]]) -> None:
        told: defaultdict[str, int] = defaultdict(int)
        delegated: dict[str, dict[str, Any]] = {}
        for event in events:
            data = event["data"]
            place = data.get("step_id"), data.get("attempt")
            if event["type"] == "step.started":
                self._instances[place] = data["instance"]
            elif event["type"] == "step.hedged":
                self._seconds[place] = data["instance"]
            elif event["type"] in ("delegation.started", "delegation.refused"):
                delegated[data["step_id"]] = data
            elif event["type"] == "step.progress":
                self._progress[place].append((told[place[0]], data))
                told[place[0]] += 1
        reads: defaultdict[str, list[Any]] = defaultdict(list)
        exchanges = []
        for entry in entries:
            match entry["kind"]:
                case "call":
                    self._calls[entry["step"], entry["attempt"], entry["instance"]].append(entry)
                    if entry.get("depth"):
                        self._children[entry["step"]].append(entry["instance"])
                case "ask":
                    self._asks.append(entry)
                    delegated.pop(entry["child"], None)
                case "untaken":
                    self._untaken[entry["step"], entry["attempt"]] = entry
                case "exchange":
                    exchanges.append(entry["exchange"])
                case "reads":
                    for kind, values in entry["reads"].items():
                        reads[kind] += values
        for child, data in delegated.items():  # a kill has cost their entries
            self._asks.append(
                {"parent": data["parent"], "child": child, "agent": data["agent"], "task": None, "limits": {}}
            )
        self._asks.sort(key=lambda ask: self._timetable.find_place("ask", ask["child"]))
        told_to_tape = {"entries": exchanges, "reads": reads}
        self._tape = Player(told_to_tape, began=0.0, where="the coordinator", free=bool(self._free), tell=self._tell)

    # --- as the coordinator uses it

    def begin(self, task: Task, clock: Callable[[], float], *, taken_up: bool) -> PlayedFlight:
        return self

    def end(self, task_id: str) -> None:
        """Nothing is kept."""

    def note(self, kind: str, **facts: Any) -> None:
        """It came from the record."""

    def put_back(self) -> None:
        """Nothing is written."""

    async def exchange(self, kind: str, asked: Any, do: Callable[[], Awaitable[Any]]) -> Any:
        return await self._tape.exchange(kind, asked, do)

    def read(self, kind: str, look: Callable[[], T]) -> T:
        return self._tape.read(kind, look)

    async def take(self, step: Step, take: Callable[[], Awaitable[Instance]]) -> Instance:
        attempt = step.attempt + 1
        instance = self._instances.get((step.id, attempt))
        if step.id in self._children:
            self._taken[step.id] += 1
            attempt = self._taken[step.id]
            instance = dict(enumerate(self._children[step.id], 1)).get(attempt)
        if instance is not None:
            await self._timetable.wait("take", step.id, attempt)
            return self._start(instance)
        if (entry := self._untaken.get((step.id, attempt))) is not None:
            await self._timetable.wait("untaken", step.id, attempt)
            raise read_failure(entry["failure"])
        if self._is_free(step.id):
            return await take()
        await _wait_for_ever()
        raise AssertionError("Nothing ends that wait but a cancellation.")

    def hedge(self, attempt: Attempt, seconds: float | None) -> float | None:
        request = attempt.request
        at = self._timetable.find("hedge", request.step_id, request.attempt)
        return None if at is None else max(0.0, at - asyncio.get_running_loop().time())

    def second(self, attempt: Attempt, choose: Callable[[], Instance | None]) -> Instance | None:
        instance = self._seconds.get((attempt.request.step_id, attempt.request.attempt))
        return None if instance is None else self._start(instance)

    async def ask(self, parent: str, wish: flights.Wish, make: Callable[[], str]) -> str:
        agent, task = wish.agent, wish.task
        same = [ask for ask in self._asks if (ask["parent"], ask["agent"]) == (parent, agent)]
        found = next((ask for ask in same if ask["task"] == task), same[0] if same else None)
        if found is None:
            if not self._is_free(parent):
                self._tell(Difference(f"step {parent}", f"it asks agent {agent!r}, which it did not", None, task))
            return make()
        self._asks.remove(found)
        if found["task"] not in (None, task) and not self._is_free(parent):
            self._tell(Difference(f"step {parent}", f"it asks agent {agent!r} for something else", found["task"], task))
        await self._timetable.wait("ask", found["child"])
        return str(found["child"])

    async def call(self, attempt: Attempt, execute: Callable[[Attempt], Awaitable[StepAnswer]]) -> StepAnswer:
        request, instance = attempt.request, attempt.instance
        calls = self._calls[request.step_id, request.attempt, instance.id]
        entry = calls.pop(0) if calls else None
        if entry is None and not self._is_free(request.step_id):
            self._ask_again(attempt)
            await _wait_for_ever()  # the coordinator was killed meanwhile
        entry = entry or {"kind": "none"}
        end = "end", request.step_id, request.attempt, instance.id
        telling = asyncio.create_task(self._tell_progress(attempt))
        try:
            if request.step_id in self._answers:
                await self._timetable.wait(*end)
                return _answer(attempt, StepResult(output=self._answers[request.step_id], **_place(attempt)))
            asked_same = entry.get("crc") == compute_crc(request)
            if not asked_same and not self._is_free(request.step_id):
                self._tell_request(attempt)
            found = await self._answer(attempt, entry, asked_same=asked_same)
            await self._timetable.wait(*end)
        finally:
            telling.cancel()
            await asyncio.wait({telling})
        if isinstance(found, StepFailure):
            raise found
        return _answer(attempt, found)

    # --- how it is done

    async def _answer(self, attempt: Attempt, entry: dict[str, Any], *, asked_same: bool) -> StepResult | StepFailure:
        """What the worker's code answers, or the record in the place of one whose code is not here."""
        name, step_id = attempt.instance.name, attempt.request.step_id
        told = _read_told(entry)
        is_free = self._is_free(step_id)
        if (told or is_free) and self.workers.find(name, told.get("recipe")) is not None:
            began = asyncio.get_running_loop().time()
            tape = Player(told, began=began, where=f"step {step_id}", free=is_free, tell=self._tell)
            as_attempt = told.get("attempt", attempt.request.attempt)
            result = await self.workers.run(attempt, told.get("recipe"), tape, as_attempt=as_attempt)
            if not is_free:
                self._compare(attempt, entry, result)
            return result
        if entry["kind"] == "call" and (asked_same or not is_free):
            self._ask_again(attempt)
            if "answer" not in entry and "failure" not in entry:
                await _wait_for_ever()  # it was cut off
            return self._read_answer(attempt, entry)
        return BadResponse(f"Not in the record: agent {name!r} is asked something else, and its code is not here.")

    def _ask_again(self, attempt: Attempt) -> None:
        """What an agent had delegated whose code does not run: it is asked for all the same."""
        step_id, envelope = attempt.request.step_id, attempt.envelope
        following = "take", step_id, attempt.request.attempt + 1
        for ask in self._asks:
            if ask["parent"] == step_id and self._timetable.is_before(("ask", ask["child"]), following):
                wish = Wish(agent=ask["agent"], task=ask["task"] or "?", **ask["limits"])
                work = self._ask_once(self.delegate(attempt.instance, envelope, wish), ask["child"])
                self._asking.add(task := asyncio.create_task(work, name=f"ask:{ask['child']}"))
                task.add_done_callback(self._asking.discard)

    async def _ask_once(self, work: Awaitable[object], child: str) -> None:
        """A delegation, until it ends or its caller hung up; what becomes of it, the record says."""
        asking = asyncio.ensure_future(work)
        try:
            if self._timetable.find("hang_up", child) is not None:
                await self._timetable.wait("hang_up", child)
                asking.cancel()
            with contextlib.suppress(MusterError, asyncio.CancelledError):
                await asking
        finally:
            asking.cancel()

    def _read_answer(self, attempt: Attempt, entry: dict[str, Any]) -> StepResult | StepFailure:
        if (failure := entry.get("failure")) is not None:
            found = read_failure(failure)
            assert isinstance(found, StepFailure)
            return found
        return StepResult.model_validate(entry["answer"] | {"output": self._find_output(entry)} | _place(attempt))

    def _find_output(self, entry: dict[str, Any]) -> JsonValue:
        """What the agent had delivered, which the journal keeps with its step."""
        if "output" in entry:
            return entry["output"]  # type: ignore[no-any-return]
        return next((step.output for step in self._task.steps if step.id == entry["step"]), None)

    def _compare(self, attempt: Attempt, entry: dict[str, Any], result: StepResult) -> None:
        where = f"step {attempt.request.step_id}, attempt {attempt.request.attempt}, agent {attempt.instance.name}"
        told = result.model_dump(exclude_defaults=True, exclude={"output", "calls", "task_id", "step_id", "attempt"})
        replayed = as_json(told | {"output": result.output})
        if "answer" in entry:
            known = {k: v for k, v in entry["answer"].items() if k not in ("task_id", "step_id", "attempt")}
            recorded = known | {"output": self._find_output(entry)}
        else:
            recorded = {"status": "failed", "error": entry.get("failure")}
            replayed = {"status": result.status, "error": replayed.get("error")}
            try:
                check(result, attempt.request)
            except StepFailure as failure:
                same = entry.get("failure")
                if same and same["detail"] == failure.detail:
                    return
        if recorded != replayed:
            self._tell(Difference(where, "it answers otherwise", recorded, replayed))

    def _tell_request(self, attempt: Attempt) -> None:
        request = attempt.request
        said = {"input": request.input, "upstream": request.upstream, "missing": request.missing}
        steps = {step.id: step for step in self._task.steps}
        before: dict[str, Any] = {"input": None, "upstream": {}, "missing": []}
        if request.step_id in steps:
            step = steps[request.step_id]
            given = {need: steps[need].output for need in step.needs if steps[need].status == "completed"}
            before = {"input": step.input, "upstream": given, "missing": request.missing}
        where = f"step {request.step_id}, attempt {request.attempt}"
        self._tell(Difference(where, "it is asked something else", as_json(before), as_json(said)))

    async def _tell_progress(self, attempt: Attempt) -> None:
        request = attempt.request
        for number, data in self._progress[request.step_id, request.attempt]:
            await self._timetable.wait("progress", request.step_id, request.attempt, number)
            attempt.on_progress(Progress.model_validate(data))

    def _start(self, instance_id: str) -> Instance:
        instance = self.registry.get(instance_id)
        if instance is None:
            raise NotRecorded(f"Instance {instance_id} is not in the recording.")
        self.registry.record_start(instance)
        return instance

    def _is_free(self, step_id: str) -> bool:
        return step_id.partition(".")[0] in self._free


def _place(attempt: Attempt) -> dict[str, Any]:
    request = attempt.request
    return {"task_id": request.task_id, "step_id": request.step_id, "attempt": request.attempt, "status": "completed"}


def _answer(attempt: Attempt, result: StepResult) -> StepAnswer:
    return StepAnswer(check(result, attempt.request), asyncio.get_running_loop().time())


def _read_told(entry: dict[str, Any]) -> dict[str, Any]:
    """What the agent has sent along; nothing where that cannot be read: it need not be a worker of ours."""
    try:
        return read_recording(entry["recording"]) if "recording" in entry else {}
    except ValueError:
        return {}


async def _wait_for_ever() -> None:
    await asyncio.get_running_loop().create_future()
