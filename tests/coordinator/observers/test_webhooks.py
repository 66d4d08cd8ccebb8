"""Webhooks: an ended task reaches its `webhook_url`, tried again until it does, and never a private address."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from shared.client.client import AddressRefused
from tests.support.fakes import Network, Suite, agent, eventually


class Receiver:
    """A receiver at `http://hooks` that answers with the given statuses in turn, then 204."""

    def __init__(self, network: Network, *statuses: int) -> None:
        self.got: list[tuple[str, dict[str, object]]] = []
        self._statuses = list(statuses)
        app = FastAPI()
        app.add_api_route("/done", self._take, methods=["POST"])
        network.host("hooks", app)

    async def _take(self, request: Request) -> Response:
        self.got.append((request.headers["idempotency-key"], json.loads(await request.body())))
        return Response(status_code=self._statuses.pop(0) if self._statuses else 204)


async def test_an_ended_task_is_posted_with_its_result(suite: Suite, network: Network) -> None:
    receiver = Receiver(network)

    task = await suite.execute("Why are there tides?", webhook_url="http://hooks/done")

    await eventually(lambda: receiver.got)
    key, body = receiver.got[0]
    assert key == task.task_id
    assert body["status"] == "completed"
    assert body["result"] == json.loads(task.model_dump_json())["result"]


async def test_a_receiver_that_fails_gets_it_again(suite: Suite, network: Network) -> None:
    receiver = Receiver(network, 500)

    task = await suite.execute("Why are there tides?", webhook_url="http://hooks/done")

    await eventually(lambda: len(receiver.got) == 2, seconds=10)
    assert [key for key, _ in receiver.got] == [task.task_id] * 2

    async def noted() -> list[str]:
        events = await suite.services.store.events(task.task_id)
        return [e.type for e in events if e.type.startswith("webhook")]

    assert await eventually(noted)
    assert (await noted())[0] == "webhook.failed"


async def test_a_receiver_that_hangs_holds_up_no_other(coordinator: Suite, network: Network) -> None:
    """More of its tasks than there are deliveries at once."""
    receiver, hanging = Receiver(network), asyncio.Event()
    app = FastAPI()

    async def hangs(request: Request) -> None:
        began.append(request)
        await hanging.wait()

    began: list[Request] = []
    app.add_api_route("/done", hangs, methods=["POST"])
    network.host("hung", app)
    await coordinator.add(agent("echo", "echo"))
    for _ in range(20):
        await coordinator.execute(agents=["echo"], webhook_url="http://hung/done")
    await eventually(lambda: began)

    task = await coordinator.execute(agents=["echo"], webhook_url="http://hooks/done")

    await eventually(lambda: receiver.got, seconds=3)
    assert receiver.got[0][0] == task.task_id
    assert len(began) <= 4
    hanging.set()
    await eventually(lambda: len(began) == 20)


async def test_a_receiver_that_is_away_harms_no_task(suite: Suite) -> None:
    task = await suite.execute("Why are there tides?", webhook_url="http://nobody-there/done")

    assert task.status == "completed"


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:9/",
        "http://10.0.0.1/",
        "http://[::1]/",
        "http://2130706433/",
        "file:///etc/passwd",
        "ftp://example.org/x",
        "http://user:secret@example.org/",
        "http://xn--/",
        "not a url",
    ],
)
async def test_forbidden_webhook_is_refused_by_name(suite: Suite, url: str) -> None:
    """A webhook that must not be called is refused by name."""
    answer: httpx.Response = await suite.ask("Why are there tides?", webhook_url=url)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/webhook_url"
    assert (await suite.client.get("/tasks")).json()["tasks"] == []


async def followed(suite: Suite, task_id: str, status: str) -> dict[str, object]:
    """`webhook` of the TaskView, once it has this status."""

    async def seen() -> dict[str, object] | None:
        webhook: dict[str, object] = (await suite.client.get(f"/tasks/{task_id}")).json()["webhook"]
        return webhook if webhook["status"] == status else None

    found: dict[str, object] = await eventually(seen, seconds=20)
    return found


async def test_the_taskview_says_how_far_a_webhook_is(suite: Suite, network: Network) -> None:
    """Not delivered yet, delivered, and after how many attempts; absent for a task without one."""
    Receiver(network, 500)
    task = await suite.execute(webhook_url="http://hooks/done")
    without = await suite.execute()

    delivered = await followed(suite, task.task_id, "delivered")

    assert task.webhook is not None
    assert (task.webhook.status, task.webhook.attempts) == ("pending", 0)
    assert delivered == {"status": "delivered", "attempts": 2, "error": None}
    assert "webhook" not in (await suite.client.get(f"/tasks/{without.task_id}")).json()


class _Refusing(Network):
    """Where every host called `inside` has an address that may not be called."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "inside":
            raise AddressRefused("The address of inside:80 is not allowed.")
        return await super().handle_async_request(request)


async def test_the_taskview_says_why_a_webhook_is_never_sent() -> None:
    """A name that turns out to be a private address is given up at once, with the reason."""
    async with Suite(_Refusing(), agent("echo", "echo")) as suite:
        task = await suite.execute(agents=["echo"], webhook_url="http://inside/done")

        failed = await followed(suite, task.task_id, "failed")

    why = "AddressRefused: The address of inside:80 is not allowed."
    assert failed == {"status": "failed", "attempts": 1, "error": why}
