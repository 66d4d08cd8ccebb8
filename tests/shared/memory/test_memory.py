"""Memory keeps sessions apart, keeps to its bounds, gives back what was said, and survives the end of its process."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from coordinator.journal.postgres.dialect import DIALECT
from shared.contracts import Missing
from shared.conversation import UNANSWERED, Ask, Delta, Final, Message
from shared.db.postgres.database import Postgres
from shared.errors import StorageBroken, WorkerFault
from shared.memory.recorder import Remembering
from shared.memory.store import DAY, FILE, MAX_EVENT, PRUNE_EVERY, Memory, MemoryLimits
from tests.support.fakes import ROOT
from tests.support.postgres import Server
from tests.support.processes import Disk


@asynccontextmanager
async def remembering(place: Path | str | None = None, agent: str = "tester", **more: Any) -> AsyncIterator[Memory]:
    """A memory in a folder, or in the journal's database at an address."""
    memory = Memory(agent, place if isinstance(place, Path) else None, **more)
    async with AsyncExitStack() as stack:
        if isinstance(place, str):
            db = Postgres(place, DIALECT)
            stack.push_async_callback(db.close)
            await db.open()
            memory.use(db)
        stack.push_async_callback(memory.close)
        yield memory


@pytest.fixture(params=["file", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where memories are: both kinds keep one contract."""
    return tmp_path if request.param == "file" else request.getfixturevalue("postgres").make_database()


@pytest.fixture
async def memory(place: Path | str) -> AsyncIterator[Memory]:
    async with remembering(place) as memory:
        yield memory


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """A folder that cannot be made: a file is in its place."""
    (tmp_path / "file").write_text("in the way")
    return tmp_path / "file" / "folder"


async def said(memory: Memory, session: str, *turns: str) -> None:
    """Questions and answers in turn."""
    for number, text in enumerate(turns):
        await memory.record(session, ("user_message", "agent_response")[number % 2], text, durable=True)


async def contents(memory: Memory, **filters: Any) -> list[Any]:
    return [event.content for event in await memory.read_events(**filters)]


# --- kept and given back ------------------------------------------------------------------------------


async def test_events_return_in_order_with_session_and_type(memory: Memory) -> None:
    """Events come back in order with their session and type."""
    await memory.record("a", "user_message", "Hello")
    await memory.record("b", "tool_call", {"tool": "add", "arguments": {"x": [1, None, "é\n'\""]}})
    await memory.record("a", "agent_response", "Hi", durable=True)

    found = await memory.read_events()

    assert [(e.session, e.type, e.content) for e in found] == [
        ("a", "user_message", "Hello"),
        ("b", "tool_call", {"tool": "add", "arguments": {"x": [1, None, "é\n'\""]}}),
        ("a", "agent_response", "Hi"),
    ]
    assert all(e.id.startswith("event_") and len(e.id) == 14 and e.timestamp.endswith("+00:00") for e in found)
    assert [session for _, session in await memory.read_sessions()] == ["a", "b"]


async def test_events_are_filtered_by_session_type_time_and_position(place: Path | str) -> None:
    clock = [100.0]
    async with remembering(place, wall=lambda: clock[0]) as memory:
        for number in range(4):
            clock[0] += 1
            await memory.record("ab"[number % 2], "user_message" if number < 3 else "error", number, durable=True)

        assert await contents(memory, session="a") == [0, 2]
        assert await contents(memory, type="error") == [3]
        assert await contents(memory, since=103.0) == [2, 3]
        assert await contents(memory, limit=2) == [2, 3]
        third = (await memory.read_events())[2]
        assert await contents(memory, before=third.number) == [0, 1]
        assert await contents(memory, session="nobody") == []


async def test_text_no_file_can_hold_is_kept_partly(memory: Memory) -> None:
    """Lone surrogates, a NUL, a session id of a megabyte."""
    await memory.record("s" * 1_000_000, "user_message", "a\ud800b\0c 🌊 None", durable=True)

    [event] = await memory.read_events(session="s" * 1_000_000)

    assert event.content == "a?b\0c 🌊 None"
    assert len(event.session) == 200


async def test_session_named_with_nul_is_one(memory: Memory) -> None:
    """PostgreSQL has no such text, and a stranger may send it."""
    await said(memory, "a\0b", "Hello", "Hi")

    assert await memory.has("a\0b")
    assert [m.content for m in await memory.read_history("a\0b", max_tokens=10)] == ["Hello", "Hi"]


async def test_a_long_event_keeps_its_beginning_and_says_so(memory: Memory) -> None:
    await memory.record("s", "user_message", "x" * 1_000_000, durable=True)
    await memory.record("s", "tool_result", {"tool": "t", "result": "y" * 200_000}, durable=True)

    first, second = await contents(memory)

    assert first == "x" * MAX_EVENT + f"… [{1_000_000 - MAX_EVENT} more characters]"
    assert second.startswith('{"tool": "t", "result": "yyy')


async def test_an_event_under_a_key_is_kept_once(memory: Memory) -> None:
    for _ in range(2):
        await memory.record("s", "user_message", "Hello", key="k/0", durable=True)
    await memory.record("t", "user_message", "Hello", key="k/0", durable=True)

    assert [e.session for e in await memory.read_events()] == ["s", "t"]


async def test_memory_that_is_off_is_empty(tmp_path: Path) -> None:
    async with remembering(tmp_path, enabled=False) as memory:
        await memory.open()
        await memory.record("s", "user_message", "Hello", durable=True)

        assert (
            await memory.read_events(),
            await memory.read_sessions(),
            await memory.read_history("s", max_tokens=10),
        ) == (
            [],
            [],
            [],
        )
        assert os.listdir(tmp_path) == []


# --- isolation ----------------------------------------------------------------------------------------


async def test_agents_that_share_a_database_see_only_their_own(place: Path | str) -> None:
    async with remembering(place, "first") as first:
        await said(first, "s", "Mine?", "Yes")
    async with remembering(place, "second") as second:
        assert (await second.read_events(), await second.read_sessions(), await second.has("s")) == ([], [], False)
        await said(second, "s", "And mine?")
    async with remembering(place, "first") as first:
        assert await contents(first) == ["Mine?", "Yes"]


async def test_sessions_do_not_see_each_other(memory: Memory) -> None:
    await said(memory, "a", "I am Ann", "Hello Ann")
    await said(memory, "b", "I am Bob", "Hello Bob")

    assert [m.content for m in await memory.read_history("b", max_tokens=100)] == ["I am Bob", "Hello Bob"]


# --- history ------------------------------------------------------------------------------------------


async def test_history_is_the_last_answered_turns_that_fit(memory: Memory) -> None:
    await said(memory, "s", "one?", "1" * 40, "two?", "2" * 16, "three?", "3" * 14, "four?")

    history = await memory.read_history("s", max_tokens=10)
    assert [m.content for m in history] == ["two?", "2" * 16, "three?", "3" * 14]
    assert [m.role for m in history] == ["user", "assistant"] * 2
    assert await memory.read_history("s", max_tokens=9) == history[2:]
    assert await memory.read_history("s", max_tokens=4) == []


async def test_unanswered_question_is_kept_with_the_next(memory: Memory) -> None:
    """A question that got no answer is kept with the next."""
    await memory.record("s", "user_message", "lost")
    await memory.record("s", "error", "Error processing message: …")
    await said(memory, "s", "again", "answer")
    await memory.record("s", "tool_call", {"tool": "t"}, durable=True)

    assert [m.content for m in await memory.read_history("s", max_tokens=100)] == ["lost", "again", "answer"]


# --- bounds -------------------------------------------------------------------------------------------


async def test_a_session_keeps_its_newest_events(place: Path | str) -> None:
    async with remembering(place, limits=MemoryLimits(session_events=5)) as memory:
        for number in range(12):
            await memory.record("s", "user_message", number)
            await memory.record("other", "user_message", "stays" if number == 0 else number)
        await memory.record("s", "user_message", 12, durable=True)

        assert await contents(memory, session="s") == [8, 9, 10, 11, 12]
        assert await contents(memory, session="other") == [7, 8, 9, 10, 11]


async def test_the_sessions_used_longest_ago_go_first(place: Path | str) -> None:
    clock = [0.0]
    async with remembering(place, limits=MemoryLimits(sessions=10), wall=lambda: clock[0]) as memory:
        for number in range(PRUNE_EVERY * 4):
            clock[0] += 1
            await memory.record("kept" if number % 3 == 0 else f"s{number}", "user_message", number, durable=True)

        sessions = [session for _, session in await memory.read_sessions()]

    assert len(sessions) == 10
    assert "kept" in sessions
    assert "s62" in sessions
    assert "s1" not in sessions


async def test_bytes_are_bounded(place: Path | str) -> None:
    """An event of 1 kB, a thousand times, into 50 kB."""
    async with remembering(place, limits=MemoryLimits(bytes=50_000)) as memory:
        for number in range(1_000):
            await memory.record(f"s{number}", "user_message", "x" * 998)
        await memory.record("last", "user_message", "y", durable=True)

        kept = await memory.read_events(limit=1_000)

    assert 49 <= len(kept) <= 50 + PRUNE_EVERY
    assert kept[-1].content == "y"
    if isinstance(place, Path):
        assert (place / FILE).stat().st_size < 1_000_000


async def test_old_events_go(place: Path | str) -> None:
    clock = [1_000 * DAY]
    async with remembering(place, limits=MemoryLimits(days=2), wall=lambda: clock[0]) as memory:
        await said(memory, "old", "long ago", "yes")
        await said(memory, "used", "long ago too")
        clock[0] += 3 * DAY
        for number in range(PRUNE_EVERY):
            await memory.record("used", "user_message", number, durable=True)

        assert [session for _, session in await memory.read_sessions()] == ["used"]
        assert await contents(memory) == list(range(PRUNE_EVERY))


async def test_bounds_wait_for_no_other_coordinator(postgres: Server) -> None:
    """A session that another one is writing is left out, and goes the next time."""
    url = postgres.make_database()
    async with remembering(url, limits=MemoryLimits(sessions=1)) as memory:
        await said(memory, "old", "long ago")
        other = await asyncpg.connect(url)
        try:
            async with other.transaction():
                await other.execute("SELECT 1 FROM memory_sessions FOR UPDATE")
                await said(memory, "new", *map(str, range(PRUNE_EVERY)))
                assert len(await contents(memory, session="new")) == PRUNE_EVERY
                assert await memory.has("old")
        finally:
            await other.close()
        await said(memory, "new", *map(str, range(PRUNE_EVERY)))

        assert [session for _, session in await memory.read_sessions()] == ["new"]
        assert not await memory.has("old")


# --- its end ------------------------------------------------------------------------------------------

WRITES = """
import asyncio, os, sys
from pathlib import Path
from shared.memory.store import Memory

async def main():
    memory = Memory("tester", Path(sys.argv[1]))
    for number in range(1_000_000):
        await memory.record("s", "user_message", number)
        await memory.record("s", "agent_response", number, durable=True)
        os.write(1, b"%d\\n" % number)

asyncio.run(main())
"""


async def test_what_was_durable_survives_kill_9(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITES, str(tmp_path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    for _ in range(20):
        assert await process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    told = max(19, *map(int, (await process.stdout.read()).split()), 0)
    await process.wait()

    async with remembering(tmp_path) as memory:
        kept = await contents(memory, limit=1_000)

    assert kept[: 2 * told + 2] == [number for number in range(told + 1) for _ in "qa"][-500:]
    assert kept[2 * told + 2 :] in ([], [told + 1], [told + 1, told + 1])


async def test_memory_goes_on_after_a_restart(place: Path | str) -> None:
    for expected in (["a"], ["a", "b"]):
        async with remembering(place) as memory:
            await memory.record("s", "user_message", expected[-1])
        async with remembering(place) as memory:
            assert await contents(memory) == expected


async def test_a_file_that_another_process_has_is_named(tmp_path: Path) -> None:
    async with remembering(tmp_path) as first:
        await first.open()
        second = Memory("second", tmp_path)
        with pytest.raises(StorageBroken, match=r"memory\.db is in use by another agent .* set another STATE_DIR"):
            await second.open()

        await said(second, "s", "Kept as long as the process lives")
        assert await contents(second) == ["Kept as long as the process lives"]
        await second.close()


async def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database")

    with pytest.raises(StorageBroken, match=r"The memory .*memory\.db is not a SQLite file"):
        await Memory("tester", tmp_path).open()


async def test_a_folder_that_cannot_be_had_costs_no_answer(blocked: Path) -> None:
    async with remembering(blocked) as memory:
        await said(memory, "s", "Hello", "Hi")
        assert await contents(memory) == ["Hello", "Hi"]


async def test_a_full_disk_costs_memory_and_no_answer(tmp_path: Path) -> None:
    with Disk(tmp_path / "disk", size="2m") as disk:
        async with remembering(disk.seen) as memory:
            await said(memory, "s", "before")
            disk.fill()
            for _ in range(5):
                await memory.record("s", "user_message", "x" * 90_000, durable=True)
            disk.free()
            await said(memory, "s", "after")

            kept = await contents(memory)

    assert (kept[0], kept[-1]) == ("before", "after")
    assert len(kept) < 7


async def test_records_after_the_end_are_dropped(tmp_path: Path) -> None:
    """What is recorded after the end is lost in silence."""
    async with remembering(tmp_path) as memory:
        await said(memory, "s", "Hello")
    await memory.record("s", "agent_response", "too late", durable=True)

    connection = sqlite3.connect(tmp_path / FILE)
    assert connection.execute("SELECT content FROM events").fetchall() == [('"Hello"',)]
    connection.close()


# --- the face that remembers --------------------------------------------------------------------------


class Echo:
    """A face that says back the question, or fails, or says why there is no answer."""

    name, description, version = "echo", "Says it back.", "1"

    def __init__(self) -> None:
        self.asked: list[Ask] = []
        self.closed = 0

    def skills(self) -> list[Any]:
        return []

    def models(self) -> list[str]:
        return ["echo"]

    async def answer(self, ask: Ask) -> Any:
        self.asked.append(ask)
        try:
            if ask.text == "fail":
                raise WorkerFault("It broke.")
            yield Delta(ask.text)
            missing = [Missing(what=UNANSWERED, why="too many steps")] if ask.text == "give up" else []
            yield Final(ask.text, missing=missing)
        finally:
            self.closed += 1


async def chat(face: Remembering, *messages: tuple[str, str], **more: Any) -> list[Any]:
    return [piece async for piece in face.answer(Ask(tuple(Message(*m) for m in messages), **more))]


async def happened(memory: Memory, **filters: Any) -> list[tuple[str, Any]]:
    return [(event.type, event.content) for event in await memory.read_events(**filters)]


async def test_a_chat_is_remembered_before_its_end_is_told(memory: Memory) -> None:
    face = Remembering(Echo(), memory)
    async for piece in face.answer(Ask((Message("system", "Be kind."), Message("user", "Hello")))):
        if isinstance(piece, Final):
            assert await happened(memory) == [("user_message", "Hello"), ("agent_response", "Hello")]
    assert (await memory.read_sessions())[0][1].startswith("session_")


async def test_messages_and_delegations_of_sessions_are_events(memory: Memory) -> None:
    """Every user message and delegation of a new session is an event."""
    await chat(
        Remembering(Echo(), memory), ("user", "context"), ("assistant", "earlier"), ("task-delegation", "the task")
    )

    assert await happened(memory) == [
        ("user_message", "context"),
        ("task_delegation_received", "the task"),
        ("agent_response", "the task"),
    ]


async def test_a_client_that_sends_all_again_doubles_nothing(memory: Memory) -> None:
    face = Remembering(Echo(), memory)
    await chat(face, ("user", "one"), session="mine")
    await chat(face, ("user", "one"), ("assistant", "one"), ("user", "two"), session="mine")

    assert [content for _, content in await happened(memory, session="mine")] == ["one", "one", "two", "two"]


async def test_nameless_sessions_are_apart_repeats_the_same(memory: Memory) -> None:
    """Sessions without a name are apart and a repeat is the same."""
    face, echo = Remembering(Echo(), memory), Echo()
    await chat(face, ("user", "one"))
    await chat(face, ("user", "one"))
    again = Remembering(echo, memory)
    for _ in range(2):
        await chat(again, ("user", "two"), key="k")

    assert len(await memory.read_sessions()) == 3
    assert echo.asked[0].session == echo.asked[1].session
    assert [content for _, content in await happened(memory)] == ["one", "one", "one", "one", "two", "two"]


async def test_an_error_is_an_event_and_no_answer(memory: Memory) -> None:
    with pytest.raises(WorkerFault):
        await chat(Remembering(Echo(), memory), ("user", "fail"))

    assert await happened(memory) == [("user_message", "fail"), ("error", "Error processing message: It broke.")]


async def test_giving_up_is_no_answer(memory: Memory) -> None:
    await chat(Remembering(Echo(), memory), ("user", "give up"))

    await memory.record("other", "user_message", "", durable=True)
    assert (await happened(memory))[:-1] == [("user_message", "give up")]


async def test_who_leaves_early_ends_the_work(memory: Memory) -> None:
    echo = Echo()
    pieces = Remembering(echo, memory).answer(Ask((Message("user", "Hello"),)))
    assert await anext(pieces) == Delta("Hello")

    await pieces.aclose()

    assert echo.closed == 1
    await memory.record("other", "user_message", "", durable=True)
    assert len(await memory.read_events()) == 2
