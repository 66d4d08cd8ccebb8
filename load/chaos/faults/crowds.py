"""Faults of many at once: a herd of callers, a slow agent, a hanging one and refusing ones among busy tasks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from load.chaos.crowd import Answer, ask_at_rate, ask_in_crowd, find_quantile
from load.chaos.engine import wait
from load.chaos.fault import Fault, at_least, at_most
from load.chaos.odd import odd_agents
from load.chaos.project import Project
from load.figures.figure import Figure

HERD = 2_000
PHASE_SECONDS = 8.0
QUICK = 0.05  # seconds that a good agent takes
RETRY_FLOOR = 1.0  # retries a second, and …
RETRY_RESERVE = 20  # … once, that the budget allows beyond its tenth


def slow_down_one(project: Project) -> list[Figure]:
    """One of three replicas takes 2 s more; steps may run twice."""
    with odd_agents(project, "swift-1", "swift-2", "swift-3", name="chaos-swift", idempotent=True, canary=True) as odd:
        for one in odd:
            one.turn("answer", seconds=QUICK)
        body = odd[0].plan(timeout=10)
        ask_at_rate(project, body, rate=20, seconds=PHASE_SECONDS)
        before = ask_at_rate(project, body, rate=20, seconds=PHASE_SECONDS)
        steps = sum(one.see()["steps"] for one in odd)
        odd[0].turn("answer", seconds=QUICK + 2)
        meanwhile = ask_at_rate(project, body, rate=20, seconds=2 * PHASE_SECONDS)
        more = sum(one.see()["steps"] for one in odd) - steps - len(meanwhile)
    rise = find_quantile(_list_seconds(meanwhile), 0.99) / find_quantile(_list_seconds(before), 0.99)
    return [
        at_most("p99, against before", rise, 1.2, "x"),
        at_most("second calls", 100 * more / len(meanwhile), 5, "%"),
        at_least("answered in full", _count_completed(meanwhile), len(meanwhile)),
    ]


def let_herd_in(project: Project) -> list[Figure]:
    """64 callers, which is what it can do; ten times as many; then 2,000 who ask once, all at once."""
    with odd_agents(project, "herd", max_concurrency=10_000) as [odd]:
        body = odd.plan(timeout=20)
        ask_in_crowd(project, body, callers=64, seconds=2.0)
        most, most_of_processor, _ = _drive(project, body, callers=64, seconds=PHASE_SECONDS / 2)
        rate, of_processor, crowd = _drive(project, body, callers=640, seconds=PHASE_SECONDS)
        herd = ask_in_crowd(project, body, callers=HERD, seconds=0.0)
        calm = wait(lambda: project.run_task(body, seconds=5.0)[0].get("status") == "completed")
    refused = [answer for answer in crowd + herd if answer.http == 429]
    other = sum(answer.http not in (200, 429) for answer in crowd + herd)
    return [
        at_least("640 callers: tasks a second of processor time", of_processor / most_of_processor, 0.8, "x"),
        Figure("640 callers: tasks a second, against 64", rate / most, "x"),
        at_most("2,000 at once: neither done nor 429", other, 0),
        at_most(f"of {len(refused)} refusals, without Retry-After", sum(not one.retry_after for one in refused), 0),
        at_most("refused within, p50", find_quantile(_list_seconds(refused), 0.5) if refused else 0.0, 0.1, "s"),
        at_most("well again after", calm, 5, "s"),
    ]


def refuse_all(project: Project) -> list[Figure]:
    """Three replicas answer 503 to every step for 10 s."""
    with odd_agents(project, "busy-1", "busy-2", "busy-3", name="chaos-busy") as odd:
        body = odd[0].plan(timeout=4)
        ask_at_rate(project, body, rate=20, seconds=2.0)
        before = sum(one.see()["steps"] for one in odd)
        for one in odd:
            one.turn("503")
        began = time.monotonic()
        answers = ask_at_rate(project, body, rate=20, seconds=10.0)
        took = time.monotonic() - began
        calls = sum(one.see()["steps"] for one in odd) - before
        for one in odd:
            one.turn("answer")
        back = wait(lambda: project.run_task(body, seconds=5.0)[0].get("status") == "completed")
    always = RETRY_FLOOR * took + RETRY_RESERVE
    return [
        at_most(
            "retries, less one a second and 20, of all calls", 100 * (calls - len(answers) - always) / calls, 10, "%"
        ),
        Figure("calls a task", calls / len(answers), "x"),
        at_most("slowest answer of 4 s tasks", max(_list_seconds(answers)), 5, "s"),
        at_most("steps are done again after", back, 5, "s"),
    ]


def hang_one_of_three(project: Project) -> list[Figure]:
    """Tasks for two agents, alone; then while a third hangs and gets twice as many."""
    with odd_agents(project, "one", "two", "three") as odd, ThreadPoolExecutor(3) as pool:
        for one in odd:
            one.turn("answer", seconds=QUICK)

        def ask_two() -> list[Answer]:
            bodies = [one.plan(timeout=10) for one in odd[:2]]
            asked = [pool.submit(ask_at_rate, project, body, rate=10, seconds=PHASE_SECONDS) for body in bodies]
            return [answer for one in asked for answer in one.result()]

        ask_at_rate(project, odd[0].plan(timeout=10), rate=20, seconds=2.0)
        before = ask_two()
        odd[2].turn("hang")
        hanging = pool.submit(ask_at_rate, project, odd[2].plan(timeout=10), rate=20, seconds=PHASE_SECONDS + 4)
        time.sleep(4.0)
        meanwhile = ask_two()
        late = max(_list_seconds(hanging.result()))
    kept = 100 * _count_completed(meanwhile) / max(1, _count_completed(before))
    return [
        at_least("tasks of the others, against before", kept, 95, "%"),
        at_most("p95 of the others", find_quantile(_list_seconds(meanwhile), 0.95), 1, "s"),
        at_most("slowest answer of 10 s tasks that hang", late, 11, "s"),
    ]


CROWDS = {
    7: Fault("one slow replica of three", "three odd agents, one takes 2 s more", slow_down_one, 90.0),
    25: Fault("everybody at once", "2,000 callers, an odd agent that answers at once", let_herd_in, 90.0),
    26: Fault("every replica answers 503", "three odd agents, 20 tasks a second", refuse_all, 90.0),
    27: Fault("one agent of three hangs", "three odd agents, 40 tasks a second", hang_one_of_three, 90.0),
}


def _drive(
    project: Project, body: Mapping[str, Any], *, callers: int, seconds: float
) -> tuple[float, float, list[Answer]]:
    """Tasks a second, tasks a second of the coordinator's processor time, and all answers."""
    used, began = project.read_metrics()["process_cpu_seconds_total"], time.monotonic()
    answers = ask_in_crowd(project, body, callers=callers, seconds=seconds)
    took, used = time.monotonic() - began, project.read_metrics()["process_cpu_seconds_total"] - used
    return _count_completed(answers) / took, _count_completed(answers) / used, answers


def _list_seconds(answers: list[Answer]) -> list[float]:
    return [answer.seconds for answer in answers]


def _count_completed(answers: list[Answer]) -> int:
    return sum(answer.status == "completed" for answer in answers)
