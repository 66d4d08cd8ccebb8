"""The load script: what it makes of figures, what it refuses, and whole runs against a coordinator that breaks."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from load.agents.slow import join, serve
from load.display.page import choose_logarithmic_ticks, choose_ticks
from load.driving.calls import Call, open_session, read_answer
from load.driving.options import parse
from load.driving.sending import Collected, DriveLimits, send_by_callers, send_by_the_clock
from load.findings.knee import Knee, find_break, find_knee, round_up, suggest
from load.findings.observer import AgentSeen, Observed, Sample, sum_up_samples
from load.findings.reasons import explain, find_levers
from load.findings.recovery import find_outage, measure_recovery
from load.findings.rows import BenchRow, compute_percentiles, sum_up

ROOT = Path(__file__).parents[2]


def at(concurrency: int, *, rate: float, p95: float, success: float = 100.0, **more: Any) -> BenchRow:
    """A step of the search: 1,000 tasks."""
    return BenchRow(
        label=str(concurrency),
        x=concurrency,
        seconds=10,
        tasks=1_000,
        completed=round(10 * success),
        per_second=rate,
        carried_per_second=rate,
        average=p95 / 2,
        p95=p95,
        **more,
    )


def agent(name: str = "analyzer", *, full: float = 0.0, seconds: float = 0.1) -> AgentSeen:
    return AgentSeen(name, 1, 8, 8, full, 100, 0, seconds)


# --- figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], (3.0, 3.0, 3.0)),
        ([1.0, 2.0], (1.5, 1.95, 1.99)),
        ([float(n) for n in range(101)], (50.0, 95.0, 99.0)),
        ([float(n) for n in reversed(range(101))], (50.0, 95.0, 99.0)),
    ],
)
def test_percentiles(values, expected):
    assert compute_percentiles(values) == pytest.approx(expected)


def test_no_values_have_no_percentiles():
    with pytest.raises(ValueError, match="No values"):
        compute_percentiles([])


def test_refusals_count_as_failures_and_in_no_latency():
    calls = [Call(0, 2.0, "completed"), Call(0, 0.001, "overloaded", carried=False, retry_after=3)]

    summed = sum_up(calls, label="2", x=2, began=0, seconds=2)

    assert (summed.tasks, summed.completed, summed.success_percent) == (2, 1, 50.0)
    assert (summed.average, summed.p99) == (2.0, 2.0)
    assert summed.reasons == {"overloaded": 1}
    assert summed.retry_after == 3


def test_rate_covers_the_time_of_nearly_all_answers():
    """40 tasks that took 4 s each in a step of 1 s are 10 a second, not 40."""
    calls = [Call(0, 4.0, "completed")] * 40

    assert sum_up(calls, label="40", x=40, began=0, seconds=1).per_second == 10


def test_one_straggler_does_not_bend_the_rate():
    calls = [Call(0, 0.5, "completed")] * 99 + [Call(0, 30.0, "task_timed_out")]

    assert sum_up(calls, label="1", x=1, began=0, seconds=1).per_second == 99


def test_rate_of_a_stretch_counts_its_own_answers():
    """The rate of one stretch among others is what was answered in it."""
    calls = [Call(n / 10, 1.0, "completed") for n in range(20)]

    early, late = (
        sum_up([c for c in calls if start <= c.began < start + 1], label="", x=0, began=start, seconds=1, among=calls)
        for start in (0, 1)
    )

    assert (early.completed, early.per_second) == (10, 1)  # begun in the first second; answered in it
    assert (late.completed, late.per_second) == (10, 10)


def test_a_row_of_nothing():
    summed = sum_up([], label="1", x=1, began=0, seconds=0)

    assert (summed.success_percent, summed.per_second, summed.p95) == (0.0, 0.0, None)


@pytest.mark.parametrize(("top", "expected"), [(0, [0, 1]), (1.9, [0, 0.5, 1, 1.5, 2]), (100, [0, 25, 50, 75, 100])])
def test_ticks_are_round(top, expected):
    assert choose_ticks(top) == pytest.approx(expected)


def test_ticks_of_a_logarithmic_axis_enclose_the_values():
    assert choose_logarithmic_ticks(0.02, 4) == [0.01, 0.03, 0.1, 0.3, 1, 3, 10]


# --- the knee -------------------------------------------------------------------------------------

GROWING = [at(5, rate=50, p95=0.1), at(10, rate=98, p95=0.11), at(20, rate=100, p95=0.2)]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (GROWING, None),
        ([*GROWING, at(40, rate=101, p95=0.4)], "latency"),
        ([*GROWING, at(40, rate=120, p95=0.4)], None),
        ([*GROWING, at(40, rate=60, p95=0.2, success=79.9)], "success"),
        ([at(5, rate=1, p95=9)], None),
        ([at(5, rate=1, p95=9, success=0)], "success"),
    ],
    ids=["grows", "bends", "slower, but more", "fails", "one step", "one step that fails"],
)
def test_what_breaks(rows, why):
    """Too few completed; or p95 over three times the first one's while the rate no longer grows."""
    assert find_break(rows, min_success=80) == why


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([], Knee(None, None)),
        (GROWING, Knee(1, None)),
        ([*GROWING, at(40, rate=300, p95=0.2, success=10)], Knee(1, "success")),
        ([at(5, rate=1, p95=9, success=0)], Knee(None, "success")),
    ],
)
def test_knee_is_the_least_concurrency_near_the_best(rows, found):
    """The row that broke does not count."""
    assert find_knee(rows, min_success=80) == found


@pytest.mark.parametrize(
    ("value", "expected"), [(0.1, 1), (1, 1), (1.2, 2), (2.5, 3), (3.5, 4), (9.7, 12), (33, 48), (64, 64), (100, 128)]
)
def test_sensible_numbers(value, expected):
    assert round_up(value) == expected


def test_the_suggestion_is_littles_law():
    """100 tasks/s that take 0.1 s each are 10 at once."""
    suggested = suggest(at(20, rate=100, p95=0.2), Observed())

    assert suggested is not None
    assert suggested.env_line == "MAX_CONCURRENT_TASKS=12"
    assert "100.0 tasks/s x 0.100 s = 10.0" in suggested.why


def test_limit_that_holds_tasks_back_is_named():
    """A limit that holds tasks back is to be raised."""
    seen = Observed(samples=10, peak_running=4, peak_queued=4, queued_share=1.0, agents=(agent(),))

    suggested = suggest(at(20, rate=100, p95=0.2), seen)

    assert suggested is not None
    assert suggested.max_concurrent_tasks == 8


def test_advice_never_exceeds_a_full_agent():
    """More tasks than a full agent can take are not suggested."""
    seen = Observed(samples=10, peak_running=6, peak_queued=4, queued_share=1.0, agents=(agent(full=0.9),))

    suggested = suggest(at(20, rate=100, p95=0.2), seen)

    assert suggested is not None
    assert suggested.max_concurrent_tasks == 6


# --- why, and what moves it -----------------------------------------------------------------------

WAITING = Observed(samples=9, peak_running=4, peak_queued=7, queued_share=1.0, agents=(agent(),))
FULL = Observed(samples=9, peak_running=20, agents=(agent(full=0.8), agent("reporter")))
IDLE = Observed(samples=9, peak_running=20, agents=(agent(seconds=0.01), agent("reporter", seconds=0.01)))
SLOW = Observed(samples=9, peak_running=20, agents=(agent(seconds=0.5), agent("reporter", seconds=0.01)))
ALIKE = Observed(samples=9, peak_running=64, agents=(agent(seconds=0.05), agent("reporter", seconds=0.06)))
BENT = at(40, rate=10, p95=1.0)


@pytest.mark.parametrize(
    ("bad", "seen", "setting", "why"),
    [
        (BENT, WAITING, "MAX_CONCURRENT_TASKS", "At most 4 tasks ran while up to 7 waited"),
        (BENT, FULL, "more instances of analyzer, or its MAX_CONCURRENCY", "analyzer was full"),
        (BENT, SLOW, "more instances of analyzer", "0.5 s a step, 0.01 s in the first"),
        (BENT, IDLE, "none of ours", "the rest is the coordinator itself"),
        (BENT, ALIKE, "none of ours", "slower alike, 5.0 to 6.0 times"),
        (at(9, rate=1, p95=1, reasons={"overloaded": 7}), IDLE, "MAX_QUEUED_TASKS", "7 tasks were refused"),
        (at(9, rate=1, p95=1, reasons={"task_failed": 9}, culprits={"x: agent_error": 9}), IDLE, "none of ours", "x"),
    ],
)
def test_which_setting_moves_it(bad, seen, setting, why):
    first = find_levers(bad, seen, first=IDLE, broke="latency" if bad is BENT else "success")[0]

    assert first.setting == setting
    assert why in first.why


def test_nothing_is_to_be_changed_when_nothing_broke():
    assert find_levers(BENT, FULL, first=IDLE, broke=None) == []


def test_deadlines_are_named():
    late = at(9, rate=1, p95=1, reasons={"partial": 5, "task_timed_out": 2})

    found = find_levers(late, SLOW, first=IDLE, broke="success")

    assert [lever.setting for lever in found] == [
        "more instances of analyzer",
        "--timeout here, REQUEST_TIMEOUT for callers that name none",
    ]


def test_reasons_are_sentences():
    bad = at(9, rate=1, p95=1, reasons={"overloaded": 7, "odd": 2}, culprits={"analyzer: timeout": 3}, retry_after=4)

    assert explain(bad) == [
        "7 of 1,000 tasks refused with 429: as many tasks ran and waited as may (Retry-After up to 4 s).",
        "2 of 1,000 tasks ended with odd.",
        "Steps that were not done, by agent and error: analyzer: timeout (3).",
    ]


@pytest.mark.parametrize(
    ("status", "body", "reason", "carried"),
    [
        (200, {"status": "completed"}, "completed", True),
        (200, {"status": "partial"}, "partial", True),
        (200, [], "bad_answer", True),
        (500, {"type": "urn:muster:problem:task_timed_out", "task": {}}, "task_timed_out", True),
        (429, {"type": "urn:muster:problem:overloaded"}, "overloaded", False),
        (429, None, "overloaded", False),
        (502, None, "http_502", False),
    ],
)
def test_what_an_answer_means(status, body, reason, carried):
    call = read_answer(status, json.dumps(body).encode(), "2", 0.0, 0.1)

    assert (call.reason, call.carried, call.ok) == (reason, carried, reason == "completed")


def test_who_did_not_do_a_step():
    """Steps that were skipped because of others are not to blame."""
    steps = [
        {"agent": "analyzer", "error": {"type": "timeout"}},
        {"agent": None, "capability": "report", "error": {"type": "skipped"}},
        {"agent": "researcher", "error": None},
    ]

    call = read_answer(200, json.dumps({"status": "partial", "results": steps}).encode(), None, 0.0, 0.1)

    assert call.culprits == ("analyzer: timeout",)


# --- what the coordinator says --------------------------------------------------------------------


def look(when: float, *statuses: str, running: int = 1, queued: int = 0, load: int = 0) -> Sample:
    agents = [{"name": "worker", "status": status, "load": load, "max_concurrency": 2} for status in statuses]
    return Sample(when, running, queued, agents)


def test_agents_are_summed_up_over_their_instances():
    samples = [look(1, "healthy", "healthy", load=2, queued=3), look(2, "healthy", "unreachable", running=0)]

    seen = sum_up_samples(
        samples, {"worker": {"steps": 10, "avg_seconds": 1.0}}, {"worker": {"steps": 20, "avg_seconds": 2.0}}
    )

    assert (seen.samples, seen.peak_queued, seen.queued_share) == (1, 3, 1.0)
    assert seen.agents == (AgentSeen("worker", 2, 4, 4, 1.0, 10, 0, 3.0),)


def test_recovery_starts_after_the_last_bad_second():
    """Recovery is when the last failure and the last slow second are over."""
    usual = [Call(n / 10, 0.1, "completed") for n in range(200)]
    failed = [Call(10.0, 0.5, "connection_failed", carried=False), Call(10.1, 1.4, "partial")]

    felt = measure_recovery([*usual, *failed], at=10.0, until=20.0)

    assert (felt.failed, felt.failing_seconds) == (2, pytest.approx(1.5))
    assert felt.seconds == pytest.approx(1.5)


def test_what_still_fails_at_the_end_has_not_recovered():
    calls = [Call(n / 10, 0.1, "completed" if n < 100 else "partial") for n in range(200)]

    assert measure_recovery(calls, at=10.0, until=20.0).seconds is None


def test_the_coordinator_shows_an_instance_gone_and_back():
    samples = [look(1, "healthy", "healthy"), look(3, "healthy", "unreachable"), look(6, "healthy", "healthy")]

    assert find_outage(samples, at=2.0) == ("worker", 1.0, 4.0)


# --- sending --------------------------------------------------------------------------------------


async def test_time_counts_from_the_planned_start():
    """A sender that was held up for 0.2 s does not make the tasks behind it look fast."""
    collected = Collected()

    async def send(began: float) -> Call:
        if not collected.calls:
            time.sleep(0.2)  # noqa: ASYNC251  the whole loop is held up, that is the point
        return Call(began, time.monotonic() - began, "completed")

    await send_by_the_clock(send, [0.0, 0.01, 0.02], DriveLimits(100), collected)

    assert [call.seconds > 0.15 for call in collected.calls] == [True, True, True]


async def test_no_more_tasks_than_may_be_sent():
    collected, limits = Collected(), DriveLimits(7)

    await send_by_callers(_completed, 3, 30.0, limits, collected)

    assert len(collected.calls) == 7
    assert limits.used_up


async def test_a_refused_caller_pauses():
    collected = Collected()

    async def send(began: float) -> Call:
        return Call(began, 0.0, "overloaded", carried=False, retry_after=60)

    await send_by_callers(send, 1, 0.5, DriveLimits(1_000), collected)

    assert len(collected.calls) == 1


@pytest.mark.parametrize("drive", ["callers", "by_the_clock"])
async def test_stop_ends_what_hangs(drive):
    collected, limits = Collected(), DriveLimits(1_000)

    async def send(began: float) -> Call:
        asyncio.get_running_loop().call_later(0.05, limits.stop.set)
        await asyncio.sleep(60)
        raise AssertionError("not stopped")

    async with asyncio.timeout(5):
        if drive == "callers":
            await send_by_callers(send, 3, 30.0, limits, collected)
        else:
            await send_by_the_clock(send, [0.0, 0.0, 20.0], limits, collected)

    assert collected.calls == []


async def _completed(began: float) -> Call:
    return Call(began, 0.001, "completed")


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("--url http://example.com:8000", "add --allow-remote"),
        ("--url http://10.0.0.7:8000", "add --allow-remote"),
        ("--url http://localhost.example.com", "add --allow-remote"),
        ("--url ftp://127.0.0.1", "must be an http:// or https:// URL"),
        ("--url http://127.0.0.1:99999", "is no URL"),
        ("--steps 10,5", "must rise"),
        ("--steps 5,5", "must rise"),
        ("--steps 0,5", "must rise"),
        ("--steps 5,x", "is not a list like 5,10,20"),
        ("--steps 100000", "at most 5,000"),
        ("--seconds -1", "must be a number from"),
        ("--seconds nan", "must be a number from"),
        ("--timeout 0", "must be a number from"),
        ("--min-success 101", "must be a number from"),
        ("--max-tasks 0", "must be a number from"),
        ("--rate 1e9", "must be a number from"),
        ("--seconds 80000", "more than 24 hours"),
        ("--scenario quake", "invalid choice"),
        ("--scenario worker-dies", "needs a victim"),
        ("--scenario worker-dies --kill-pid 1", "is not a worker"),
        ("--scenario worker-dies --kill-pid 99 --kill-container x", "name one victim"),
        ("--kill-pid 99", "belong to --scenario worker-dies"),
        ("--json /nowhere/at/all.json", "cannot be written"),
        ("--html /", "cannot be written"),
        ("--frobnicate", "unrecognized arguments"),
    ],
)
def test_refused_options_are_one_sentence_and_exit_code_2(arguments, why, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(arguments.split())

    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert why in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://localhost", "http://[::1]:8000", "https://127.9.9.9"])
def test_this_machine_needs_no_permission(url):
    assert parse(["--url", url]).url == url.rstrip("/")


def test_another_machine_with_permission():
    assert parse(["--url", "http://example.com", "--allow-remote"]).url == "http://example.com"


# --- whole runs -----------------------------------------------------------------------------------

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Fragile:
    """A coordinator in little: 4 tasks at once take 30 ms each, 8 may wait, more are refused."""

    running, waiting_at_most, seconds = 4, 8, 0.03

    def __init__(self) -> None:
        self.open = 0
        self.done = 0
        self.registered: dict[str, Any] = {}
        self.places = asyncio.Semaphore(self.running)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        status, said = await self.answer(scope["method"], scope["path"], body)
        headers = [(b"content-type", b"application/json"), (b"retry-after", b"1")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(said).encode()})

    async def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path == "/stats":
            now = {"running": min(self.open, self.running), "queued": max(0, self.open - self.running)}
            return 200, {"now": now, "agents": {"worker": {"steps": self.done, "avg_seconds": self.seconds}}}
        if path == "/execute_task":
            return await self.execute()
        if path == "/register_agent":
            self.registered = json.loads(body)
            return 201, {"agent_id": "load-slow-1", "name": self.registered["name"]}
        if method == "DELETE":
            self.registered = {}
            return 200, {}
        worker = {"name": "worker", "status": "healthy", "load": self.running, "max_concurrency": None}
        return 200, {"agents": [worker], "instances": [worker]}

    async def execute(self) -> tuple[int, Any]:
        if self.open >= self.running + self.waiting_at_most:
            return 429, {"type": "urn:muster:problem:overloaded", "detail": "8 tasks are waiting."}
        self.open += 1
        try:
            async with self.places:
                await asyncio.sleep(self.seconds)
        finally:
            self.open -= 1
        self.done += 1
        return 200, {"status": "completed", "results": []}


@pytest.fixture
def fragile() -> Iterator[tuple[str, Fragile]]:
    """Its address, and itself, served by a thread."""
    app = Fragile()
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None, http="httptools", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="fragile")
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", app
    server.should_exit = True
    thread.join(10)


def started(url: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "load.run", "--url", url, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(url: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    process = started(url, *arguments)
    out, err = process.communicate(timeout=40)
    return process.returncode, out, err


def test_the_search_finds_the_knee_and_why_it_broke(fragile, tmp_path):
    """4 at once: the best rate; 160 at once: most are refused. The page holds its charts itself."""
    url, _ = fragile
    page = tmp_path / "load.html"

    code, out, err = run(url, "--steps", "1,4,160,200", "--seconds", "0.8", "--json", "-", "--html", str(page))

    found = json.loads(out)
    assert code == 0, err
    assert [row["label"] for row in found["rows"]][-1] == "160"  # where it broke; 200 was never tried
    assert found["knee"]["label"] == "4"
    assert found["verdict"].startswith("It broke with 160 at once")
    assert found["rows"][-1]["reasons"]["overloaded"] > 0
    assert [lever["setting"] for lever in found["settings"]][-2:] == ["MAX_CONCURRENT_TASKS", "MAX_QUEUED_TASKS"]
    if found["suggestion"] is None:  # other programs keep this machine busy, and it says so
        assert "No MAX_CONCURRENT_TASKS is suggested" in found["notes"][-1]
    else:
        assert found["suggestion"]["env_line"].startswith("MAX_CONCURRENT_TASKS=")
    assert "160" in err  # the rows went by while it ran
    html = page.read_text()
    assert html.count("<svg") == 3
    assert "http-equiv" not in html
    assert not [word for word in ("src=", "href=", "@import", "url(") if word in html]


def test_ctrl_c_ends_a_run_with_what_it_has(fragile, tmp_path):
    url, _ = fragile
    file = tmp_path / "load.json"
    process = started(url, "--steps", "2", "--seconds", "60", "--json", str(file))
    assert process.stdout is not None
    process.stdout.readline()  # the title: it runs
    time.sleep(0.7)

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)

    found = json.loads(file.read_text())
    assert (process.returncode, err) == (0, "")
    assert found["rows"][0]["completed"] > 0
    assert "Stopped early" in out


def test_worker_death_command_kills_and_reports(fragile):
    """Worker dies kills whom it was told and says what was felt."""
    url, _ = fragile
    victim = subprocess.Popen(["sleep", "60"])

    code, out, err = run(
        url,
        *("--scenario", "worker-dies", "--kill-pid", str(victim.pid)),
        *("--seconds", "3", "--rate", "20", "--json", "-"),
    )

    assert victim.wait(5) == -signal.SIGKILL
    assert code == 0, err
    figures = json.loads(out)["figures"]
    assert figures["success"] == 100
    assert figures["tasks that did not complete after the kill"] == 0
    assert figures["agent that lost an instance"] is None


def test_a_first_step_that_fails_is_exit_code_1(fragile):
    url, app = fragile
    app.running = 0
    app.waiting_at_most = 0

    code, out, _ = run(url, "--steps", "2,4", "--seconds", "0.5")

    assert code == 1
    assert "It broke in the first step: 0.0 %" in out


def test_nobody_there_is_one_sentence_and_exit_code_2():
    code, out, err = run("http://127.0.0.1:1")

    assert (code, out) == (2, "")
    assert err.startswith("python -m load.run: No coordinator answers at http://127.0.0.1:1")
    assert err.count("\n") == 1


async def test_the_slow_agent_joins_is_asked_and_leaves(fragile):
    url, app = fragile

    async with (
        open_session() as http,
        serve(0.05, "127.0.0.1") as (slow, endpoint),
        join(http, url, None, endpoint=endpoint, capability="research"),
    ):
        there = app.registered
        step = {"task_id": "t", "step_id": "s", "attempt": 2}
        async with http.post(f"{there['endpoint']}/execute", json=step) as answer:
            said = await answer.json()

    assert there["capabilities"] == ["research"]
    assert (said["status"], said["step_id"], said["attempt"]) == ("completed", "s", 2)
    assert slow.steps == 1
    assert app.registered == {}
