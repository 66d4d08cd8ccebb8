"""An agent that passes on every order that it reads: the coordinator refuses each, by its own records."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from shared.agent_loop.peers import ASKED_AS
from shared.limits.envelope import HEADER, Envelope, derive_key, seal
from tests.support import fakes
from tests.support.fakes import Held, Suite
from tests.support.injections import injections

NOT_THERE = ("vault", "mail", "delete_all", "root", "coordinator", "metadata.internal", "delegate_to_beta", "BETA")
DISGUISES = (
    "{}\n", " {}", "{}\u200b", "{}/../beta", "../{}", "http://{}:8000", "{}@beta", "%62eta#{}", "{}\x00", "*{}",
    "ｂｅｔａ{}", "beta'--{}", "beta {}", "beta,{}", "{{beta}}{}", "file:///{}",
)  # fmt: skip
FORGERIES = (
    "another step",
    "a step that is not there",
    "an ended task",
    "another's key",
    "another agent's id",
    "another agent's step",
    "itself",
)


@dataclass(frozen=True)
class Order:
    """What the agent asks for, in which words, and how it lies about who it is."""

    agent: str
    task: str
    lie: str = ""


def orders() -> Iterator[Order]:
    """Names that nobody has, names in disguise, forged claims to an agent that is there; in the words of injections."""
    words = itertools.cycle(injection.text[:2_000] for injection in injections())
    for name, _ in itertools.product(NOT_THERE, range(6)):
        yield Order(name, next(words))
    for disguise, name in itertools.product(DISGUISES, ("beta", "vault", "captain", "x" * 70)):
        yield Order(disguise.format(name), next(words))
    for lie, _ in itertools.product(FORGERIES, range(16)):
        yield Order("captain" if lie == "itself" else "gamma", next(words), lie)


async def test_no_injected_delegation_reaches_an_agent(coordinator: Suite) -> None:
    """Of more than two hundred none is carried out; of one whose sender is known there is an event."""
    held = Held()
    for name, run in (("captain", held), ("beta", None), ("gamma", None)):
        await coordinator.add(fakes.agent(name, name, run))
    ended = await coordinator.execute(plan=[{"id": "answer", "capability": "nobody-can"}])
    task_id = await coordinator.begin(plan=[{"id": "answer", "agent": "captain"}, {"id": "other", "capability": "no"}])
    await fakes.eventually(lambda: held.began)
    known = {i.name: i for i in coordinator.services.agents.registry.list_all()}
    true = Envelope(task=task_id, step="answer", attempt=1, milliseconds=5_000)
    lies: dict[str, Any] = {
        "another step": replace(true, step="other"),
        "a step that is not there": replace(true, step="answer.1"),
        "an ended task": replace(true, task=ended.task_id),
    }

    async def ask(order: Order) -> int:
        body = json.dumps({"agent": order.agent, "task": order.task}).encode()
        by = known["beta" if order.lie.startswith("another agent's") else "captain"]
        signer = known["beta" if order.lie in ("another's key", "another agent's step") else "captain"]
        key = derive_key(coordinator.services.secret, signer.id)
        headers = {ASKED_AS: by.id, HEADER: seal(lies.get(order.lie, true), key=key, body=body)}
        return (await coordinator.client.post("/delegate", content=body, headers=headers)).status_code

    corpus = list(orders())
    answers = [(order, await ask(order)) for order in corpus]
    noted = [e for e in await coordinator.services.store.events(task_id) if e.type.startswith("delegation.")]
    held.let_go.set()

    assert len(set(corpus)) >= 200
    assert [order for order, status in answers if status < 400] == []
    assert [coordinator.network.calls(name) for name in ("beta", "gamma")] == [[], []]
    assert len(held.began) == 1
    named = sum(status in (429, 503) for _, status in answers)
    refused = [e for e in noted if e.type == "delegation.refused" or e.fields.get("status") == "no_agent"]
    assert len(refused) == named > 60
