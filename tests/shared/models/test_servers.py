"""Every server people have: the traps of local and hosted models, one by one, against a server that sets them."""

import asyncio
import json
import time

import pytest
from pydantic import BaseModel, Field

from shared.conversation import Message
from shared.errors import ContextTooSmall, ModelFailed, ToolsRefused
from shared.models.choice import choose_model, is_local, lacking
from shared.models.model import LanguageModel, models_from
from shared.models.servers.fence import fence
from shared.models.servers.turns import Blank, Sampling, ToolSpec
from shared.settings import ModelSettings
from tests.support.fake_model import HalfAChunk, Hangs, Refuses, Says, fake_model
from tests.support.fakes import eventually

QUESTION = [Message("user", "Why are there tides?")]
ONE, TWO = '{"cause": "the moon"}', '{"cause": "the sun"}'


class Cause(BaseModel):
    cause: str


class Causes(BaseModel):
    """An answer of a shape."""

    causes: list[Cause] = Field(max_length=2_000)


def model_at(server, **more) -> LanguageModel:
    return LanguageModel(url=server.url, name="fake", **more)


async def filled(model, *, seconds=5.0, **more):
    return await model.structured(instructions="Find.", data="Tides", shape=Causes, seconds=seconds, **more)


async def turn(model, *, seconds=5.0, **more):
    return await model.turn(instructions="Be brief.", messages=QUESTION, seconds=seconds, **more)


def causes(found) -> list[str]:
    return [one.cause for one in found.value.causes]


def names(body: dict) -> set[str]:
    return set(body)


ANSWER = Says(f'{{"causes": [{ONE}, {TWO}]}}')


# --- how it is asked ------------------------------------------------------------------------------


async def test_shape_is_a_small_schema_and_an_example():
    """A shape is asked for by a small schema and an example."""
    async with fake_model(ANSWER) as server, model_at(server) as model:
        assert causes(await filled(model)) == ["the moon", "the sun"]

        sent = server.asked[0]
    assert sent["response_format"]["type"] == "json_schema"
    assert sent["response_format"]["json_schema"]["schema"]["properties"]["causes"]["maxItems"] == 24
    assert sent["temperature"] == 0.1
    assert sent["max_tokens"] == 2_000
    assert [m["role"] for m in sent["messages"]] == ["system", "user"]
    assert sent["messages"][0]["content"].endswith('{"causes": [{"cause": "…"}]}')


async def test_a_server_with_one_system_message_only_is_served():
    """Templates of Qwen3.5 and later raise an exception, which is a 500."""

    def strict(body):
        later = [m["role"] for m in body["messages"][1:]]
        return Refuses(500, "System message must be at the beginning.") if "system" in later else Says("Aye.")

    said = [Message("system", "Speak like a sailor."), *QUESTION, Message("system", "Be kind.")]
    async with fake_model(strict) as server, model_at(server) as model:
        found = await model.turn(instructions="Be brief.", messages=said, seconds=5)

        assert found.text == "Aye."
        assert server.asked[0]["messages"][0]["content"] == "Be brief.\n\nSpeak like a sailor.\n\nBe kind."


@pytest.mark.parametrize(
    ("message", "takes"),
    [
        ("'response_format.type' must be 'json_schema' or 'text'", {"json_schema"}),  # LM Studio
        ("'response_format.type' must be 'json_object' or 'text'", {"json_object"}),
        ("json_schema is not supported, response_format must be text", set()),
        ("failed to parse grammar", set()),
    ],
)
@pytest.mark.parametrize("status", [400, 422, 500])
async def test_refused_format_gives_way_and_is_remembered(message, takes, status):
    """A weaker format is sent where one is refused and that is remembered."""

    def picky(body):
        kind = body.get("response_format", {}).get("type")
        return ANSWER if kind is None or kind in takes else Refuses(status, message)

    async with fake_model(picky) as server, model_at(server) as model:
        first, tries = await filled(model), len(server.asked)
        second = await filled(model)

        assert len(causes(first)) == len(causes(second)) == 2
        assert first.usage.calls == 1
        assert len(server.asked) == tries + 1
        assert tries == 1 or "json_schema" not in takes
        assert server.asked[-1].get("response_format", {}).get("type") in (takes or {None})


@pytest.mark.parametrize("field", ["temperature", "top_p", "seed", "stop", "stream_options"])
async def test_refused_field_is_left_out_afterwards(field):
    """A field that is refused is left out from then on."""

    def picky(body):
        return Refuses(400, f"Unsupported value: '{field}' does not support 0.5") if field in body else Says("Aye.")

    wants = Sampling(temperature=0.5, top_p=0.5, seed=1, stop=("END",))
    async with fake_model(picky) as server, model_at(server) as model:
        found = [(await turn(model, sampling=wants)).text for _ in range(2)]

        assert found == ["Aye.", "Aye."]
        assert [field in body for body in server.asked] == [True, False, False]


async def test_reply_is_bounded_by_the_accepted_field():
    """A reply is bounded by the field that the server takes."""

    def newer(body):
        why = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        return Refuses(400, why) if "max_tokens" in body else Says("Aye.")

    async with fake_model(newer) as server, model_at(server, max_tokens=300) as model:
        await turn(model)

        assert server.asked[-1]["max_completion_tokens"] == 300


async def test_settings_go_into_the_body():
    extra = {"chat_template_kwargs": {"enable_thinking": False}, "temperature": 1}
    async with fake_model("Aye.") as server:
        settings = ModelSettings(
            _env_file=None, model_api_url=server.url, model_name="fake", model_temperature=0.7, model_extra=extra
        )
        async with models_from(settings) as model:
            await turn(model)

        assert server.asked[0]["chat_template_kwargs"] == {"enable_thinking": False}
        assert server.asked[0]["temperature"] == 1, "MODEL_EXTRA has the last word"


def test_what_goes_into_the_body_is_an_object(monkeypatch):
    monkeypatch.setenv("MODEL_EXTRA", '{"reasoning_effort": "low"}')
    assert ModelSettings(_env_file=None).model_body == {"reasoning_effort": "low"}

    monkeypatch.setenv("MODEL_EXTRA", '["low"]')
    with pytest.raises(ValueError, match="model_extra"):
        ModelSettings(_env_file=None)


# --- what comes back ------------------------------------------------------------------------------


async def test_a_server_that_answers_whole_is_heard():
    heard = []

    async def hear(words):
        heard.append(words)

    said = Says("<think>Hm.</think>The moon.", whole=True)
    async with fake_model(said) as server, model_at(server) as model:
        found = await turn(model, hear=hear)

    assert (found.text, "".join(heard), found.usage.input_tokens) == ("The moon.", "The moon.", 7)


async def test_a_server_that_answers_whole_calls_tools():
    said = Says(calls=[{"name": "look", "arguments": {"at": "sea"}}], whole=True)
    async with fake_model(said) as server, model_at(server) as model:
        found = await turn(model, tools=[ToolSpec("look", "Looks.")])

    assert [(c.name, json.loads(c.arguments)) for c in found.calls] == [("look", {"at": "sea"})]


@pytest.mark.parametrize(
    "said",
    [
        Says(["<think>\nThe user", " asks.\n</think>\n\nThe ", "moon."]),
        Says(["The user asks.", "\n</th", "ink>\n", "\nThe moon."]),
        Says("The moon.", thoughts="The user asks."),
    ],
)
async def test_thoughts_are_progress_and_nothing_else(said):
    told = []

    async def progress(sentence):
        told.append(sentence)

    async with fake_model(said, said) as server, model_at(server) as model:
        found = await turn(model, progress=progress)
        heard = []

        async def hear(words):
            heard.append(words)

        again = await turn(model, hear=hear)

    assert [found.text, again.text, "".join(heard)] == ["The moon."] * 3
    assert told
    assert "fake thinks" in told[0]


@pytest.mark.parametrize("size", [1, 5, 1_000])
async def test_marks_of_data_that_are_copied_are_taken_off(size):
    """However they are cut; what only begins like one stays."""
    copied = f"{fence('The moon.')} 1 <data> 2 </d"
    heard = []

    async def hear(words):
        heard.append(words)

    said = Says([copied[n : n + size] for n in range(0, len(copied), size)])
    async with fake_model(said) as server, model_at(server) as model:
        found = await turn(model, hear=hear)

    assert found.text == "".join(heard)
    assert found.text.split() == ["The", "moon.", "1", "<data>", "2", "</d"]


async def test_plain_model_is_not_told_to_think():
    """A model that does not think is not said to."""
    told = []

    async def progress(sentence):
        told.append(sentence)

    async with fake_model(ANSWER) as server, model_at(server) as model:
        await filled(model, progress=progress)

    assert told == []


async def test_a_shape_after_thoughts_is_read():
    said = Says([f'Maybe {{"causes": [{TWO}]}}?', f'</think>{{"causes": [{ONE}]}}'])
    async with fake_model(said) as server, model_at(server) as model:
        assert causes(await filled(model)) == ["the moon"]


async def test_a_model_that_thinks_gets_room_for_it():
    """Its thoughts count as reply for servers: a bound for the answer alone would leave none."""
    async with fake_model(Says("Aye.", thoughts="Hm.")) as server, model_at(server) as model:
        for _ in range(2):
            await turn(model, max_tokens=100)

        assert [body["max_tokens"] for body in server.asked] == [100, 1_124]


async def test_a_model_that_only_thinks_has_said_nothing():
    async with fake_model(Says("<think>Hm", finish="length")) as server, model_at(server) as model:
        with pytest.raises(ModelFailed, match="said nothing within its token limit: it spent them on reasoning"):
            await turn(model)


async def test_whole_items_before_a_cut_are_kept():
    said = Says(f'{{"causes": [{ONE}, {{"cause": "the s', finish="length")
    async with fake_model(said) as server, model_at(server) as model:
        found = await filled(model)

    assert causes(found) == ["the moon"]
    assert "token limit" in found.cut


async def test_partial_reply_is_kept_with_its_cost():
    """What came by the deadline is kept with what it cost."""
    said = Says([f'{{"causes": [{ONE}', f", {TWO}", ', {"cause": "th'], hangs=True)
    async with fake_model(said) as server, model_at(server) as model:
        began = time.monotonic()
        found = await filled(model, seconds=2.0)
        took = time.monotonic() - began

        assert causes(found) == ["the moon", "the sun"]
        assert "timed out" in found.cut
        assert found.usage.calls == 1
        assert found.usage.input_tokens > 10 < found.usage.output_tokens
        assert took < 20
        await eventually(lambda: server.left == 1, why="the server is told to stop")


@pytest.mark.parametrize("dies", [False, True])
async def test_what_came_before_a_reply_broke_off_is_kept(dies):
    said = f'{{"causes": [{ONE}, {{"cause": "the s'
    async with fake_model(HalfAChunk(said, dies=dies)) as server, model_at(server) as model:
        found = await filled(model)

        assert causes(found) == ["the moon"]
        assert "failed" in found.cut
        assert len(server.asked) == 1


async def test_reply_without_a_whole_part_is_dropped():
    """Of a reply that broke off before anything was whole nothing is kept."""
    async with fake_model(HalfAChunk()) as server, model_at(server) as model:
        with pytest.raises(ModelFailed, match="was cut off"):
            await filled(model)


async def test_a_shape_is_told_as_it_grows():
    seen = []

    async def so_far(value):
        seen.append([one.cause for one in value.causes])

    said = Says([f'{{"causes": [{ONE}', ", ", TWO, "]}"], between=0.3)
    async with fake_model(said) as server, model_at(server) as model:
        await filled(model, so_far=so_far)

    assert seen[0] == ["the moon"]
    assert seen[-1] == ["the moon", "the sun"]


# --- context --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, '{"type": "exceed_context_size_error", "n_prompt_tokens": 3000, "n_ctx": 2048}'),
        (400, "This model's maximum context length is 2048 tokens. context_length_exceeded"),
        (500, "the prompt does not fit the context window of 2048 tokens"),
    ],
)
async def test_small_context_is_reported_with_its_size(status, message):
    """A context that is too small is told with its size."""
    async with fake_model(Refuses(status, message)) as server, model_at(server) as model:
        with pytest.raises(ContextTooSmall) as failure:
            await turn(model)
        room = model.server.room(60.0, reply_tokens=2_500)

        assert len(server.asked) == 1
    assert failure.value.tokens == 2_048
    assert room.prompt_tokens + room.reply_tokens <= 2_048
    assert room.prompt_tokens > 1_000


async def test_prompt_beyond_the_context_is_not_sent():
    """What does not fit a known context is not sent."""
    async with fake_model("Aye.") as server, model_at(server, context=512) as model:
        with pytest.raises(ContextTooSmall, match="reads 512 tokens"):
            await model.text(instructions="", data="word " * 1_000, seconds=5)

        assert server.asked == []


async def test_server_that_cuts_prompts_is_detected():
    """Ollama reads its last 2,048 tokens and says nothing."""
    cut = Says("Aye.", usage={"prompt_tokens": 2_048, "completion_tokens": 2})
    async with fake_model(cut) as server, model_at(server) as model:
        found = await model.turn(instructions="", messages=[Message("user", "tide " * 8_000)], seconds=5)
        room = model.server.room(60.0, reply_tokens=2_000)

    assert "has read about 2048 of" in found.note
    assert room.prompt_tokens < 2_048


@pytest.mark.parametrize(
    "pages",
    [
        {"/props": {"default_generation_settings": {"n_ctx": 3_072}}},
        {"/api/version": {"version": "0.13.5"}, "/api/ps": {"models": [{"name": "fake", "context_length": 3_072}]}},
    ],
)
async def test_the_context_is_asked_of_the_server(pages):
    async with fake_model("Aye.") as server:
        server.pages = pages
        settings = ModelSettings(_env_file=None, model_api_url=server.url, model_name="fake")
        async with models_from(settings) as model:
            await eventually(lambda: server.warmed == 1 and model.server.starting.done())

            assert model.server.known.context == 3_072


# --- time -----------------------------------------------------------------------------------------


async def test_a_model_that_is_being_loaded_is_waited_for():
    loading = Refuses(503, "Loading model")
    async with fake_model(loading, loading, loading, loading, "Here.") as server, model_at(server) as model:
        found = await turn(model)

    assert (found.text, found.usage.calls) == ("Here.", 1)


async def test_slow_model_load_ends_at_the_deadline():
    """A model that is loaded for longer than there is time ends by the deadline."""
    async with fake_model(Refuses(503, "Loading model")) as server, model_at(server) as model:
        began = time.monotonic()
        with pytest.raises(ModelFailed):
            await turn(model, seconds=0.8)

        assert time.monotonic() - began < 20


async def test_hopeless_call_is_not_begun():
    """A call that cannot end in its time is not begun."""
    slow = Says("Aye.", seconds=0.5, usage={"prompt_tokens": 100, "completion_tokens": 2})
    async with fake_model(slow) as server, model_at(server) as model:
        await turn(model)
        with pytest.raises(ModelFailed, match="would need about"):
            await model.text(instructions="", data="tides " * 2_000, seconds=5)

        assert len(server.asked) == 1
        assert model.server.room(5.0, reply_tokens=2_000).prompt_tokens < 1_000


async def test_a_reply_is_as_long_as_its_time():
    said = Says(["The "] * 20, between=0.05, usage={"prompt_tokens": 100, "completion_tokens": 20})
    async with fake_model(said) as server, model_at(server) as model:
        await turn(model)
        await turn(model, seconds=3.0)

        assert server.asked[0]["max_tokens"] == 4_096
        assert 20 < server.asked[1]["max_tokens"] < 100


async def test_eight_calls_on_one_place_all_end():
    """Who cannot be served in his time is told at once; the others are served."""
    said = Says(["a"] * 10, between=0.03, usage={"prompt_tokens": 100, "completion_tokens": 10})
    async with fake_model(said) as server, model_at(server, places=1) as model:
        await turn(model, max_tokens=10)
        began = time.monotonic()
        found = await asyncio.gather(
            *(turn(model, seconds=2.0, max_tokens=10) for _ in range(8)), return_exceptions=True
        )

        served = [one for one in found if not isinstance(one, BaseException)]
        assert len(served) >= 3
        assert all(isinstance(one, ModelFailed) for one in found if one not in served)
        assert len(served) < 8
        assert time.monotonic() - began < 20
        assert server.left == 0
        assert len(server.asked) == 1 + len(served)


async def test_prompt_fits_the_time_left_at_its_turn():
    """The first of many does not take all the time for itself; those behind it make do with what is left."""
    said = Says(ANSWER.text, seconds=0.3, usage={"prompt_tokens": 300, "completion_tokens": 10})
    rooms = []

    async def fit(room):
        rooms.append(room.prompt_tokens)
        return Blank("Tides", Causes, room.reply_tokens)

    async with fake_model(said) as server, model_at(server, places=1) as model:
        await model.text(instructions="", data="tides " * 200, seconds=5)
        calls = (
            model.structured(
                instructions="Find.", data=fit, shape=Causes, seconds=3.0, max_tokens=20, least_characters=200
            )
            for _ in range(3)
        )
        found = await asyncio.gather(*calls)

        assert [causes(one) for one in found] == [["the moon", "the sun"]] * 3
        assert 0 < rooms[2] < rooms[0] < 0.6 * model.server.pace.reading(time.monotonic()) * 3.0


async def test_silent_model_is_not_asked_again():
    """A silent model is not asked by the next step."""
    async with fake_model(Hangs()) as server, model_at(server) as model:
        with pytest.raises(ModelFailed, match="did not answer within"):
            await turn(model, seconds=1.0)
        began = time.monotonic()
        with pytest.raises(ModelFailed, match="is not called: It sent nothing"):
            await filled(model, seconds=60.0)

        assert time.monotonic() - began < 20
        assert len(server.asked) == 1


async def test_a_model_that_is_back_is_used_again():
    async with fake_model(Refuses(500), Refuses(500), Refuses(500), "Here.") as server, model_at(server) as model:
        with pytest.raises(ModelFailed):
            await turn(model)

        assert (await turn(model)).text == "Here."


async def test_announced_cold_start_is_waited_for():
    """The first call of the process is made at the start; a step waits for it within its own time."""
    async with fake_model("Here.") as server:
        server.loading = "says"
        settings = ModelSettings(_env_file=None, model_api_url=server.url, model_name="fake")
        async with models_from(settings) as model:
            asked = asyncio.create_task(turn(model, seconds=8.0))
            await asyncio.sleep(1.5)
            assert not asked.done()
            server.there.set()

            assert (await asked).text == "Here."
            assert (await asked).usage.calls == 1
            assert server.warmed == 1


async def test_silent_cold_start_is_nobodys_failure():
    """Ollama holds the call while it loads for minutes; the call that loads is not given up, and steps go on."""
    async with fake_model("Here.") as server:
        server.loading = "hangs"
        settings = ModelSettings(_env_file=None, model_api_url=server.url, model_name="fake")
        async with models_from(settings) as model:
            with pytest.raises(ModelFailed, match="has not answered its first call yet"):
                await turn(model, seconds=0.4)
            assert server.asked == []
            server.there.set()
            await eventually(lambda: server.warmed == 1 and model.server.starting.done())

            assert (await turn(model)).text == "Here."


# --- tools and keys -------------------------------------------------------------------------------


async def test_a_model_without_tools_says_so():
    refuses = Refuses(400, "registry.ollama.ai/fake does not support tools")
    async with fake_model(refuses) as server, model_at(server) as model:
        with pytest.raises(ToolsRefused, match="does not support tools"):
            await turn(model, tools=[ToolSpec("look", "Looks.")])


def test_openai_s_key_with_a_name_means_openai():
    found = choose_model(ModelSettings(_env_file=None, openai_api_key="sk-1", model_name="gpt-5-mini"))

    assert (found.url, found.key, found.places, found.local) == ("https://api.openai.com/v1", "sk-1", 8, False)


def test_openai_s_key_goes_to_openai_alone():
    found = choose_model(
        ModelSettings(_env_file=None, openai_api_key="sk-1", model_name="m", model_api_url="http://other:1")
    )

    assert (found.url, found.key, found.places) == ("http://other:1/v1", None, 2)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, ""),
        ({"openai_api_key": "sk-1"}, "set MODEL_NAME"),
        ({"model_name": "m"}, "set MODEL_API_URL"),
        ({"model_api_key": "k"}, "MODEL_API_URL and MODEL_NAME"),
        ({"openai_api_key": "sk-1", "model_name": "m"}, ""),
    ],
)
def test_what_is_missing_for_a_model_is_said(given, says):
    settings = ModelSettings(_env_file=None, **given)

    assert says in lacking(settings)
    assert bool(says) == bool(lacking(settings))


def test_a_key_alone_is_no_model():
    assert models_from(ModelSettings(_env_file=None, openai_api_key="sk-1")) is None


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:11434", True),
        ("http://localhost:1234/v1", True),
        ("http://ollama:11434", True),
        ("http://host.docker.internal:11434", True),
        ("http://192.168.1.5", True),
        ("http://[::1]:80", True),
        ("https://api.openai.com/v1", False),
        ("http://8.8.8.8", False),
    ],
)
def test_a_private_address_is_one_s_own(url, local):
    assert is_local(url) is local
