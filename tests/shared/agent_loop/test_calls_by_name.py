"""Calls that are a tool's name and its arguments, as models of all families write them; none of it goes out."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.agent_loop.calls.held import held_from, unfinished_from
from shared.agent_loop.calls.written import parse_written_calls
from tests.shared.agent_loop.test_written_calls import KNOWN, OSLO, SUM, streamed, wanted

CITY = '{"city": "Oslo"}'
TASK = '{"task": "17 + 25"}'
CALL = '{"name": "weather", "arguments": {"city": "Oslo"}}'
ASKED = {"weather": OSLO, "worker-1": SUM, "worker-1, two lines": ("delegate", "worker-1", {"task": "17\n+ 25"})}
FORMS, BESIDE = (
    {name: (form["text"], ASKED[form["calls"]]) for name, form in forms.items()}
    for forms in yaml.safe_load((Path(__file__).parent / "calls.yaml").read_text()).values()
)
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
    """What only has a tool's name in it is an answer."""
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
    began = time.process_time()
    wanted(text)
    held_from(text, KNOWN, begins=True)
    assert time.process_time() - began < 5


def test_near_name_is_offered_as_a_correction() -> None:
    """A near name comes back as the call that may be meant."""
    [action] = parse_written_calls('{"name": "weatherArguments", "arguments": {"city": "Oslo"}}', KNOWN, plain=True)

    assert action.why.endswith(f"did you mean weather? Write {json.dumps(json.loads(CALL))}")
