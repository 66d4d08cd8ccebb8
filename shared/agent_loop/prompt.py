"""PURE: the system prompt of an agent: its instructions, what it may call, and what the user's own prompt adds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import JsonValue

from shared.agent_loop.calls.actions import PREFIX
from shared.agent_loop.calls.lenient_json import read_json
from shared.models.servers.fence import DATA_RULE
from shared.models.servers.turns import ToolSpec

ToolNotation = Literal[
    "native", "string", "schema"
]  # beside the prompt; in it; in it, and replies are held to a JSON Schema

_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_NAME_CHARACTERS = 64  # of a function, for OpenAI
_DESCRIPTION_CHARACTERS = 300  # of a tool, where it is told of in words
_TASK = {"type": "string", "description": "What to do, with everything the agent needs to know."}
_TASKS = {"type": "object", "properties": {"task": _TASK}, "required": ["task"], "additionalProperties": False}
_VALUES: dict[str, JsonValue] = {"integer": 3, "number": 3.5, "boolean": True, "array": [], "object": {}}
_ASKED = "Say in one sentence what you can do."  # the example of a task: whoever copies it does no harm
_PLAIN = "When you need none, answer in plain words."
_HELD = 'When you need none, answer in words, like this: {"answer": "…"}'
_MOST_HELD = 3  # calls of a reply that is held to a schema: the smallest models would go on and on
_LAST = "Nothing more can be called. Answer now, in words, from what you have been told."


def tool_name(agent: str) -> str:
    """The name of the tool that delegates to an agent, as models may call it."""
    return _NOT_IN_A_NAME.sub("_", f"{PREFIX}{agent}")[:_NAME_CHARACTERS]


def tool_names(agents: Iterable[str]) -> dict[str, str]:
    """Agents by the names of their tools; a number tells those apart that would have the same."""
    found: dict[str, str] = {}
    for agent in dict.fromkeys(agents):
        name, number = tool_name(agent), 1
        while name in found:
            number += 1
            name = f"{tool_name(agent)[: _NAME_CHARACTERS - 4]}_{number}"
        found[name] = agent
    return found


def delegating(agent: str, description: str, *, tool: str | None = None) -> ToolSpec:
    """The tool that delegates to an agent, under its own name or another one."""
    does = f"Asks agent {agent}: {description}" if description else f"Asks agent {agent}."
    return ToolSpec(tool or tool_name(agent), does, _TASKS)


def system_prompt(
    name: str, instructions: str, *, specs: Sequence[ToolSpec], told: ToolNotation, system: str, last: bool = False
) -> str:
    """The system prompt, which says how to write a call unless the tools travel beside it (`native`).

    `last` says that nothing can be called any more.
    """
    parts = [f"## Agent System Prompt\nYou are {name}.\n{instructions.strip()}"]
    if specs or last:
        parts.append(DATA_RULE)
    if specs and told != "native":
        parts.append(_in_words(specs, held=told == "schema"))
    if system.strip():
        parts.append(
            f"## User-Provided System Prompt\n{system.strip()}\n\n"
            "Where it contradicts the agent's prompt above, the agent's prompt takes precedence."
        )
    if last:
        parts.append(_LAST)
    return "\n\n".join(parts)


def is_example(arguments: Mapping[str, JsonValue]) -> bool:
    """Whether arguments are copied from the example of a call, as small models do."""
    return any(value in (_ASKED, f"some {name}") for name, value in arguments.items())


def reply_format(specs: Sequence[ToolSpec]) -> dict[str, Any]:
    """`response_format` that leaves a model two ways: calls of these tools, or `{"answer": …}`."""
    one = {"anyOf": [_shape({"name": {"const": spec.name}, "arguments": spec.schema}) for spec in specs]}
    calls = {"type": "array", "minItems": 1, "maxItems": _MOST_HELD, "items": one}
    schema = {"anyOf": [_shape({"tool_calls": calls}), _shape({"answer": {"type": "string"}})]}
    return {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}


def answer_in(text: str) -> str:
    """The words of a reply in that format; any other text as it is, and of one without an end what there is."""
    found = read_json(text)
    answer = found.get("answer") if isinstance(found, dict) and len(found) == 1 else None
    return answer if isinstance(answer, str) else text


def _shape(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _in_words(specs: Sequence[ToolSpec], *, held: bool) -> str:
    """Tools as signatures, and an example with a real name and real arguments: small models copy what they see."""
    listed = "\n".join(f"- {_signature(spec)}: {_first_words(spec.description)}" for spec in specs)
    shown = next((spec for spec in specs if spec.schema is _TASKS), specs[0])
    call = {"name": shown.name, "arguments": _arguments(shown.schema)}
    example = json.dumps({"tool_calls": [call]} if held else call, ensure_ascii=False)
    return (
        f"## Available Tools\n{listed}\n\nTo call one, answer with JSON like this and nothing else:\n{example}\n"
        f"You will be told the result. {_HELD if held else _PLAIN}"
    )


def _signature(spec: ToolSpec) -> str:
    required = spec.schema.get("required", ())
    found = [
        f"{name}{'' if name in required else '?'}: {_type(schema)}"
        for name, schema in spec.schema.get("properties", {}).items()
    ]
    return f"{spec.name}({', '.join(found)})"


def _type(schema: Any) -> str:
    """The type of one argument, in a word: `string`, `"celsius" | "fahrenheit"`, `integer | null`."""
    if not isinstance(schema, dict):
        return "any"
    if isinstance(values := schema.get("enum"), list):
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in values[:12])
    if isinstance(several := schema.get("anyOf") or schema.get("oneOf"), list):
        return " | ".join(dict.fromkeys(_type(one) for one in several))
    kind = schema.get("type", "any")
    return " | ".join(map(str, kind)) if isinstance(kind, list) else str(kind)


def _arguments(schema: dict[str, Any]) -> dict[str, JsonValue]:
    """Arguments that fit: what the schema gives as an example, else something of its type."""
    if schema is _TASKS:
        return {"task": _ASKED}
    required = schema.get("required", ())
    return {name: _value(name, one) for name, one in schema.get("properties", {}).items() if name in required}


def _value(name: str, schema: Any) -> JsonValue:
    schema = schema if isinstance(schema, dict) else {}
    for several in ("examples", "enum"):
        if isinstance(values := schema.get(several), list) and values:
            first: JsonValue = values[0]
            return first
    default: JsonValue = schema.get("default")
    return default if default is not None else _VALUES.get(_type(schema).split(" | ")[0], f"some {name}")


def _first_words(description: str) -> str:
    """A description on one line, so that a list of them can be read."""
    line = " ".join(description.split())
    return line if len(line) <= _DESCRIPTION_CHARACTERS else f"{line[:_DESCRIPTION_CHARACTERS].rsplit(' ', 1)[0]} …"
