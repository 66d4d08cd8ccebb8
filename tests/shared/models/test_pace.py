"""Time by measured speed: what is planned, who waits for his turn, and who is told at once."""

import asyncio

import pytest

from shared.models.servers.breaker import Breaker
from shared.models.servers.pace import MeasuredCall, Pace
from shared.models.servers.places import NoTurn, Places


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def measured(*, reading: float = 100.0, writing: float = 10.0) -> Pace:
    """A model that reads and writes so many tokens a second."""
    pace = Pace()
    pace.add(MeasuredCall(0.0, read=1_000, reading_seconds=1_000 / reading, written=100, writing_seconds=100 / writing))
    return pace


def test_a_plan_ends_in_its_time():
    """Whatever the speed; half of it stays for the reply at the most."""
    for reading, writing in ((20.0, 2.0), (100.0, 10.0), (5_000.0, 80.0)):
        pace = measured(reading=reading, writing=writing)
        room = pace.room(20.0, prompt=8_000, reply=600, now=1.0)

        assert room.prompt_tokens / reading + room.reply_tokens / writing <= 20.0
        assert room.prompt_tokens > 0 < room.reply_tokens


def test_a_fast_model_gets_all_that_is_wanted():
    room = measured(reading=5_000.0, writing=80.0).room(20.0, prompt=8_000, reply=600, now=1.0)

    assert (room.prompt_tokens, room.reply_tokens) == (8_000, 600)


def test_what_was_measured_long_ago_says_nothing():
    assert measured().reading(599.0) == pytest.approx(100.0)
    assert measured().reading(601.0) is None


def test_a_short_prompt_measures_nothing():
    """Nor does one that the server had in its cache: only the way there and back is seen."""
    pace = measured()
    pace.add(MeasuredCall(1.0, read=3, reading_seconds=2.0))

    assert pace.reading(1.0) == pytest.approx(100.0)


def test_a_prompt_that_was_cut_is_seen():
    pace = Pace()
    assert pace.counted(4_000, 1_024)
    assert pace.counted(3_000, 1_000)
    assert not pace.counted(24_000, 2_048)
    assert not pace.counted(24_000, 4_096), "a round number, and more characters than a token has"
    assert pace.counted(24_000, 4_097)
    assert 1_100 > Pace().tokens(4_000) > 900


async def test_first_come_first_served():
    places, order = Places(1), []

    async def call(name: str) -> None:
        async with places.taken(0.01, within=10):
            order.append(name)
            await asyncio.sleep(0.01)

    await asyncio.gather(*(call(name) for name in "abcd"))

    assert order == ["a", "b", "c", "d"]


async def test_call_without_a_chance_is_refused_at_once():
    """Who cannot be served in his time is told at once."""
    clock = Clock()
    places = Places(1, clock)
    async with places.taken(10.0, within=20.0):
        clock.now = 4.0
        assert places.wait_seconds() == pytest.approx(6.0)
        with pytest.raises(NoTurn, match="about 6 s"):
            async with places.taken(10.0, within=12.0):
                pass

    async with places.taken(10.0, within=12.0):
        assert places.waiting == 0


async def test_who_leaves_the_queue_leaves_no_gap():
    places = Places(1)

    async def call() -> str:
        async with places.taken(None, within=10):
            return "served"

    async with places.taken(None, within=10):
        leaver, stayer = asyncio.create_task(call()), asyncio.create_task(call())
        await asyncio.sleep(0)
        leaver.cancel()
        await asyncio.wait({leaver})
    assert await stayer == "served"


def test_a_silent_model_is_left_alone_for_a_while():
    clock = Clock()
    breaker = Breaker(clock)
    assert not breaker.refusal()
    breaker.failed("It sent nothing for 9 s.")

    assert breaker.refusal() == "It sent nothing for 9 s. Next attempt in 15 s."
    clock.now = 15.0
    assert [bool(breaker.refusal()), bool(breaker.refusal())] == [False, True]
    breaker.failed("Again.")
    assert breaker.refusal() == "Again. Next attempt in 30 s."
    breaker.succeeded()
    assert not breaker.refusal()


def test_wait_at_a_crowded_server_is_planned():
    """Other processes ask it, too; a minute later it may be free."""
    pace = measured()
    pace.add(MeasuredCall(0.0, read=100, reading_seconds=1.0, waited=8.0))

    assert pace.waiting(1.0) == pytest.approx(4.0)
    assert pace.seconds(100, 0, 1.0) == pytest.approx(5.0)
    assert pace.waiting(61.0) == 0.0


def test_expected_reply_is_as_long_as_recent_ones():
    """A reply is expected to be about as long as the last ones."""
    assert [measured().usual_reply(most, 1.0) for most in (2_500, 100)] == [100, 100]
    assert Pace().usual_reply(2_500, 1.0) == 2_500


async def test_calls_in_flight_never_exceed_the_places():
    """No more calls are in flight than the server has places."""
    places = Places(8)
    places.narrow(1)
    async with places.taken(5.0, within=10.0):
        assert places.wait_seconds() > 0
