"""PURE: what a model's reply asks for: tools and delegations, as native calls or written into its text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue
from pydantic_core import from_json

from shared.answering import ToolCall

PREFIX = "delegate_to_"
_FENCES = {"```delegate": "delegate", "```tool_call": "tool"}

Kind = Literal["delegate", "tool", "invalid", "nothing"]


@dataclass(frozen=True)
class Action:
    """One thing to do before the answer; `id` is the native call's, None for one that was written.

    `name` is the agent's or the tool's; a delegation's arguments are `{"task"}`. An `invalid` one says `why`;
    `nothing` is an empty action, after which the model is asked for the answer.
    """

    kind: Kind
    name: str = ""
    arguments: Mapping[str, JsonValue] = field(default_factory=dict)
    id: str | None = None
    why: str = ""

    @property
    def task(self) -> str:
        return str(self.arguments.get("task", ""))


def called(calls: Sequence[ToolCall], peers: Mapping[str, str]) -> list[Action]:
    """Native calls; `peers` are agents by the names of the tools that delegate to them."""
    return [_called(call.name, call.arguments, call.id, peers) for call in calls]


def written(text: str, peers: Mapping[str, str], *, plain: bool) -> list[Action]:
    """Actions in a text: every block fenced as `delegate` or `tool_call`, else (`plain`) a text that is one as JSON.

    The forms are KAOS's: `{"agent", "task"}`, `{"tool", "arguments"}`, `{"tool_calls": [...]}` and `{}`.
    """
    if found := [action for kind, data in _fenced(text) if (action := _block(kind, data))]:
        return found
    if not plain:
        return []
    data = _json(_unfenced(text))
    entries = data if isinstance(data, list) and data else [data]
    actions: list[Action] = []
    for entry in entries:
        if not isinstance(entry, dict) or not (several := _plain(entry, peers)):
            return []  # JSON that is no action is an answer
        actions += several
    return actions


def _called(name: str, arguments: JsonValue, id: str | None, peers: Mapping[str, str]) -> Action:
    given = _json(arguments or "{}") if isinstance(arguments, str) else arguments
    if not isinstance(given, dict):
        return Action("invalid", name, id=id, why=f"The arguments of {name!r} are no JSON object.")
    if not name.startswith(PREFIX):
        return Action("tool", name, given, id)
    return _delegation(peers.get(name, name.removeprefix(PREFIX)), given.get("task"), id)


def _delegation(agent: JsonValue, task: JsonValue, id: str | None = None) -> Action:
    said = task if isinstance(task, str) or task is None else json.dumps(task, ensure_ascii=False)
    if not isinstance(agent, str) or not agent or not said or not said.strip():
        name = agent if isinstance(agent, str) else ""
        return Action("invalid", name, id=id, why="Invalid delegation: missing 'agent' or 'task'")
    return Action("delegate", agent, {"task": said}, id)


def _tool(name: JsonValue, arguments: JsonValue) -> Action:
    given = {} if arguments is None else arguments
    if not isinstance(name, str) or not name or not isinstance(given, dict):
        said = name if isinstance(name, str) else ""
        return Action("invalid", said, why="Invalid tool call: 'tool' must be a name and 'arguments' an object")
    return Action("tool", name, given)


def _block(kind: str, data: JsonValue) -> Action | None:
    if not isinstance(data, dict):
        return None
    if kind == "delegate":
        return _delegation(data.get("agent"), data.get("task"))
    return _tool(data.get("tool"), data.get("arguments"))


def _plain(entry: dict[str, JsonValue], peers: Mapping[str, str]) -> list[Action]:
    if not entry:
        return [Action("nothing")]
    if isinstance(calls := entry.get("tool_calls"), list):
        wanted = [c for c in calls if isinstance(c, dict) and isinstance(c.get("name"), str)]
        return [_called(str(c["name"]), c.get("arguments", {}), None, peers) for c in wanted]
    if "agent" in entry and "task" in entry:
        return [_delegation(entry["agent"], entry["task"])]
    if "tool" in entry and "arguments" in entry:
        return [_tool(entry["tool"], entry["arguments"])]
    return []


def _fenced(text: str) -> Iterator[tuple[str, JsonValue]]:
    """What stands in fenced blocks: a line with the tag alone, JSON, a line of three backticks."""
    kind, inside = "", [""]
    for line in text.split("\n"):  # splitlines would also split inside of JSON strings
        if not kind:
            kind, inside = _FENCES.get(line.rstrip(), ""), []
        elif line.rstrip() == "```":
            data = _json("\n".join(inside))
            if data is not None:
                yield kind, data
            kind = ""
        else:
            inside.append(line)


def _unfenced(text: str) -> str:
    text = text.strip()
    if text.startswith("```json") and text.endswith("```"):  # what small models do with JSON
        return text.removeprefix("```json").removesuffix("```")
    return text


def _json(text: str) -> JsonValue:
    """The JSON in a text, None where there is none."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        found: JsonValue = from_json(text, allow_inf_nan=False)
    except ValueError:
        return None
    return found
