"""What small models really replied when they were asked to delegate or to call a tool, and what becomes of it.

Recorded from Qwen2.5-Coder-0.5B on llama.cpp's server, and typed in here as data; the calls are made, or the model is
told why not, and none of it reaches who asked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from shared.agent_loop.prompt import delegating, system_prompt
from shared.agent_loop.tool_mode import ToolMode
from shared.conversation import Ask, Message
from shared.models.model import LanguageModel
from shared.models.servers.turns import ToolSpec
from tests.shared.agent_loop.test_loop import Crew, ran
from tests.support.fake_model import Says, fake_model

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SUM, CAPITAL = ("worker-1", "17 + 25"), ("worker-2", "the capital of France")
TASK_SCHEMA = {"task": {"type": "string", "description": "What to do, with everything the agent needs to know."}}


def call(name: str, **arguments: Any) -> str:
    return json.dumps({"name": name, "arguments": arguments})


class Weather:
    """One MCP server's tool; what it was called with."""

    def __init__(self) -> None:
        self.cities: list[Any] = []

    async def specs(self) -> Sequence[ToolSpec]:
        return [ToolSpec("weather", "The weather in a city.", CITY)]

    def away(self) -> dict[str, str]:
        return {}

    async def call(self, name: str, arguments: Any, *, seconds: float) -> Any:
        self.cities.append(arguments["city"])
        return {"result": "sunny, 21 degrees"}


@pytest.mark.parametrize(
    ("reply", "asked"),
    [
        (call("delegate_to_worker-1", task="17 + 25"), [SUM]),
        (call("delegate_to_worker-2", task="the capital of France"), [CAPITAL]),
        (
            f"{call('delegate_to_worker-1', task='17 + 25')}\n"
            f"{call('delegate_to_worker-2', task='the capital of France')}",
            [SUM, CAPITAL],
        ),
        (
            '{"tool_calls": [{"name": "delegate_to_worker-1", "arguments": {"task": "17 + 25"}]}, {"name": '
            '"delegate_to_worker-2", "arguments": {"task": "the capital of France"}}]}',
            [SUM, CAPITAL],
        ),
    ],
    ids=["as text", "as text, the other one", "both as text", "one bracket wrong"],
)
@pytest.mark.parametrize("mode", ["auto", "string"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "streamed"])
async def test_its_delegations_are_made_and_not_shown(reply: str, asked: Any, mode: Any, whole: bool) -> None:
    crew = Crew(members=("worker-1", "worker-2"))
    question = Ask((Message("user", "What is 17 + 25, and the capital of France? Ask worker-1 and worker-2."),))
    pieces = [reply] if whole else [reply[at : at + 5] for at in range(0, len(reply), 5)]
    async with (
        fake_model(Says(pieces, whole=whole), "It is 42.") as server,
        LanguageModel(url=server.url, name="fake") as model,
    ):
        told = await ran(model=model, peers=crew, ask=question, tool_mode=ToolMode(mode))

    assert [(d.agent, d.task) for d in crew.asked] == asked
    assert told.text == told.said == "It is 42."


async def test_it_copies_the_schema_again_and_again() -> None:
    """Told once, it answers without tools: two replies instead of five and an apology."""
    crew = Crew(members=("worker-1", "worker-2"))
    copied = call("delegate_to_worker-1", **TASK_SCHEMA)

    told = await ran(copied, copied, "It is 42.", peers=crew)

    assert crew.asked == []
    assert told.text == "It is 42."


async def test_it_calls_a_tool_as_text() -> None:
    tool = Weather()

    told = await ran(call("weather", city="Oslo"), "It is sunny.", tools=tool)

    assert tool.cities == ["Oslo"]
    assert told.text == told.said == "It is sunny."


async def test_invented_tool_name_is_corrected() -> None:
    """It gets the call back that it may mean, which small models copy."""
    tool = Weather()
    async with (
        fake_model(call("weatherArguments", city="Oslo"), call("weather", city="Oslo"), "It is sunny.") as server,
        LanguageModel(url=server.url, name="fake") as model,
    ):
        told = await ran(model=model, tools=tool)
        told_again = server.prompt(1)

    assert call("weather", city="Oslo") in told_again
    assert tool.cities == ["Oslo"]
    assert told.text == "It is sunny."


async def test_repeated_invented_name_is_refused() -> None:
    """It insists on a name that it has made up."""
    made_up = call("weatherArguments", city="Oslo")

    told = await ran(made_up, made_up, made_up, tools=Weather())

    assert told.text == "The model gave no answer in words."


async def test_a_plain_answer_is_one() -> None:
    told = await ran("The capital of France is Paris.", peers=Crew(members=("worker-1", "worker-2")))

    assert told.text == "The capital of France is Paris."


async def test_half_a_call_at_the_end_is_dropped() -> None:
    """Half a call at the end of an answer is left out."""
    said = 'I have looked. It is sunny.\nweather(city="Os'
    async with (
        fake_model(Says(said, finish="length")) as server,
        LanguageModel(url=server.url, name="fake") as model,
    ):
        told = await ran(model=model, tools=Weather())

    assert told.text.strip() == told.said.strip() == "I have looked. It is sunny."
    assert told.reply is not None
    assert [missing.what for missing in told.reply.missing] == ["the end of the answer"]


@pytest.mark.parametrize(
    "half", ['weather(city="Os', "<tool_call>\n<function=weather>\n<param", "Action: weather\nAct"]
)
async def test_reply_of_half_a_call_is_repeated(half: str) -> None:
    """A reply that is only half a call is asked for again."""
    tool = Weather()
    async with (
        fake_model(Says(half, finish="length"), call("weather", city="Oslo"), "It is sunny.") as server,
        LanguageModel(url=server.url, name="fake") as model,
    ):
        told = await ran(model=model, tools=tool)
        told_again = server.prompt(1)

    assert "cut off at the limit of tokens" in told_again
    assert tool.cities == ["Oslo"]
    assert told.text == told.said == "It is sunny."


def test_the_prompt_in_words_is_small() -> None:
    """169 tokens instead of 300 made a 0.5B call the right agent in 3 of 3; a token has about four characters."""
    specs = [delegating("worker-1", "Does arithmetic."), delegating("worker-2", "Knows capitals.")]

    prompt = system_prompt("boss", "You coordinate.", specs=specs, told="string", system="")

    assert len(prompt) < 169 * 4


@pytest.mark.parametrize(
    ("wished", "set_", "tools", "sent"),
    [
        (None, None, False, None),
        (None, None, True, 0.1),
        (None, 0.7, True, 0.7),
        (None, 0.7, False, 0.7),
        (1.5, 0.7, True, 1.5),
        (0.0, None, True, 0.0),
    ],
)
@pytest.mark.parametrize("mode", ["native", "string", "schema"])
async def test_whose_temperature_holds(wished: Any, set_: Any, tools: bool, sent: Any, mode: Any) -> None:
    """The chat's own, else MODEL_TEMPERATURE, else a low one where something may be called, else the server's."""
    options = {} if wished is None else {"temperature": wished}
    ask = Ask((Message("user", "Hello."),), options=options)
    async with (
        fake_model("Hello.") as server,
        LanguageModel(url=server.url, name="fake", temperature=set_) as model,
    ):
        peers = Crew() if tools else Crew(members=())
        await ran(model=model, peers=peers, ask=ask, tool_mode=ToolMode(mode))

        assert [body.get("temperature") for body in server.asked] == [sent]
