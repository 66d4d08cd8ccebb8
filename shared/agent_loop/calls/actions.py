"""PURE: what a model may call, by the names it may write, and one thing that it wants done."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue
from pydantic_core import to_json

from shared.agent_loop.calls.lenient_json import is_json, read_json
from shared.conversation import ToolCall
from shared.models.servers.turns import ToolSpec

PREFIX = "delegate_to_"
CUT_OFF = "The call was cut off at the limit of tokens. Make it shorter."
_INVALID = "INVALID_JSON"  # Pydantic AI's key for arguments that are no JSON object
_PLAIN = re.compile(r"[^a-z0-9]")
_SEPARATOR = re.compile(r"(?:\\?[-_. ])+")
_NAMESPACE = re.compile(r"\A(?:functions?|tools?)[.:/]")  # models put these before a name
_NEAR = 0.6  # of difflib's ratio: `wether` is near `weather`, and so is `other`; what may be meant, asked back
VERY_NEAR = 0.8  # what is meant, though it is not asked for by itself

ActionKind = Literal["delegate", "tool", "invalid", "nothing"]


@dataclass(frozen=True)
class Action:
    """One thing to do before the answer; `id` is the native call's, None for one that was written.

    `name` is the agent's or the tool's; a delegation's arguments are `{"task"}`. An `invalid` one says `why`;
    `nothing` is an empty action, after which the model is asked for the answer.
    """

    kind: ActionKind
    name: str = ""
    arguments: Mapping[str, JsonValue] = field(default_factory=dict)
    id: str | None = None
    why: str = ""

    @property
    def task(self) -> str:
        return str(self.arguments.get("task", ""))

    @property
    def key(self) -> str:
        """The same for the same thing asked for again."""
        return f"{self.kind} {self.name} {json.dumps(dict(self.arguments), sort_keys=True)}"


class Callables:
    """What a model may call: `specs` are the tools as it sees them, `peers` the agents by the tools that ask them."""

    def __init__(self, specs: Sequence[ToolSpec] = (), peers: Mapping[str, str] | None = None) -> None:
        self.specs = {spec.name: spec for spec in specs}
        self.peers = dict(peers or {})
        agents = {_plain(agent): tool for tool, agent in self.peers.items()}
        self._plain = agents | {_plain(name): name for name in self.specs}
        names = sorted({*self.specs, *self.peers.values()}, key=len, reverse=True)
        either = "|".join(_SEPARATOR.sub("[-_. ]?", re.escape(name)) for name in names) or "(?!)"
        self._mentioned = re.compile(rf"(?<![\w-])(?P<name>{either})(?![\w-])", re.IGNORECASE)

    def resolve(self, name: str) -> str | None:
        """The tool that a name means: its own, in other letters, or an agent's; None if there is no such tool."""
        name = _NAMESPACE.sub("", name.strip())
        return name if name in self.specs else self._plain.get(_plain(name))

    def near(self, name: str, *, cutoff: float = _NEAR) -> str:
        """The known name most like an unknown one, or inside of it; empty if there is none."""
        plain = _plain(name)
        found = difflib.get_close_matches(plain, self._plain, n=1, cutoff=cutoff)
        inside = [known for known in self._plain if len(known) > 3 and known in plain]
        return self._plain[(found or inside)[0]] if found or inside else ""

    def mentions(self, text: str) -> Iterator[re.Match[str]]:
        """Where a text has the `name` of a tool or an agent."""
        return self._mentioned.finditer(text)

    def begins(self, text: str, *, whole: bool) -> bool:
        """Whether a text is a name, or at least its beginning."""
        plain = _plain(_NAMESPACE.sub("", text))
        if whole or not plain:
            return plain in self._plain
        return any(name.startswith(plain) for name in self._plain)

    def has_argument(self, name: str) -> bool:
        """Whether some tool has an argument of this name."""
        return any(name in spec.schema.get("properties", ()) for spec in self.specs.values())

    def fits(self, tool: str, given: Mapping[str, JsonValue]) -> bool:
        """Whether arguments have the names that a tool wants."""
        schema = self.specs[tool].schema
        return set(schema.get("required", ())) <= set(given) <= set(schema.get("properties", ()))

    def call(self, name: str, arguments: JsonValue, id: str | None = None) -> Action:
        """A call as a model writes it: `arguments` as an object, as JSON in a text, or as the one text there is."""
        tool = self.resolve(name)
        delegates = tool in self.peers or (tool is None and name.startswith(PREFIX))
        given = _object(arguments, "task" if delegates else self._only(tool))
        if tool is None and not delegates:
            return Action("invalid", name, id=id, why=self._unknown(name, given or {}))
        if given is None:
            return Action("invalid", name, id=id, why=f"The arguments of {name!r} are not a JSON object.")
        if tool is None or delegates:
            return delegation(self.peers.get(tool or "", name.removeprefix(PREFIX)), _task(given), id)
        if given and _is_schema(given, self.specs[tool]):
            return Action("invalid", tool, id=id, why=f"The arguments of {tool!r} must be values, not their schema.")
        return Action("tool", tool, given, id)

    def _unknown(self, name: str, given: dict[str, JsonValue]) -> str:
        """What a model is told that calls what there is not: the call that it may mean, for small ones copy."""
        near, tools = self.near(name), [tool for tool in self.specs if tool not in self.peers]
        if not near:
            return f"There is no tool {name!r}. There are: {', '.join(tools) or 'none'}."
        call = json.dumps({"name": near, "arguments": given}, ensure_ascii=False)
        fits = f" Write {call}" if self.fits(near, given) else ""
        return f"There is no tool {name!r}; did you mean {near}?{fits}"

    def _only(self, tool: str | None) -> str:
        """The one argument of a tool, empty where it has more or none."""
        wanted = list(self.specs[tool].schema.get("properties", ())) if tool else []
        return wanted[0] if len(wanted) == 1 else ""


def parse_native_calls(calls: Sequence[ToolCall], known: Callables, *, cut: bool = False) -> list[Action]:
    """Native calls. With `cut` (the reply reached its limit of tokens) one whose JSON has no end is `invalid`."""
    return [_parse_native_call(call, known, cut=cut) for call in calls]


def _parse_native_call(call: ToolCall, known: Callables, *, cut: bool) -> Action:
    given = call.arguments or "{}"
    wrapped = read_json(given)
    if isinstance(wrapped, dict) and wrapped.keys() == {_INVALID} and isinstance(raw := wrapped[_INVALID], str):
        given = raw
    if cut and not is_json(given):
        return Action("invalid", call.name, id=call.id, why=CUT_OFF)
    return known.call(call.name, given, call.id)


def delegation(agent: JsonValue, task: JsonValue, id: str | None = None) -> Action:
    """What asks an agent; `invalid` without a name or a task, or where the task is the schema of one."""
    said = task if isinstance(task, str) or task is None else to_json(task).decode()
    copied = isinstance(task, dict) and task.get("type") == "string"
    if not isinstance(agent, str) or not agent or not said or not said.strip() or copied:
        name = agent if isinstance(agent, str) else ""
        return Action("invalid", name, id=id, why="Invalid delegation: missing 'agent' or 'task'")
    return Action("delegate", agent, {"task": said}, id)


def _object(arguments: JsonValue, only: str) -> dict[str, JsonValue] | None:
    """Arguments as an object; a text that is no JSON is the value of the `only` one."""
    if arguments is None:
        return {}
    if isinstance(arguments, str):
        read = read_json(arguments)
        if read is None and only and arguments.strip()[:1] not in '{["' and not is_json(arguments):
            return {only: arguments}
        arguments = read
    return arguments if isinstance(arguments, dict) else None


def _task(given: Mapping[str, JsonValue]) -> JsonValue:
    """The task of a delegation: under its name, else the one text that there is."""
    if "task" in given or len(given) != 1:
        return given.get("task")
    (only,) = given.values()
    return only if isinstance(only, str) else None


def _is_schema(given: Mapping[str, JsonValue], spec: ToolSpec) -> bool:
    """Whether arguments are what describes them."""
    properties = spec.schema.get("properties", {})
    return (given.get("type") == "object" and "type" not in properties) or all(
        isinstance(value, dict) and value == properties.get(name) for name, value in given.items()
    )


def _plain(name: str) -> str:
    return _PLAIN.sub("", name.lower())
