"""Who may speak for an agent: the article's agents without a secret, ids that are bound to one, names that keys own."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from coordinator.access.claims import operator_proof
from coordinator.access.keys import make_key
from shared.contracts import SECRET
from shared.worker.identity import Identity
from tests.support.fakes import Network, Suite, agent, eventually

BOUND = {"name": "echo", "endpoint": "http://echo", "capabilities": ["echo"], "instance": "box-80", "secret": "s" * 43}
ARTICLE = {"name": "test_agent", "endpoint": "http://localhost:9999", "capabilities": ["test"]}


def read_all(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def put(suite: Suite, body: dict[str, Any], key: str | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else None
    return await suite.client.post("/register_agent", json=body, headers=headers)


def stolen(**changes: Any) -> list[dict[str, Any]]:
    """What somebody can send who knows what `GET /agents` shows."""
    shown = {name: value for name, value in BOUND.items() if name != "secret"} | changes
    return [shown, shown | {"secret": "guessed"}, shown | {"secret": ""}, shown | {"secret": None}]


async def test_the_article_twice(coordinator: Suite) -> None:
    """201, then 200, any number of times, with the same key each time."""
    answers = [await put(coordinator, ARTICLE) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [201, 200, 200, 200]
    assert len({answer.json()["key"] for answer in answers}) == 1
    removed = await coordinator.client.delete(f"/agents/{answers[0].json()['agent_id']}")
    assert removed.json()["status"] == "removed"
    assert (await put(coordinator, ARTICLE)).status_code == 201


async def test_bound_id_is_only_for_its_secret(coordinator: Suite) -> None:
    """Beats, draining and DELETE without it change nothing; with it the key comes every time."""
    first = await put(coordinator, BOUND)
    agent_id = first.json()["agent_id"]
    before = await coordinator.agents()

    for body in [*stolen(), *stolen(draining=True), *stolen(capabilities=["mine"])]:
        answer = await put(coordinator, body)
        assert (answer.status_code in (403, 422), "key" in answer.json()) == (True, False), body
    for headers in ({}, {SECRET: "guessed"}, {SECRET: ""}, {SECRET: first.json()["key"]}):
        answer = await coordinator.client.delete(f"/agents/{agent_id}", headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:muster:problem:secret_refused")

    seen = await coordinator.agents()
    assert {host: (a.capabilities, a.status == "draining") for host, a in seen.items()} == {
        host: (a.capabilities, False) for host, a in before.items()
    }
    again = await put(coordinator, BOUND)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["key"] == first.json()["key"], "an answer that was lost comes again"
    assert (await coordinator.client.delete(f"/agents/{agent_id}", headers={SECRET: BOUND["secret"]})).is_success


async def test_first_secret_binds_an_id_that_had_none(coordinator: Suite) -> None:
    """A worker of the version before is registered; the next version of it is bound."""
    bare = stolen()[0]
    assert [(await put(coordinator, body)).status_code for body in (bare, bare, BOUND, bare)] == [201, 200, 200, 403]


async def test_withdrawn_id_stays_bound(coordinator: Suite) -> None:
    """Nobody takes a worker's place while that restarts."""
    agent_id = (await put(coordinator, BOUND)).json()["agent_id"]
    await coordinator.client.delete(f"/agents/{agent_id}", headers={SECRET: BOUND["secret"]})

    assert {(await put(coordinator, body)).status_code for body in stolen()[:2]} == {403}
    assert (await put(coordinator, BOUND)).status_code == 201


async def test_journal_keeps_a_hash_and_the_binding(tmp_path: Path) -> None:
    """After a restart, and in a restored journal, an id is bound as before; the secret is nowhere in the file."""
    file = tmp_path / "muster.db"
    async with Suite(Network(), database_url=f"sqlite:///{file}") as suite:
        await put(suite, BOUND)
    async with Suite(Network(), database_url=f"sqlite:///{file}") as suite:
        assert {(await put(suite, body)).status_code for body in stolen()[:2]} == {403}
        assert (await put(suite, BOUND)).status_code == 200

    with contextlib.closing(sqlite3.connect(file)) as db:
        (row,) = db.execute("SELECT registration, length(secret_hash) FROM agents").fetchall()
    assert (BOUND["secret"] in row[0], row[1]) == (False, 64)
    assert BOUND["secret"].encode() not in read_all(tmp_path)


async def test_operator_removes_a_bound_agent(coordinator: Suite) -> None:
    """Who can read the journal runs this suite; the id is as if it had never been there."""
    agent_id = (await put(coordinator, BOUND)).json()["agent_id"]
    proof = {SECRET: operator_proof(coordinator.services.secret, agent_id)}

    assert (await coordinator.client.delete(f"/agents/{agent_id}", headers=proof)).is_success
    assert (await put(coordinator, stolen()[0])).status_code == 201


@pytest.fixture
async def keyed(tmp_path: Path, network: Network) -> Any:
    """A suite with two keys of a file that only register, and `api_key`."""
    keys = {name: make_key(tmp_path / "keys", name, ["register"]) for name in ("one", "two")}
    async with Suite(network, api_key="all", keys_file=tmp_path / "keys") as suite:
        yield suite, keys


async def test_name_belongs_to_its_first_key(keyed: Any) -> None:
    """With any number of instances; another key gets neither the name nor the instances, also after they left."""
    suite, keys = keyed
    bare = {"name": "reporter", "endpoint": "http://a", "capabilities": ["report"]}
    more = bare | {"endpoint": "http://b", "instance": "b"}

    first = await put(suite, bare, keys["one"])
    assert (first.status_code, (await put(suite, more, keys["one"])).status_code) == (201, 201)
    for body in (bare, more, bare | {"endpoint": "http://evil"}):
        for key in (keys["two"], "all"):
            answer = await put(suite, body, key)
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:muster:problem:name_taken")
    taken = f"/agents/{first.json()['agent_id']}"
    other = await suite.client.delete(taken, headers={"Authorization": f"Bearer {keys['two']}"})
    assert (other.status_code, len(await suite.agents())) == (403, 2)
    assert (await suite.client.delete(taken, headers={"Authorization": f"Bearer {keys['one']}"})).is_success
    assert (await put(suite, bare, keys["two"])).status_code == 403
    assert (await put(suite, bare, keys["one"])).status_code == 201


async def test_both_keys_of_the_suite_own_the_same_names(tmp_path: Path) -> None:
    """An upgrade from `api_key` alone to `worker_key` goes on; so does a journal of before there were keys."""
    journal = f"sqlite:///{tmp_path}/muster.db"
    body = {"name": "reporter", "endpoint": "http://a", "capabilities": ["report"]}
    async with Suite(Network(), database_url=journal) as suite:
        assert (await put(suite, body)).status_code == 201
    for settings in ({"api_key": "all"}, {"api_key": "all", "worker_key": "some"}):
        async with Suite(Network(), database_url=journal, **settings) as suite:
            assert (await put(suite, body, [*settings.values()][-1])).status_code == 200


async def test_without_keys_names_are_shared(coordinator: Suite) -> None:
    for host in ("a", "b"):
        body = {"name": "reporter", "endpoint": f"http://{host}", "capabilities": ["report"]}
        assert (await put(coordinator, body)).status_code == 201


# --- workers ------------------------------------------------------------------------------------------


async def test_worker_that_lost_its_secret_works_at_once(coordinator: Suite) -> None:
    """It takes another instance; a step that is signed for its earlier self is sent again to it, and none fails."""
    killed = BOUND | {"instance": f"{socket.gethostname()[:50]}-80"}
    old = (await put(coordinator, killed)).json()["agent_id"]
    await coordinator.start(agent("echo", "echo"))
    registry = coordinator.services.agents.registry
    await eventually(lambda: [i.status for i in registry.list_all()] == ["healthy", "healthy"])

    tasks = [await coordinator.execute(agents=["echo"]) for _ in range(8)]

    assert {task.status for task in tasks} == {"completed"}
    await eventually(lambda: registry.get(old) is None, seconds=30)
    assert [i.status for i in registry.list_all()] == ["healthy"]


async def test_worker_drops_metadata_that_would_be_refused(coordinator: Suite) -> None:
    """A path of four thousand characters must not keep it out."""
    await coordinator.add(agent("echo", "echo", metadata=lambda: {"path": "x" * 5_000}))

    assert coordinator.services.agents.registry.list_all()[0].registration.metadata == {}


def test_secret_is_kept_in_the_state_dir(tmp_path: Path) -> None:
    """A restart with it keeps the id; with the folder wiped there is another id."""
    first = Identity("box-80", tmp_path)
    again = Identity("box-80", tmp_path)
    replica = Identity("box-81", tmp_path)
    assert (again.instance, again.secret) == (first.instance, first.secret) == ("box-80", first.secret)
    assert replica.secret != first.secret
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    again.renew()
    kept = Identity("box-80", tmp_path)
    assert (kept.instance, kept.secret) == (again.instance, again.secret) != (first.instance, first.secret)
    for path in tmp_path.iterdir():
        path.write_text("damaged")

    assert Identity("box-80", tmp_path).secret not in (first.secret, again.secret)
