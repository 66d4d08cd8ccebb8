"""What a step exchanges is written down within bounds and without secrets, and comes back the same."""

from __future__ import annotations

import asyncio
import zlib
from base64 import b64encode
from typing import Any

import httpx
import pytest

from shared.client import client as transport
from shared.contracts import Usage
from shared.errors import AgentBusy, ContextTooSmall, ModelFailed, MusterError, WorkerFault
from shared.recording import recorder
from shared.recording.failures import read_failure, write_failure
from shared.recording.recorder import Recorder, read_recording
from shared.recording.tape import TAPE, exchange, read
from shared.recording.web import TapedClient, hide_secrets


async def _answers(request: httpx.Request) -> httpx.Response:
    headers = {"Set-Cookie": "session=canary-cookie", "Content-Type": "text/plain", "X-Api-Key": "canary-header"}
    return httpx.Response(200, text=f"You asked {request.method}.", headers=headers)


async def test_no_header_and_no_key_of_a_call_is_kept() -> None:
    """Authorization, cookies, userinfo, and parameters whose names speak of a secret are nowhere in the recording."""
    tape = Recorder()
    async with transport.make_client(transport=httpx.MockTransport(_answers)) as http, TapedClient(http, tape) as taped:
        answer = await taped.get(
            "http://me:canary-password@sea.example/tides?q=moon&api_key=canary-param&access_token=canary-token",
            headers={"Authorization": "Bearer canary-bearer", "Cookie": "a=canary-sent"},
        )

    kept = tape.write(None, 1)
    assert answer.text == "You asked GET."
    assert "q=moon" in kept
    assert "You asked GET." in kept
    assert "canary" not in kept


@pytest.mark.parametrize(
    "url",
    ["http://a.example/?Key=canary", "http://a.example/?x-amz-signature=canary", "http://canary@a.example/#canary"],
)
def test_a_secret_in_a_url_is_hidden(url: str) -> None:
    assert "canary" not in hide_secrets(httpx.URL(url))


@pytest.mark.parametrize(
    "failure",
    [
        WorkerFault("No luck.", type="no_luck", retryable=True),
        ModelFailed("It broke.", usage=Usage(calls=2, input_tokens=7)),
        ContextTooSmall("Too long.", tokens=512),
        AgentBusy("Full.", headers={"Retry-After": "3"}),
        httpx.ConnectError("Connection refused"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_a_failure_comes_back_as_it_was(failure: Any) -> None:
    again = read_failure(write_failure(failure))

    assert type(again) is type(failure)
    assert str(again) == str(failure)
    if isinstance(failure, MusterError) and isinstance(again, MusterError):
        before = (failure.type, failure.retryable, failure.usage, failure.headers)
        assert (again.type, again.retryable, again.usage, again.headers) == before


async def test_what_is_within_an_exchange_is_not_recorded_twice() -> None:
    tape = Recorder()
    TAPE.set(tape)

    async def inner() -> str:
        return await exchange("inner", lambda: "again", _nothing) or "done"

    assert await exchange("outer", lambda: "once", inner) == "done"

    assert [entry["kind"] for entry in tape.entries] == ["outer"]


async def test_the_parts_of_a_step_keep_their_order() -> None:
    tape = Recorder()
    TAPE.set(tape)

    async def slow() -> str:
        await asyncio.sleep(0.02)
        return "slow"

    await asyncio.gather(exchange("a", lambda: 1, slow), exchange("b", lambda: 2, _nothing))
    assert read("clock", lambda: 7.25) == 7.25

    told = read_recording(tape.write({"module": "here"}, 3))
    assert [entry["kind"] for entry in told["entries"]] == ["b", "a"]
    assert (told["recipe"], told["attempt"], told["reads"]) == ({"module": "here"}, 3, {"clock": [7.25]})


async def test_a_long_answer_is_only_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MOST_EXCHANGE", 100)
    monkeypatch.setattr(recorder, "MOST_STEP", 400)
    tape = Recorder()

    async def long() -> str:
        return "x" * 1_000

    for _ in range(9):
        assert len(await tape.exchange("web", "short", long)) == 1_000

    told = read_recording(tape.write(None, 1))
    assert told["entries"][0]["answer"]["cut"] == 1_002
    assert 0 < len(told["entries"]) < 9
    assert told["lost"] == 9 - len(told["entries"])


def test_a_bomb_is_refused() -> None:
    bomb = b64encode(zlib.compress(b"[" * 50_000_000)).decode()

    with pytest.raises(ValueError, match="larger"):
        read_recording(bomb)


@pytest.mark.parametrize("text", ["x", "{", "[]", "aGVsbG8="])
def test_what_is_no_recording_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_recording(text)


async def _nothing() -> None:
    return None
