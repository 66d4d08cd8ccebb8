"""Calls as models write them: every form is understood, what is no call is words, and nothing of a call goes out."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from shared.agent_loop.calls.actions import Action, Callables, parse_native_calls
from shared.agent_loop.calls.held import held_from
from shared.agent_loop.calls.written import parse_written_calls
from shared.agent_loop.prompt import delegating, system_prompt
from shared.agent_loop.voice import Voice
from shared.conversation import ToolCall
from shared.models.servers.turns import ToolSpec

WEATHER = ToolSpec(
    "weather",
    "The weather in a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
)
ASK = delegating("worker-1", "who does arithmetic.")
KNOWN = Callables([WEATHER, ASK], {ASK.name: "worker-1"})
OSLO = ("tool", "weather", {"city": "Oslo"})
SUM = ("delegate", "worker-1", {"task": "17 + 25"})
BOTH = [OSLO, SUM]


def wanted(text: str, **more: Any) -> list[tuple[str, str, dict[str, Any]]]:
    return [(a.kind, a.name, dict(a.arguments)) for a in parse_written_calls(text, KNOWN, plain=True, **more)]


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ('{"name": "delegate_to_worker-1", "arguments": {"task": "17 + 25"}}', SUM),
        ('{"name": "weather", "parameters": {"city": "Oslo"}}', OSLO),
        ('{"function": "weather", "arguments": {"city": "Oslo"}}', OSLO),
        ('{"type": "function", "function": {"name": "weather", "arguments": "{\\"city\\": \\"Oslo\\"}"}}', OSLO),
        ('{"tool_calls": [{"id": "1", "name": "weather", "arguments": {"city": "Oslo"}}]}', OSLO),
        ('{"tool_call": {"name": "weather", "arguments": {"city": "Oslo"}}}', OSLO),
        ('{"tool": "weather", "arguments": {"city": "Oslo"}}', OSLO),
        ('{"action": "weather", "action_input": {"city": "Oslo"}}', OSLO),
        ('{"agent": "worker-1", "task": "17 + 25"}', SUM),
        ('{"agent": "Worker 1", "task": "17 + 25"}', SUM),
        ('{"weather": {"city": "Oslo"}}', OSLO),
        ('[{"name": "weather", "arguments": {"city": "Oslo"}}]', OSLO),
        ('```json\n{"name": "weather", "arguments": {"city": "Oslo"}}\n```', OSLO),
        ('```\n{"name": "weather", "arguments": {"city": "Oslo"}}\n```', OSLO),
        ('```delegate {"agent": "worker-1", "task": "17 + 25"}\n```', SUM),
        ('<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>', OSLO),
        ('[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Oslo"}}]', OSLO),
        ('<|python_tag|>{"name": "weather", "parameters": {"city": "Oslo"}}', OSLO),
        ('<function=weather>{"city": "Oslo"}</function>', OSLO),
        ("<function=weather>\n<parameter=city>\nOslo\n</parameter>\n</function>", OSLO),
        ('weather(city="Oslo")', OSLO),
        ('```tool_code\nweather("Oslo")\n```', OSLO),
        ('- `delegate_to_worker-1(task: "17 + 25")`', SUM),
        ('Sure. {"name": "weather", "arguments": {"city": "Oslo"}} I wait.', OSLO),
        ('{"name": "Weather", "arguments": {"city": "Oslo"}}', OSLO),
        ('{"name": "functions.weather", "arguments": {"city": "Oslo"}}', OSLO),
        ('{"name": "worker-1", "arguments": {"task": "17 + 25"}}', SUM),
        ('{"name": "delegate_to_worker_1", "arguments": {"question": "17 + 25"}}', SUM),
        ('{"name": "delegate_to_worker-1", "arguments": "17 + 25"}', SUM),
        ('{"name": "delegate_to_worker-1", "task": "17 + 25"}', SUM),
    ],
)
def test_every_way_to_write_a_call_is_understood(text: str, asks: Any) -> None:
    assert wanted(text) == [asks]


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ('{"tool_calls": [{"id": "1", "name": "delegate_to_worker-1", "arguments": {"task": "17 + 25"}]}', SUM),
        ('{"name": "weather", "arguments": {"city": "Oslo"}}}}', OSLO),
        ('{"name": "weather", "arguments": {"city": "Oslo"}', OSLO),
        ('{"name": "weather", "arguments": {"city": "Oslo",},}', OSLO),
        ("{'name': 'weather', 'arguments': {'city': 'Oslo'}}", OSLO),
        ('{name: "weather", arguments: {city: "Oslo"}}', OSLO),
        ('<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}\n</tool_call>', OSLO),
        ('I ask: {"name": "weather", "arguments": {"city": "Oslo"]}', OSLO),
        ('{"tool_calls": [{"name": "delegate_to_worker-1", "arguments": {"task": "17 + 25"}]}, {"x": 1}', SUM),
        ('[{"name": "weather", "arguments": {"city": "Oslo"}}, {"name": "wea', OSLO),
    ],
)
def test_nearly_valid_json_is_repaired(text: str, asks: Any) -> None:
    """JSON that is nearly right is read as it was meant."""
    assert wanted(text) == [asks]


def test_several_calls_of_one_reply_are_all_done() -> None:
    one, two = '{"name": "weather", "arguments": {"city": "Oslo"}}', '{"agent": "worker-1", "task": "17 + 25"}'

    assert (
        wanted(f"{one}\n{two}")
        == wanted(f"<tool_call>{one}</tool_call> and {two}.")
        == wanted(f"[{one},{two}]")
        == BOTH
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Ann", "age": 7}',
        '{"name": "Ann", "input": 7}',
        '[{"city": "Oslo"}]',
        'Send {"name": "other", "arguments": {}} to the server.',
        "The weather (in Oslo) is fine.",
        "I would call weather(city) then.",
        'A call is written {"name": "…"} there.',
        "a < b, {x} and [1]",
    ],
)
def test_what_is_no_call_is_an_answer(text: str) -> None:
    assert wanted(text) == []


@pytest.mark.parametrize("name", ["weatherArguments", "get_weather", "wether"])
def test_an_unknown_tool_gets_the_near_name_back(name: str) -> None:
    [action] = parse_written_calls(json.dumps({"name": name, "arguments": {"city": "Oslo"}}), KNOWN, plain=True)

    assert action.kind == "invalid"
    assert action.why.startswith(f"There is no tool {name!r}; did you mean weather?")


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "delegate_to_worker-1", "arguments": {"task": {"type": "string", "description": "What to do."}}}',
        '{"name": "weather", "arguments": {"city": {"type": "string"}, "days": {"type": "integer"}}}',
        json.dumps({"name": "weather", "arguments": WEATHER.schema}),
        '{"name": "weather", "arguments": 7}',
        '{"tool_calls": [{"name": "sunny, 21 degrees"}]}',
    ],
)
def test_malformed_call_is_reported_and_hidden(text: str) -> None:
    """What is meant as a call and is none is told and not shown."""
    assert [a.kind for a in parse_written_calls(text, KNOWN, plain=True)] == ["invalid"]


@pytest.mark.parametrize(
    "cut", ['{"name": "delegate_to_worker-1", "arguments": {"task": "Sell all but', '{"task": "Sell']
)
def test_half_a_call_is_none(cut: str) -> None:
    """Its other half may say the opposite."""
    found = parse_native_calls([ToolCall("1", ASK.name, cut)], KNOWN, cut=True) if cut.startswith('{"task') else None

    assert [a.kind for a in found or parse_written_calls(cut, KNOWN, plain=True, cut=True)] == ["invalid"]


@pytest.mark.parametrize(
    "arguments", ['{"task": "17 + 25",}', "17 + 25", '{"INVALID_JSON": "{\\"task\\": \\"17 + 25\\",}"}']
)
def test_native_arguments_may_be_nearly_right_too(arguments: str) -> None:
    assert parse_native_calls([ToolCall("1", ASK.name, arguments)], KNOWN) == [Action(*SUM, id="1")]


@pytest.mark.parametrize(
    "text",
    ['{"name":' * 50_000, "{x" * 200_000, "[" * 200_000, "<" * 200_000, "`" * 200_000, "weather(" * 50_000],
    ids=lambda text: text[:6],
)
def test_a_reply_made_to_take_long_does_not(text: str) -> None:
    began = time.process_time()
    assert wanted(text) == []
    held_from(text, KNOWN, begins=True)
    assert time.process_time() - began < 5


# --- while it streams -----------------------------------------------------------------------------


CALLS = [
    '{"name": "weather", "arguments": {"city": "Oslo"}}',
    '```json\n{"name": "weather", "arguments": {"city": "Oslo"}}\n```',
    "<tool_call>\n{'name': 'weather', 'arguments': {'city': 'Oslo'}}\n</tool_call>",
    '<function=weather>{"city": "Oslo"}</function>',
    '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Oslo"}}]',
    '\nweather(city="Oslo")',
    '```delegate\n{"agent": "worker-1", "task": "17 + 25"}\n```',
]


async def streamed(text: str, size: int) -> str:
    """What has gone out when the reply ends."""
    out: list[str] = []

    async def say(words: str) -> None:
        out.append(words)

    voice = Voice(say, known=KNOWN)
    for start in range(0, len(text), size):
        await voice.hear(text[start : start + size])
    return "".join(out)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("size", [1, 3, 1_000])
async def test_no_letter_of_a_call_is_streamed(call: str, size: int) -> None:
    """No letter of a call goes out while it streams."""
    words = "Let me see what I can find out about it. " * 10

    assert (await streamed(words + call, size)).rstrip() == words.rstrip()
    assert await streamed(call, size) == ""


@pytest.mark.parametrize(
    "text",
    ["if (a < b) { return [1]; }\n" * 20, "```python\nprint({1: [2]})\n```\n" * 20, "The weather is fine.\n" * 20],
)
async def test_text_resembling_a_call_is_streamed_at_once(text: str) -> None:
    """What only looks a little like one goes out at once."""
    assert (await streamed(text, 3)).rstrip("`\n") == text.rstrip("`\n")


# --- in words -------------------------------------------------------------------------------------


def test_tools_in_words_are_signatures_and_a_real_example() -> None:
    prompt = system_prompt("boss", "Help.", specs=[WEATHER, ASK], told="string", system="")

    assert "- weather(city: string, days?: integer): The weather in a city." in prompt
    assert "- delegate_to_worker-1(task: string): Asks agent worker-1: who does arithmetic." in prompt
    example = next(line for line in prompt.split("\n") if line.startswith('{"name"'))
    assert wanted(example) == [("delegate", "worker-1", {"task": "Say in one sentence what you can do."})]


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        ({"type": "string", "enum": ["a", "b"]}, ('"a" | "b"', "a")),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, ("integer | null", 3)),
        ({"type": ["number", "null"]}, ("number | null", 3.5)),
        ({"type": "string", "examples": ["Rome"]}, ("string", "Rome")),
        ({}, ("any", "some x")),
        (True, ("any", "some x")),
    ],
)
def test_any_argument_has_a_type_and_an_example(schema: Any, shown: tuple[str, Any]) -> None:
    tool = ToolSpec("tool", "Does it.", {"properties": {"x": schema}, "required": ["x"]})

    prompt = system_prompt("boss", "", specs=[tool], told="string", system="")

    assert f"- tool(x: {shown[0]}): Does it." in prompt
    assert json.dumps({"name": "tool", "arguments": {"x": shown[1]}}) in prompt
