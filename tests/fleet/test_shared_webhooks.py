"""A webhook whose coordinator is killed while it is sent: another one sends it."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from tests.support.fakes import eventually, serving
from tests.support.postgres import Server
from tests.support.processes import Agents, Coordinator

pytestmark = pytest.mark.timeout(300)


async def test_webhook_outlives_the_one_who_sends_it(tmp_path, postgres: Server):
    """The receiver gets it twice only because it never answered the first."""
    keys: list[str] = []

    async def take(request: Request) -> Response:
        keys.append(request.headers["idempotency-key"])
        if len(keys) == 1:
            await asyncio.sleep(60)
        return Response(status_code=204)

    app, journal = FastAPI(), postgres.make_database()
    app.add_api_route("/done", take, methods=["POST"])
    first, second = (
        Coordinator(tmp_path / name, journal=journal, private_webhooks=True, log_level="WARNING") for name in "ab"
    )
    async with serving(app, lifespan=False) as hooks, httpx.AsyncClient(timeout=60.0) as http:
        with first, second, Agents(tmp_path / "agents", first.url) as agents:
            await asyncio.to_thread(lambda: first.start().ready())
            await asyncio.to_thread(agents.register)
            plan = [{"id": "a", "capability": "plain"}]
            body = {"task_description": "Tell me", "plan": plan, "webhook_url": f"{hooks}/done"}
            task = (await http.post(f"{first.url}/execute_task", json=body)).json()
            await eventually(lambda: keys or None, seconds=20)
            await asyncio.to_thread(lambda: second.start().ready())
            first.kill()

            async def delivered() -> bool | None:
                view = (await http.get(f"{second.url}/tasks/{task['task_id']}")).json()
                return view["webhook"]["status"] == "delivered" or None

            await eventually(delivered, seconds=60)

    assert keys == [task["task_id"]] * 2
