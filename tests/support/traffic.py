"""Tasks at a steady rate, each followed from its acceptance to its end: what a caller sees while things break."""

from __future__ import annotations

import base64
import contextlib
import itertools
import re
import secrets
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.history import Answer, History
from tests.support.stack import Stack

TIMEOUT_SECONDS = 60.0  # of each task: more than any outage here takes
ENDED = ("completed", "partial", "failed", "timed_out", "cancelled")
PATIENCE_SECONDS = 10.0  # a step waits so long for agents that are known and away
CALLERS = 48
PAUSE_SECONDS = 0.3  # before a caller that was refused asks again with the same key


@dataclass
class Call:
    """One task as its caller knows it."""

    key: str
    waits: bool
    ids: set[str] = field(default_factory=set)  # more than one would be a task that ran twice
    answers: list[str] = field(default_factory=list)  # of waiting callers: a status, or "503 Location"
    refusals: list[str] = field(default_factory=list)  # before it was accepted: the caller asked again
    seconds: float = 0.0


class Traffic:
    """`with Traffic(stack)` sends tasks; each third caller waits for its answer, the others come back for it.

    A caller that is cut off, or refused with 429 or 503, asks again with the same Idempotency-Key, as the docs say.
    """

    def __init__(self, stack: Stack, *, rate: float = 4.0, body: dict[str, Any] | None = None) -> None:
        self._stack = stack
        self._pause = 1 / rate
        self._body = {"task_description": "How does Muster survive a crash?", "timeout_seconds": TIMEOUT_SECONDS}
        self._body |= body or {}
        self._ending = threading.Event()
        self._giving_up = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=CALLERS, thread_name_prefix="caller")
        self.calls: list[Call] = []
        self.missing: list[str] = []  # what the tasks that were not completed say

    def __enter__(self) -> Self:
        self._sender = threading.Thread(target=self._send, name="traffic")
        self._sender.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._ending.set()
        if kind is not None:
            self._giving_up.set()
        self._sender.join()
        self._pool.shutdown()

    @property
    def ids(self) -> list[str]:
        """Every task that was accepted."""
        return [id for call in self.calls for id in call.ids]

    def run_for(self, seconds: float) -> None:
        """Lets time pass."""
        time.sleep(seconds)

    def settled(self, *, seconds: float = TIMEOUT_SECONDS + 10) -> Counter[str]:
        """Waits until every accepted task has ended; the statuses they ended with."""
        until = time.monotonic() + seconds
        statuses: Counter[str] = Counter()
        with self._stack.client(10.0) as client:
            for id in self.ids:
                status = ""
                while status not in ENDED:
                    assert time.monotonic() < until, f"task {id} is {status!r} after {seconds} s"
                    with contextlib.suppress(httpx.TransportError):
                        answer = client.get(f"/tasks/{id}")
                        assert answer.status_code != 404, f"task {id} was accepted and is not there"
                        status = answer.json().get("status", "") if answer.status_code == 200 else ""
                    if status not in ENDED:
                        time.sleep(0.2)
                statuses[status] += 1
                self.missing += (
                    [] if status == "completed" else [f"{m['what']}: {m['why']}" for m in answer.json()["missing"]]
                )
        return statuses

    def _send(self) -> None:
        for number in itertools.count():
            call = Call(key=secrets.token_hex(8), waits=number % 3 == 0)
            self.calls.append(call)
            self._pool.submit(self._ask, call)
            if self._ending.wait(self._pause):
                return

    def _ask(self, call: Call) -> None:
        headers = {"Idempotency-Key": call.key} | ({} if call.waits else {"Prefer": "respond-async"})
        with self._stack.client(TIMEOUT_SECONDS + 5) as client:
            while not self._giving_up.is_set():
                began = time.monotonic()  # nobody can answer a call that does not arrive
                try:
                    answer = client.post("/execute_task", json=self._body, headers=headers)
                except httpx.TransportError as exc:
                    call.refusals.append(type(exc).__name__)
                    time.sleep(PAUSE_SECONDS)
                    continue
                location = answer.headers.get("Location", "")
                if location:
                    call.seconds = time.monotonic() - began
                    call.ids.add(location.removeprefix("/tasks/"))
                    call.answers.append(f"{answer.status_code}{' Location' if answer.status_code == 503 else ''}")
                    break
                call.refusals.append(str(answer.status_code))
                if answer.status_code not in (429, 503):
                    break
                time.sleep(PAUSE_SECONDS)

    def report(self, what: str, statuses: Counter[str]) -> None:
        """Prints what the callers saw."""
        refused = Counter(refusal for call in self.calls for refusal in call.refusals)
        answered = Counter(answer for call in self.calls if call.waits for answer in call.answers)
        said = f"asked again {dict(refused)}; waiting {dict(answered)}"
        print(f"{what}: {len(self.calls)} tasks, {dict(statuses)}; {said}")
        for why, times in Counter(re.sub(r"[0-9a-f]{10,}", "…", why) for why in self.missing).most_common(5):
            print(f"  {times} times {why}")


def assert_nothing_lost(
    stack: Stack, traffic: Traffic, what: str, *, outage: float = 0.0, share: float = 0.95
) -> History:
    """Every accepted task ends once and is in the journal once, every caller has an answer; returns the journal.

    `share` of the tasks must have completed, unless the `outage` was longer than steps wait for an agent: then they
    end as what was there.
    """
    statuses = traffic.settled()
    traffic.report(what, statuses)
    history = journal(stack)
    assert [call for call in traffic.calls if len(call.ids) != 1] == []
    assert [call for call in traffic.calls if set(call.answers) - {"200", "202", "500", "503 Location"}] == []
    waited = [Answer(call.seconds, TIMEOUT_SECONDS) for call in traffic.calls if call.waits]
    assert history.problems(accepted=traffic.ids, answers=waited) == []
    if outage < PATIENCE_SECONDS - 2:
        assert statuses["completed"] >= share * len(traffic.ids), statuses
    return history


COPY = """
import base64, sqlite3
print(base64.b64encode(sqlite3.connect("file:/data/muster.db?mode=ro", uri=True).serialize()).decode())
"""


def journal(stack: Stack) -> History:
    """The coordinator's journal as it is now; nothing is paused for it, since Docker may hang at the other end."""
    folder = stack.folder / f"journal-{secrets.token_hex(4)}"
    folder.mkdir()
    (folder / "muster.db").write_bytes(base64.b64decode(stack.exec("coordinator", "python", "-c", COPY)))
    return History(folder / "muster.db")
