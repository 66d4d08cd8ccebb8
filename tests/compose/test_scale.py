"""Replicas share the work and stand in for each other, and services may come up in any order."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from tests.support.history import History
from tests.support.stack import WORKERS, Stack
from tests.support.traffic import Traffic, assert_nothing_lost

pytestmark = pytest.mark.timeout(180, func_only=True)

LATE_SECONDS = {"coordinator": 20.0, "workers": 5.0}  # after the others
CONVERGED_SECONDS = 20.0  # 5 are promised; a machine that does other things takes longer
THREE = ["analyzer", "reporter", "researcher", "researcher", "researcher"]
SHARE = (0.25, 0.42)
WINDOW_SECONDS = 10.0


def shares_of(history: History, start: float, end: float) -> list[float]:
    """The share of the steps that each instance was sent in a time, the smallest first."""
    sent = [e.data["instance"] for e in history.events if e.type == "step.started" and start <= e.at < end]
    return sorted(count / len(sent) for count in Counter(sent).values())


def test_three_researchers_share_the_steps_and_one_may_die(image):
    body = {"plan": [{"id": "find", "capability": "research"}]}
    with Stack(image) as stack:
        stack.up("--scale", "researcher=3").wait_serving(THREE)
        with Traffic(stack, rate=25, body=body) as traffic:
            traffic.run_for(3)  # caches are cold, one of them makes the index
            warm = time.time()
            traffic.run_for(2 * WINDOW_SECONDS)
        history = assert_nothing_lost(stack, traffic, "three researchers", share=0.995)
        # one that the machine has slowed down gets fewer steps, and is right to: the more even half counts
        halves = [shares_of(history, start, start + WINDOW_SECONDS) for start in (warm, warm + WINDOW_SECONDS)]
        shares = max(halves, key=min)
        print(f"shares: {[f'{share:.1%}' for share in shares]}, of {halves}")
        assert len(shares) == 3
        assert SHARE[0] <= shares[0]
        assert shares[-1] <= SHARE[1]

        with Traffic(stack, rate=20, body=body) as traffic:
            traffic.run_for(2)
            stack.crash(stack.containers("researcher")[1])
            traffic.run_for(5)
        assert_nothing_lost(stack, traffic, "one of three researchers crashed", share=0.995)
        stack.wait_serving(THREE)


@pytest.mark.parametrize("late", ["coordinator", "workers"])
def test_any_start_order(image, late):
    """No service waits for another, and none gives up."""
    first, last = (WORKERS, ("coordinator",)) if late == "coordinator" else (("coordinator",), WORKERS)
    with Stack(image) as stack:
        stack.up(*first)
        time.sleep(LATE_SECONDS[late])
        stack.compose("up", "-d", *last)
        answering = "coordinator" if late == "coordinator" else "analyzer"
        stack.wait_for(
            lambda: "200" in stack.exec(answering, "bash", "-c", READY, check=False), seconds=30, why=f"{late} ready"
        )
        seconds = stack.wait_serving(seconds=CONVERGED_SECONDS)

        print(f"{late} {LATE_SECONDS[late]:.0f} s later: all serve {seconds:.1f} s after the last is up")
        assert [stack.restarts(stack.container(service)) for service in (*first, *last)] == [0, 0, 0, 0]


READY = "exec 3<>/dev/tcp/127.0.0.1/8000 && printf 'GET /ready HTTP/1.0\\r\\n\\r\\n' >&3 && head -1 <&3"
