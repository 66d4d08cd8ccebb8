"""What delegating costs: three agents asked in one step, a hung agent that is never asked, and memory with a model."""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import track

from load.agents.stand_in import ALONE, ANSWER
from load.figures.figure import Figure
from load.figures.table import show
from load.processes.ports import free_port
from load.processes.services import wait_for_agents
from load.processes.stage import Stage
from load.processes.usage import read_pss_megabytes

AGENTS = ("alpha", "beta", "gamma")
AGENT_SECONDS = 0.5
MAX_STEP_SECONDS = 0.8
MAX_HUNG_MS = 10.0
MAX_MEGABYTES = 160.0
WARM_UP = 10


def main() -> int:
    given = _parse_arguments()
    with Stage() as stage:
        there, hung = _start_stand_in(stage), _start_stand_in(stage, "--hangs")
        peers = dict.fromkeys(AGENTS, there)
        direct = _start_captain(stage, "direct", there, peers)
        beside = _start_captain(stage, "beside", there, peers | {"hung": hung})
        url = f"http://127.0.0.1:{free_port()}"
        coordinator = stage.start("coordinator", "--port", url.rpartition(":")[2], env={"DATABASE_URL": "memory:"})
        stage.wait(coordinator, f"{url}/ready")
        for name in AGENTS:
            _post(f"{url}/register_agent", _build_registration(name, there))
        through = _start_captain(stage, "through", there, peers, coordinator=url)
        wait_for_agents(url, *AGENTS, "through")
        together = {
            "directly": _time_delegations(direct.url, given.rounds),
            "through the coordinator": _time_delegations(through.url, given.rounds),
        }
        alone = _time_alone(direct.url, beside.url, given.requests)
        memory = {c.name: read_pss_megabytes(c.pid) for c in (direct, beside, through)}
    figures = [
        *(
            Figure(f"three delegations of {AGENT_SECONDS} s at once, {how}", seconds, "s", target=MAX_STEP_SECONDS)
            for how, seconds in together.items()
        ),
        Figure("a hung agent adds to chats that do not ask it, p50", alone[1] - alone[0], "ms", target=MAX_HUNG_MS),
        Figure("  a chat without it, p50", alone[0], "ms"),
        Figure("  a chat beside it, p50", alone[1], "ms"),
        Figure("memory (PSS) of an agent with a model", max(memory.values()), "MB", target=MAX_MEGABYTES),
        *(Figure(f"  {name}", value, "MB") for name, value in memory.items()),
    ]
    notes = [
        f"The worst of {given.rounds} chats with delegations; medians of {given.requests} chats without, in turns.",
        "The model and the agents are a server that answers at once, or after its time.",
    ]
    return show("What delegating costs", figures, notes, as_json=given.json)


class Captain:
    """A generic agent as a process."""

    def __init__(self, name: str, url: str, pid: int) -> None:
        self.name, self.url, self.pid = name, url, pid


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m load.delegations",
        description="""Starts generic agents with a model and with three agents to ask, directly and through a
        coordinator, and one that may also ask an agent that hangs. Measures a chat in which all three are asked at
        once, chats in which no agent is asked, and memory. MB are 10^6 bytes; pages that processes share count once.
        Linux only. Ends what it started. Exit code 1: a target was missed.""",
    )
    parser.add_argument("--rounds", type=int, default=8, help="chats with delegations (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=100, help="chats without any (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser.parse_args()


def _start_stand_in(stage: Stage, *arguments: str) -> str:
    port = free_port()
    process = stage.start("load.stand_in", "--port", str(port), "--seconds", str(AGENT_SECONDS), *arguments, core=1)
    stage.wait(process, f"http://127.0.0.1:{port}/ready")
    return f"http://127.0.0.1:{port}"


def _start_captain(
    stage: Stage, name: str, model: str, peers: Mapping[str, str], *, coordinator: str | None = None
) -> Captain:
    port = free_port()
    env = {
        "AGENT_NAME": name,
        "MODEL_API_URL": model,
        "MODEL_NAME": "stand-in",
        "AGENT_SUB_AGENTS": ",".join(f"{peer}:{url}" for peer, url in peers.items()),
        "LOG_LEVEL": "WARNING",
    }
    env |= {"COORDINATOR_URL": coordinator} if coordinator else {}
    process = stage.start("workers.agent", "--port", str(port), env=env, core=0)
    stage.wait(process, f"http://127.0.0.1:{port}/ready")
    return Captain(name, f"http://127.0.0.1:{port}", process.pid)


def _build_registration(name: str, url: str) -> dict[str, Any]:
    return {"name": name, "endpoint": url, "capabilities": [name], "protocol": "openai"}


def _post(url: str, body: Mapping[str, Any]) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()


def _time_delegations(url: str, rounds: int) -> float:
    """Returns the seconds of the slowest of `rounds` chats in which every agent is asked, after one to warm up."""
    chat = _Chat(url)
    chat.time_answer("How many ships are there?")
    return max(chat.time_answer("How many ships are there?") for _ in range(rounds))


def _time_alone(one: str, other: str, requests: int) -> Sequence[float]:
    """Returns median milliseconds of chats with two agents in turn, in which neither asks another agent."""
    chats = (_Chat(one), _Chat(other))
    taken: tuple[list[float], list[float]] = ([], [])
    for round_ in track(range(WARM_UP + requests), "measuring", console=Console(stderr=True), transient=True):
        for chat, times in zip(chats, taken, strict=True):
            elapsed = chat.time_answer(ALONE)
            if round_ >= WARM_UP:
                times.append(elapsed * 1000)
    return [statistics.median(times) for times in taken]


class _Chat:
    """Chats over one connection that is kept."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(url.partition("//")[2], timeout=30)

    def time_answer(self, question: str) -> float:
        """Returns how many seconds the answer took; exits when the answer is wrong."""
        body = json.dumps({"messages": [{"role": "user", "content": question}]})
        began = time.perf_counter()
        self._connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        said = answer.read().decode()
        elapsed = time.perf_counter() - began
        if answer.status != 200 or ANSWER not in said:
            sys.exit(f"A chat was answered {answer.status}: {said[:500]}")
        return elapsed


if __name__ == "__main__":
    sys.exit(main())
