"""Why tasks failed, and which setting moves it."""

from __future__ import annotations

import pytest

from load.findings.observer import Observed
from load.findings.reasons import explain, find_levers
from tests.load.findings.made import agent, at

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
