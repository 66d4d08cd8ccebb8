"""Faults of registrations: twice, under another's name, by the thousand, at addresses that lead home."""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from load.chaos.crowd import Answer, ask_at_rate, find_quantile
from load.chaos.engine import inspect
from load.chaos.fault import Fault, at_least, at_most, holds
from load.chaos.odd import Odd, odd_agents
from load.chaos.project import SECRET, Project
from load.chaos.traffic import Traffic
from load.figures.figure import Figure

SPAM = 1_500
SPAM_RATE = 10_000 / 60  # a second
MOST_AGENTS = 1_000
METADATA = (
    "169.254.169.254",
    "2852039166",
    "0xA9FEA9FE",
    "0251.0376.0251.0376",
    "169.254.43518",
    "[fe80::1]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "metadata.google.internal",
    "169.254.170.2",
    "[fd00:ec2::254]",
    "100.100.100.200",
)
SCHEMES = (
    "file:///etc/passwd",
    "gopher://127.0.0.1:8000/_GET",
    "ftp://127.0.0.1/",
    "http://user:pass@127.0.0.1/",
    "//127.0.0.1/",
    "http:///x",
    "http://127.0.0.1:99999/",
    "javascript:alert(1)",
)


def register_twice(project: Project) -> list[Figure]:
    """The same again and again under load; then with another's secret, and from another address."""
    mine = {
        "name": "chaos-twin",
        "endpoint": "http://chaos-twin:8000",
        "capabilities": ["chaos-twin-work"],
        "instance": "twin",
        "secret": SECRET,
    }
    with odd_agents(project, "twin", secret=SECRET, instance="twin") as [odd], Traffic(project) as traffic:
        ids = set()
        for _ in range(100):
            ids.add(project.call("/register_agent", mine)[1]["agent_id"])
            time.sleep(0.02)
        listed = sum(agent["name"] == "chaos-twin" for agent in project.list_agents())
        stolen, _ = project.call("/register_agent", mine | {"secret": "t" * 43})
        gone: list[Figure] = []
        if not project.api_key:  # an administrator's key may withdraw any agent
            status, _ = project.call(f"/agents/{odd.view()['agent_id']}", method="DELETE")
            gone.append(holds("withdrawal without the secret is refused", status == 403))
        beside, said = project.call("/register_agent", mine | {"endpoint": "http://192.0.2.1:1", "instance": "thief"})
        moved = beside < 300 and said["agent_id"] in ids
        view, _ = project.run_task(odd.plan(timeout=10), seconds=15.0)
        project.withdraw_odd_agents()
    return [
        at_most("of 100 registrations, agents made", len(ids), 1),
        at_most("in the list", listed, 1),
        holds("another secret is refused", stolen == 403),
        *gone,
        holds("another address is another agent", not moved),
        holds("its steps still reach it", view.get("status") == "completed"),
        *traffic.judge(completed=99.5),
    ]


def spam(project: Project) -> list[Figure]:
    """1,500 new agents at 10,000 a minute, some of them huge."""
    with odd_agents(project, "beside") as [odd], ThreadPoolExecutor(9) as pool:
        body, seconds = odd.plan(timeout=10), SPAM / SPAM_RATE
        ask_at_rate(project, body, rate=20, seconds=2.0)
        before = [answer.seconds for answer in ask_at_rate(project, body, rate=20, seconds=seconds)]
        beside = pool.submit(ask_at_rate, project, body, rate=20, seconds=seconds)
        began, calls = time.monotonic(), []
        for number in range(SPAM):
            time.sleep(max(0.0, began + number / SPAM_RATE - time.monotonic()))
            calls.append(pool.submit(_register, project, number))
        statuses = Counter(call.result() for call in calls)
        answers = beside.result()
        kept = len(project.list_agents())
    meanwhile = [answer.seconds for answer in answers]
    return [
        at_most("agents kept", kept, MOST_AGENTS),
        at_least(f"of {SPAM}, refused with 429, 413 or 422", sum(statuses[s] for s in (413, 422, 429)), SPAM - 300),
        at_most("other answers", SPAM - sum(statuses[status] for status in (200, 201, 413, 422, 429)), 0),
        at_least("tasks beside it, answered in full", 100 * _share_completed(answers), 99.5, "%"),
        at_most("their p99, against before", find_quantile(meanwhile, 0.99) / find_quantile(before, 0.99), 1.2, "x"),
        Figure("their p50, against before", find_quantile(meanwhile, 0.5) / find_quantile(before, 0.5), "x"),
    ]


def lead_home(project: Project) -> list[Figure]:
    """Agents at addresses of metadata services, webhooks to a listener in the project's own network."""
    with odd_agents(project, "listens") as [odd]:
        hosts = [f"http://{host}/" for host in METADATA] + list(SCHEMES)
        listed = [_register_at(project, number, url) for number, url in enumerate(hosts)]
        hooks = _list_forms(project, odd)
        ids = [_ask_with_webhook(project, odd, hook) for hook in hooks]
        time.sleep(4.0)  # each has been tried at least once
        views = [project.call(f"/tasks/{id}")[1] for id in ids if id]
        healthy = sum(agent["agent_id"] in listed and agent["status"] == "healthy" for agent in project.list_agents())
        seen = odd.see()
    delivered = sum((view.get("webhook") or {}).get("status") == "delivered" for view in views)
    return [
        at_most(f"of {len(hosts)} agents at forbidden addresses, taken", sum(id is not None for id in listed), 0),
        at_most("of them, reached", healthy, 0),
        at_most(f"of {len(hooks)} webhooks to private addresses, that reached the listener", seen["posted"], 0),
        at_most("said to be delivered", delivered, 0),
    ]


REGISTRATIONS = {
    22: Fault("duplicate registrations", "100 heartbeats under load, another's secret and address", register_twice),
    23: Fault("registrations by the thousand", "1,500 new agents, some with 1 MB or 10,000 capabilities", spam, 90.0),
    33: Fault("addresses that lead home", "agents at metadata services, webhooks to an odd agent", lead_home),
}


def _register(project: Project, number: int) -> int:
    body: dict[str, Any] = {
        "name": f"chaos-spam-{number}",
        "endpoint": f"http://192.0.2.1:{number + 1}",
        "capabilities": [],
    }
    if number % 100 == 1:
        body["metadata"] = {"x": "y" * 1_000_000}
    if number % 100 == 2:
        body["capabilities"] = [f"c{n}" for n in range(10_000)]
    try:
        return project.call("/register_agent", body, seconds=20.0)[0]
    except OSError:
        return 0


def _register_at(project: Project, number: int, url: str) -> str | None:
    """The id of an agent that was taken at this address; None where it was refused."""
    status, said = project.call(
        "/register_agent", {"name": f"chaos-home-{number}", "endpoint": url, "capabilities": []}
    )
    return str(said["agent_id"]) if status in (200, 201) else None


def _list_forms(project: Project, odd: Odd) -> list[str]:
    """Ways to write the listener's own address."""
    found = inspect(odd.container)[0]["NetworkSettings"]["Networks"][project.network]["IPAddress"]
    address = ipaddress.IPv4Address(found)
    a, b, c, d = address.packed
    hosts = (
        f"{address}",
        f"{int(address)}",
        f"{int(address):#x}",
        f"{a:#o}.{b:#o}.{c:#o}.{d:#o}".replace("0o", "0"),
        f"{a}.{b}.{c * 256 + d}",
        f"[::ffff:{address}]",
        "chaos-listens",
        "chaos-listens.",
        "CHAOS-LISTENS",
        f"[64:ff9b::{address.packed[:2].hex()}:{address.packed[2:].hex()}]",
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "[::1]",
        "127.1",
        "coordinator",
    )
    return [f"http://{host}:8000/hook" for host in hosts]


def _ask_with_webhook(project: Project, odd: Odd, hook: str) -> str | None:
    """The id of a task that was taken with this webhook."""
    _, said = project.call("/execute_task", odd.plan(timeout=5, webhook_url=hook), seconds=10.0)
    view = said.get("task", said) if isinstance(said, dict) else {}
    return view.get("task_id")


def _share_completed(answers: list[Answer]) -> float:
    return sum(answer.status == "completed" for answer in answers) / max(1, len(answers))
