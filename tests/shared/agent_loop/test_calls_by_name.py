"""Calls that are a tool's name and its arguments, as models of all families write them; none of it goes out."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from shared.agent_loop.calls.held import held_from, unfinished_from
from shared.agent_loop.calls.written import parse_written_calls
from tests.shared.agent_loop.test_written_calls import KNOWN, OSLO, SUM, streamed, wanted

CITY = '{"city": "Oslo"}'
TASK = '{"task": "17 + 25"}'
CALL = '{"name": "weather", "arguments": {"city": "Oslo"}}'
FORMS: dict[str, tuple[str, Any]] = {
    # in the marks that model families were trained to write
    "Qwen": (f"<tool_call>\n{CALL}\n</tool_call>", OSLO),
    "Qwen, the mark of its list": (f"<tools>\n{CALL}\n</tools>", OSLO),
    "Qwen, in a fence": (f"```xml\n<tool_call>\n{CALL}\n</tool_call>\n```", OSLO),
    "Qwen, without the opening mark": (f"{CALL}\n</tool_call>", OSLO),
    "Qwen 3 Coder": ("<tool_call>\n<function=weather>\n<parameter=city>\nOslo\n</parameter>\n</function>", OSLO),
    "Hermes, arguments in single quotes": (
        '<functioncall> {"name": "weather", "arguments": \'{"city": "Oslo"}\'}',
        OSLO,
    ),
    "Llama 3": (f"<function=weather>{CITY}</function>", OSLO),
    "Llama 3, a tag": (f'<|python_tag|>{{"name": "weather", "parameters": {CITY}}}', OSLO),
    "Llama 3, a method": ('<|python_tag|>weather.call(city="Oslo")', OSLO),
    "Llama 3.2": ('[weather(city="Oslo")]', OSLO),
    "Llama 4": ('<|python_start|>[weather(city="Oslo")]<|python_end|>', OSLO),
    "Mistral": (f"[TOOL_CALLS][{CALL}]</s>", OSLO),
    "Mistral, newer": (f"[TOOL_CALLS]weather[ARGS]{CITY}", OSLO),
    "Mistral, with an id": (f"[TOOL_CALLS]weather[CALL_ID]x1[ARGS]{CITY}", OSLO),
    "Granite": (f"<|tool_call|>[{CALL}]", OSLO),
    "Phi": (f"<|tool_call|>[{CALL}]<|/tool_call|>", OSLO),
    "Gemma": ('```tool_code\nprint(weather(city="Oslo"))\n```', OSLO),
    "functionary": (f">>>weather\n{CITY}", OSLO),
    "functionary, words before": (f">>>all\nI look.\n>>>weather\n{CITY}", OSLO),
    "GLM": (
        "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n</tool_call>",
        OSLO,
    ),
    "Kimi": (
        f"<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>{CITY}"
        "<|tool_call_end|><|tool_calls_section_end|>",
        OSLO,
    ),
    "DeepSeek": (
        f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{CITY}\n```"
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        OSLO,
    ),
    "DeepSeek, newer": (
        f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{CITY}<｜tool▁call▁end｜>",
        OSLO,
    ),
    "GPT-OSS": (f"<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{CITY}<|call|>", OSLO),
    "MiniMax": (
        '<minimax:tool_call>\n<invoke name="weather">\n<parameter name="city">Oslo</parameter>\n</invoke>\n'
        "</minimax:tool_call>",
        OSLO,
    ),
    "an attribute": (f'<function name="weather">{CITY}</function>', OSLO),
    "tags of its own": ("<weather>\n<city>Oslo</city>\n</weather>", OSLO),
    # as agents were prompted to, before models had tools
    "ReAct": (f"Action: weather\nAction Input: {CITY}", OSLO),
    "ReAct, words": ("Action: delegate_to_worker-1\nAction Input: 17 + 25", SUM),
    "ReAct, the rest invented": (
        f"Action: weather\nAction Input: {CITY}\nObservation: Sunny.\nFinal Answer: sunny",
        OSLO,
    ),
    "ReAct, a signature": ('Action: weather(city="Oslo")', OSLO),
    "ReAct, JSON": (f'Action:\n```json\n{{"action": "weather", "action_input": {CITY}}}\n```', OSLO),
    "Command": (f'Action: ```json\n[{{"tool_name": "weather", "parameters": {CITY}}}]\n```', OSLO),
    "tool and arguments": (f"Tool: weather\nArguments: {CITY}", OSLO),
    # as small models do it
    "name, line, JSON": (f"delegate_to_worker-1\n{TASK}", SUM),
    "name and JSON": (f"delegate_to_worker-1 {TASK}", SUM),
    "name, colon, JSON": (f"delegate_to_worker-1: {TASK}", SUM),
    "the agent's name": (f"worker-1: {TASK}", SUM),
    "name and JSON in a mark": (f"<tool_call>\nweather\n{CITY}\n</tool_call>", OSLO),
    "name and JSON in a fence": (f"```json\nweather\n{CITY}\n```", OSLO),
    "the name in bold": ('**delegate_to_worker-1**(task: "17 + 25")', SUM),
    "assigned": ('```python\nresult = weather(city="Oslo")\nprint(result)\n```', OSLO),
    "assigned, a name with a dash": ('```python\nx = delegate_to_worker-1("17 + 25")\nprint(x)\n```', SUM),
    "underscores": ('delegate_to_worker_1(task="17 + 25")', SUM),
    "an object inside": (f"delegate_to_worker-1({TASK})", SUM),
    "no quotes": ("delegate_to_worker-1(17 + 25)", SUM),
    "no quotes in JSON": ('{"name": "delegate_to_worker-1", "arguments": {"task": 17 + 25}}', SUM),
    "arguments beside the name": ('{"name": "weather", "city": "Oslo"}', OSLO),
    "tool, arguments beside it": ('{"tool": "weather", "city": "Oslo"}', OSLO),
    "call": (f'{{"call": "weather", "arguments": {CITY}}}', OSLO),
    "agent and arguments": (f'{{"agent": "worker-1", "arguments": {TASK}}}', SUM),
    "delegate_to": ('{"delegate_to": "worker-1", "task": "17 + 25"}', SUM),
    "a result invented beside it": (
        '{"name": "delegate_to_worker-1", "arguments": {"task": "17 + 25"}, "result": "42"}',
        SUM,
    ),
    "two braces": ('{{"name": "weather", "arguments": {"city": "Oslo"}}}', OSLO),
    "a line break in a text": (
        '{"name": "delegate_to_worker-1", "arguments": {"task": "17\n+ 25"}}',
        ("delegate", "worker-1", {"task": "17\n+ 25"}),
    ),
}
BESIDE: dict[str, tuple[str, Any]] = {  # calls beside words, which may go out
    "ReAct, a thought": (f"Thought: I must look.\nAction: weather\nAction Input: {CITY}", OSLO),
    "words around a fence": (f"To find that out I ask:\n\n```json\n{CALL}\n```\n\nThis will tell us.", OSLO),
    "the answer invented": (f"{CALL}\n\nThe answer is 42.", OSLO),
    "only the arguments": (f"I will use weather:\n```json\n{CITY}\n```", OSLO),
    "who speaks": (f"Assistant: {CALL}", OSLO),
    "a number": (f"1. {CALL}", OSLO),
    "the fence's word alone": (f"json\n{CALL}", OSLO),
    "another mark": (f"<response>{CALL}</response>", OSLO),
}
WORDS = ("Let me see what I can find out about it. " * 10).strip()


@pytest.mark.parametrize(("text", "asks"), [*FORMS.values(), *BESIDE.values()], ids=[*FORMS, *BESIDE])
def test_every_family_is_understood(text: str, asks: Any) -> None:
    assert wanted(text) == [asks]


@pytest.mark.parametrize("size", [1, 4, 1_000])
@pytest.mark.parametrize("text", [text for text, _ in FORMS.values()], ids=list(FORMS))
async def test_nothing_of_it_goes_out_while_it_streams(text: str, size: int) -> None:
    assert (await streamed(f"{WORDS}\n{text}", size)).rstrip("\n `<>") == WORDS


@pytest.mark.parametrize("size", [1, 1_000])
@pytest.mark.parametrize("text", [text for text, _ in BESIDE.values()], ids=list(BESIDE))
async def test_words_beside_it_may_go_out_and_no_call(text: str, size: int) -> None:
    out = await streamed(f"{WORDS}\n{text}", size)

    assert "Oslo" not in out
    assert "weather" not in out


@pytest.mark.parametrize("text", [text for text, _ in FORMS.values()], ids=list(FORMS))
def test_cut_call_is_never_an_answer(text: str) -> None:
    """A reply that is cut is a call that is whole, one that is told to be cut, or words before half a call."""
    for end in range(1, len(text)):
        said = text[:end]
        if not parse_written_calls(said, KNOWN, plain=True, cut=True):
            shown = said[: unfinished_from(said, KNOWN)]
            assert not any(part in shown for part in ("weather", "delegate", "Oslo", "17 +", "{")), said


@pytest.mark.parametrize(
    "text",
    [
        "The weather is fine.",
        "weather: sunny, 21 degrees",
        "Weather\n\nIt is sunny in Oslo.",
        'The weather {"sky": "blue"} is an object.',
        "worker-1: the answer is 42.",
        "I asked worker-1 (who does arithmetic) and it said 42.",
        "weather (in Oslo) is fine.",
        "def weather(city):\n    return city",
        ">>> print({1: 2})",
        "Action: buy bread.",
        "Tool: hammer\nPrice: 7",
        "x = weather",
        '{"call": "me", "at": 9}',
        '{"agent": "Smith", "age": 7}',
    ],
)
def test_mention_of_a_tool_is_an_answer(text: str) -> None:
    """What only has a tools name in it is an answer."""
    assert wanted(text) == []
    cut = f"{text}\n\nThat is"
    assert unfinished_from(cut, KNOWN) == len(cut)


@pytest.mark.parametrize(
    "text",
    [
        "Action: search\nAction Input: Oslo",
        f"<function=search>{CITY}</function>",
        f'<invoke name="search">{CITY}</invoke>',
        f"[TOOL_CALLS]search[ARGS]{CITY}",
        "delegate_to_worker-1",
        "`delegate_to_worker-1`",
    ],
)
def test_impossible_call_is_reported_and_hidden(text: str) -> None:
    """What is marked as a call and cannot be one is told and not shown."""
    assert [action.kind for action in parse_written_calls(text, KNOWN, plain=True)] == ["invalid"]


@pytest.mark.parametrize(
    "text",
    [
        "weather{" * 50_000,
        "weather" + " " * 200_000 + "x",
        "<weather>" * 50_000,
        "a" * 200_000 + "(",
        ">>>" + " " * 200_000,
        "Action:" * 50_000,
        f"weather({'[' * 100_000}",
        "weather(city='" + "x" * 200_000,
        "[TOOL_CALLS]weather" * 20_000,
        "weather: arguments: " * 20_000,
    ],
    ids=lambda text: text[:12],
)
def test_a_reply_made_to_take_long_does_not(text: str) -> None:
    began = time.monotonic()
    wanted(text)
    held_from(text, KNOWN, begins=True)
    assert time.monotonic() - began < 5


def test_near_name_is_offered_as_a_correction() -> None:
    """A near name comes back as the call that may be meant."""
    [action] = parse_written_calls('{"name": "weatherArguments", "arguments": {"city": "Oslo"}}', KNOWN, plain=True)

    assert action.why.endswith(f"did you mean weather? Write {json.dumps(json.loads(CALL))}")
