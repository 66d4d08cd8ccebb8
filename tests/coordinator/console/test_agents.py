"""The pages of agents: what they show, and who may drain and remove."""

from __future__ import annotations

import asyncio

from coordinator.console.agents import ON_A_PAGE
from tests.coordinator.console.test_pages import HTML, KEY, PAINT, log_in, token, visitor_of
from tests.support.fakes import Held, Network, Suite, agent, eventually


async def test_list_shows_who_works_on_what(suite: Suite) -> None:
    """An agent with a step has its task beside it; its own page has it, too."""
    held = Held()
    await suite.add(agent("painter", "paint", held, max_concurrency=3))
    task_id = await suite.begin("Paint it green", plan=PAINT, timeout_seconds=300)
    await eventually(lambda: held.began)
    agent_id = (await suite.agents())["painter"].agent_id

    pages = [await suite.client.get(f"/console/agents{one}", headers=HTML) for one in ("?q=PAINT", f"/{agent_id}")]

    assert [f"/console/tasks/{task_id}" in page.text for page in pages] == [True, True]
    assert "researcher" not in pages[0].text.partition("<tbody>")[2]
    held.let_go.set()


async def test_those_in_trouble_stand_first(suite: Suite, network: Network) -> None:
    network.unplug("reporter")
    await suite.sees("reporter", "unreachable")

    page = (await suite.client.get("/console/agents", headers=HTML)).text.partition("<tbody>")[2]

    assert page.index("reporter") < page.index("analyzer") < page.index("researcher")


async def test_many_agents_come_in_pages(coordinator: Suite) -> None:
    for n in range(ON_A_PAGE + 5):
        await coordinator.register(f"agent-{n:03}", f"http://nowhere-{n}", "x")

    first, second = [await coordinator.client.get(f"/console/agents?page={n}", headers=HTML) for n in (1, 2)]

    assert (first.text.count("<tr id="), second.text.count("<tr id=")) == (ON_A_PAGE, 5)


async def test_drained_agent_gets_no_step_until_resumed(network: Network) -> None:
    """Whatever its heartbeats say; what it worked on went on."""
    async with Suite(network, agent("echo", "echo"), api_key=KEY) as suite, visitor_of(suite) as visitor:
        await log_in(visitor)
        agent_id = (await suite.agents())["echo"].agent_id
        form = {"token": token(await visitor.get(f"/console/agents/{agent_id}"))}

        await visitor.post(f"/console/agents/{agent_id}/drain", data=form)
        await asyncio.sleep(2.5)  # longer than a heartbeat
        drained = (await suite.agents())["echo"].status
        refused = await suite.execute(plan=[{"id": "one", "capability": "echo", "timeout_seconds": 0.5}])
        await visitor.post(f"/console/agents/{agent_id}/resume", data=form)
        await suite.sees("echo", "healthy")
        done = await suite.execute(plan=[{"id": "one", "capability": "echo"}])

    assert (drained, refused.status, done.status) == ("draining", "failed", "completed")


async def test_removed_agent_is_gone_and_audited(network: Network) -> None:
    async with Suite(network, api_key=KEY) as suite, visitor_of(suite) as visitor:
        await log_in(visitor)
        registered = await suite.register("hand", "http://nowhere", "x", secret="secret")
        form = {"token": token(await visitor.get("/console/agents"))}

        answer = await visitor.post(f"/console/agents/{registered['agent_id']}/remove", data=form)
        entries = (await suite.client.get("/audit")).json()["entries"]
        left = await suite.agents()

    assert (answer.status_code, left) == (303, {})
    assert {"audit.agent_deleted"} <= {entry["type"] for entry in entries}


async def test_without_keys_secrets_still_count(suite: Suite) -> None:
    """Whoever reaches the port is not the operator: an agent with a secret stays, one without may go."""
    bound = (await suite.agents())["reporter"].agent_id
    free = (await suite.register("hand", "http://nowhere", "x"))["agent_id"]
    form = {"token": token(await suite.client.get("/console/agents", headers=HTML))}

    changes = [(bound, "drain"), (bound, "remove"), (free, "drain"), (free, "remove")]
    answers = [await suite.client.post(f"/console/agents/{one}/{change}", data=form) for one, change in changes]

    assert [answer.status_code for answer in answers] == [403, 403, 303, 303]


async def test_agents_card_is_shown(suite: Suite) -> None:
    agent_id = (await suite.agents())["reporter"].agent_id

    card = await suite.client.get(f"/console/agents/{agent_id}/card")

    assert card.json()["name"] == "reporter"
    assert "sandbox" in card.headers["content-security-policy"]
