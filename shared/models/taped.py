"""A model's call by the tape of its step: what it was asked, as much of it as fitted, and all that came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from shared.contracts import Usage
from shared.errors import ModelFailed
from shared.models.servers.asked import ModelRequest
from shared.models.servers.caller import Answers, Silent
from shared.models.servers.pace import Room
from shared.models.servers.turns import Hear
from shared.models.servers.wire import Received
from shared.recording.failures import read_failure, write_failure
from shared.recording.tape import Tape


async def ask(
    tape: Tape,
    answers: Answers,
    asked: ModelRequest,
    into: Received,
    *,
    seconds: float,
    hear: Hear | None,
    progress: Hear | None,
) -> Usage:
    """What `answers.answer` does, recorded or played; raises as it does.

    How much of its data a call carries depends on how fast the server was for others: that room is recorded, too.
    """
    room: Room | None = None
    sent = asked
    made = False

    async def fit(given: Room) -> ModelRequest:
        nonlocal room, sent
        assert asked.fit is not None
        room = given
        sent = await asked.fit(given)
        return sent

    async def do() -> dict[str, Any]:
        nonlocal made
        made = True
        fitted = asked if asked.fit is None else replace(asked, fit=fit)
        told: dict[str, Any] = {}
        try:
            usage = await answers.answer(fitted, into, seconds=seconds, hear=hear, progress=progress)
            told["usage"] = usage.model_dump()
        except ModelFailed as exc:
            told |= {"failure": write_failure(exc), "silent": isinstance(exc, Silent)}
        return told | {"room": asdict(room) if room else None} | _write(into)

    told = await tape.exchange("model", write_request(asked), do)
    if not made and told["room"] is not None and asked.fit is not None:
        sent = await asked.fit(Room(**told["room"]))
    if told["room"] is not None:
        await tape.exchange("prompt", write_request(sent), _nothing)
    if not made:
        await _play(told, into, hear)
    if "failure" not in told:
        return Usage.model_validate(told["usage"])
    failure = read_failure(told["failure"])
    raise Silent(str(failure), usage=getattr(failure, "usage", Usage())) if told["silent"] else failure


async def _nothing() -> None:
    """What was sent is all there is to keep of it."""


def write_request(asked: ModelRequest) -> dict[str, Any]:
    """What a model is asked, as JSON; nothing of its server is in it."""
    return {name: value for name, value in asdict(replace(asked, fit=None)).items() if name != "fit"}


def _write(into: Received) -> dict[str, Any]:
    calls = [{"id": c.id, "function": {"name": c.name, "arguments": c.arguments}} for c in into.calls]
    return {
        "words": into.speech.words,
        "calls": calls,
        "finish": into.finish,
        "counted": into.counted,
        "note": into.note,
        "thought": bool(into.speech.thoughts),
    }


async def _play(told: Mapping[str, Any], into: Received, hear: Hear | None) -> None:
    words = into.take({"content": told["words"]}) if told["words"] else ""
    calls = [call | {"index": number} for number, call in enumerate(told["calls"])]
    into.take({"tool_calls": calls, **({"reasoning": "…"} if told["thought"] else {})})
    words += into.speech.end()
    if words and hear is not None:
        await hear(words)
    into.finish, into.counted, into.note = told["finish"], told["counted"], told["note"]
