"""Keys with scopes: what each opens, how they are changed without a restart, and what the audit says of their use."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from coordinator.access.keys import Keys, make_key, remove_keys
from coordinator.access.scopes import ALL, Scope, accepted
from coordinator.cli.commands import cli
from shared.errors import MusterError
from tests.support.fakes import Network, Suite, agent
from tests.support.processes import Coordinator

OPEN = ("/health", "/ready", "/.well-known/agent-card.json")
ROUTES = {  # and a scope that opens it
    ("POST", "/execute_task"): {"execute"},
    ("POST", "/tasks/none/cancel"): {"execute"},
    ("POST", "/v1/chat/completions"): {"execute"},
    ("POST", "/a2a"): {"execute"},
    ("POST", "/mcp"): {"execute"},
    ("POST", "/"): {"execute"},
    ("POST", "/agents/echo/execute"): {"execute"},
    ("DELETE", "/agents/echo/memory"): {"execute"},
    ("GET", "/tasks"): {"read"},
    ("GET", "/tasks/none/report"): {"read"},
    ("GET", "/agents"): {"read"},
    ("GET", "/agents/echo/health"): {"read"},
    ("GET", "/stats"): {"read"},
    ("GET", "/metrics"): {"read"},
    ("GET", "/memory/events"): {"read"},
    ("GET", "/v1/models"): {"read", "execute"},
    ("GET", "/openapi.json"): {"read", "execute"},
    ("POST", "/register_agent"): {"register"},
    ("POST", "/delegate"): {"register"},
    ("DELETE", "/agents/none"): {"register", "admin"},
    ("GET", "/audit"): {"admin"},
}


class Clock:
    at = 0.0

    def __call__(self) -> float:
        return self.at


async def asked(suite: Suite, method: str, path: str, key: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {"Authorization": ""}
    return await suite.client.request(method, path, headers=headers, content=b"{}" if method == "POST" else None)


def is_shut(answer: httpx.Response) -> bool:
    """Whether the key alone is why: a delegation without an envelope is refused, too."""
    return answer.status_code in (401, 403) and "envelope" not in answer.text


@pytest.mark.parametrize("scope", [*Scope])
async def test_key_opens_only_what_its_scope_says(scope: Scope, tmp_path: Path, network: Network) -> None:
    key = make_key(tmp_path / "keys", "one", [scope])
    async with Suite(network, agent("echo", "echo"), api_key="all", keys_file=tmp_path / "keys") as suite:
        opened = {route for route in ROUTES if not is_shut(await asked(suite, *route, key))}
        refused = await asked(suite, "POST" if scope is not Scope.EXECUTE else "GET", "/tasks/t/cancel", key)
        free = [(await asked(suite, "GET", path, "")).status_code for path in OPEN]

    assert opened == {route for route, scopes in ROUTES.items() if scope in scopes}
    assert refused.json()["type"] == "urn:muster:problem:scope_refused"
    assert free == [200, 200, 200]


async def test_api_key_opens_everything_worker_key_registers(network: Network) -> None:
    """No key, a wrong one or half of one opens nothing."""
    async with Suite(network, agent("echo", "echo"), api_key="all", worker_key="some") as suite:
        for route, scopes in ROUTES.items():
            answers = {key: await asked(suite, *route, key) for key in ("all", "some", "", "al", "alll", "None")}
            refused = {key for key, answer in answers.items() if is_shut(answer)}
            assert refused - {"some"} == {"", "al", "alll", "None"}, route
            assert ("some" in refused) == ("register" not in scopes), route


@pytest.mark.parametrize("path", ["/agents", "/agents/", "/agents/a/b", "/agents/a/", "//agents/a", "/x"])
def test_only_one_delete_is_for_agents(path: str) -> None:
    """Another path that looks like it needs what every change needs."""
    assert accepted("DELETE", path) in ({Scope.EXECUTE}, {Scope.REGISTER, Scope.ADMIN})
    assert (Scope.REGISTER in accepted("DELETE", path)) == (path == "/agents/")


def test_keys_are_changed_without_a_restart(tmp_path: Path) -> None:
    """Two keys of one name work at the same time; one that is removed does not work a second later."""
    file, clock = tmp_path / "keys", Clock()
    old = make_key(file, "reports", ["read"])
    keys = Keys(file=file, now=clock)
    keys.load()
    new = make_key(file, "reports", ["read", "execute"])
    clock.at += 1

    assert [keys.find(key).name for key in (old, new)] == ["reports", "reports"]  # type: ignore[union-attr]
    file.write_text("".join(file.read_text().splitlines(keepends=True)[1:]))
    clock.at += 1
    assert (keys.find(old), keys.find(new).scopes) == (None, {Scope.READ, Scope.EXECUTE})  # type: ignore[union-attr]
    assert remove_keys(file, "reports") == 1
    clock.at += 1
    assert (keys.find(new), keys.wanted) == (None, True), "a file that is empty leaves nothing open"


@pytest.mark.parametrize("broken", ["reports read", "reports read sha256:12", "reports paint sha256:" + "0" * 64, None])
def test_file_that_breaks_leaves_the_keys(broken: str | None, tmp_path: Path) -> None:
    """While it runs; a coordinator that starts refuses to, and says which line is wrong."""
    file, clock = tmp_path / "keys", Clock()
    key = make_key(file, "reports", ["read"])
    keys = Keys(file=file, now=clock)
    keys.load()
    if broken is None:
        file.unlink()
    else:
        file.write_text(f"# a comment\n\n{broken}\n")
    clock.at += 1

    assert keys.find(key) is not None
    with pytest.raises(MusterError, match=r"line 3: .*\.$" if broken else "cannot be read"):
        Keys(file=file).load()


def test_file_has_no_key(tmp_path: Path) -> None:
    """A copy of it opens nothing; nobody else reads it; and the suite's own names are not for it."""
    key = make_key(tmp_path / "keys", "one", ["read"])

    assert key not in (tmp_path / "keys").read_text()
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600
    for name in ("api_key", "worker_key", "suite", "two words", "", "x" * 64):
        with pytest.raises(ValueError, match="cannot be a key's name"):
            make_key(tmp_path / "keys", name, ["read"])


def test_setting_may_be_a_digest() -> None:
    """`API_KEY=sha256:…` opens for the key, not for the digest."""
    digest = "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"  # of "secret"
    keys = Keys(api_key=digest)

    assert keys.find(digest) is None
    found = keys.find("secret")
    assert found is not None
    assert found.scopes == ALL


async def told(suite: Suite, key: str = "all") -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = (await asked(suite, "GET", "/audit?limit=1000", key)).json()["entries"]
    return entries


async def test_audit_says_who_what_and_from_where(tmp_path: Path, network: Network) -> None:
    key = make_key(tmp_path / "keys", "one", ["register"])
    body = {"name": "a", "endpoint": "http://a", "capabilities": []}
    headers = {"Authorization": f"Bearer {key}"}
    async with Suite(network, api_key="all", keys_file=tmp_path / "keys") as suite:
        await asked(suite, "GET", "/tasks", "wrong")
        await asked(suite, "GET", "/tasks", key)
        mine = (await suite.client.post("/register_agent", json=body, headers=headers)).json()["agent_id"]
        await suite.client.post("/register_agent", json=body)
        await suite.client.post("/register_agent", json=body | {"name": "-"}, headers=headers)
        await suite.client.delete(f"/agents/{mine}", headers=headers)
        entries = await told(suite)

    assert {entry["address"] for entry in entries} == {"127.0.0.1"}
    said = [(e["type"].removeprefix("audit."), e["caller"], e.get("path") or e.get("agent_id")) for e in entries[::-1]]
    assert said == [
        ("key_refused", None, "/tasks"),
        ("scope_refused", "one", "/tasks"),
        ("key_used", "one", "/register_agent"),
        ("key_used", "api_key", "/register_agent"),
        ("registration_refused", "api_key", None),
        ("registration_refused", "one", None),
        ("agent_deleted", "one", mine),
        ("key_used", "api_key", "/audit"),
    ]
    why = [e["why"] for e in entries if "why" in e]
    assert "/name" in why[0]
    assert "belongs to the key" in why[1]


async def test_restore_is_in_the_audit_once(tmp_path: Path) -> None:
    """Of the journal that was restored, with who did it and where the one before is."""
    url = f"sqlite:///{tmp_path}/muster.db"
    async with Suite(Network(), database_url=url) as suite:
        await suite.register("a", "http://a")
    for command in ("backup", "restore"):
        done = await asyncio.to_thread(
            CliRunner().invoke, cli, [command, str(tmp_path / "copy"), "--database-url", url]
        )
        assert done.exit_code == 0, done.output
    for _ in range(2):
        async with Suite(Network(), database_url=url) as suite:
            entries = (await suite.client.get("/audit")).json()["entries"]

            assert [entry["type"] for entry in entries] == ["audit.journal_restored"]
            assert (entries[0]["address"], entries[0]["backup"]) == (socket.gethostname(), str(tmp_path / "copy"))
            assert "before-restore" in entries[0]["kept"]


async def test_flood_of_refusals_is_bounded(network: Network) -> None:
    """What was left out is counted."""
    async with Suite(network, api_key="all") as suite:
        for _ in range(150):
            await asked(suite, "GET", "/tasks", "wrong")
        entries = [e for e in await told(suite) if e["type"] == "audit.key_refused"]

    assert 100 <= len(entries) <= 110


def test_commands_make_and_remove_keys_and_agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key that may administer, or with the journal alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEYS_FILE", str(tmp_path / "keys"))
    made = CliRunner().invoke(cli, ["keys", "add", "ops", "--scopes", "admin, read"])
    wrong = CliRunner().invoke(cli, ["keys", "add", "ops", "--scopes", "paint"])
    body = {"name": "a", "endpoint": "http://127.0.0.1:9", "capabilities": [], "secret": "s"}
    with Coordinator(tmp_path / "c", api_key="all", keys_file=str(tmp_path / "keys")) as coordinator:
        url = coordinator.start().ready().url
        removed = []
        for how in (["--key", made.stdout.strip()], ["--key", "all"]):
            headers = {"Authorization": "Bearer all"}
            agent_id = httpx.post(f"{url}/register_agent", json=body, headers=headers).json()["agent_id"]
            removed.append(CliRunner().invoke(cli, ["agents", "remove", agent_id, "--url", url, *how]))
        refused = CliRunner().invoke(cli, ["agents", "remove", "nobody", "--url", url, "--key", "all"])
        listed = CliRunner().invoke(cli, ["agents", "--url", url, "--key", made.stdout.strip()])

    assert (made.exit_code, wrong.exit_code) == (0, 1)
    assert "'paint' is not a scope" in wrong.output
    assert [done.exit_code for done in removed] == [0, 0], removed[0].output + removed[1].output
    assert (refused.exit_code, listed.exit_code) == (1, 0)
    assert CliRunner().invoke(cli, ["keys", "remove", "ops"]).exit_code == 0
    assert CliRunner().invoke(cli, ["keys", "remove", "ops"]).exit_code == 1
    assert os.path.getsize(tmp_path / "keys") == 0


def test_journal_alone_lets_its_owner_remove_an_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no key at all."""
    monkeypatch.chdir(tmp_path)
    journal = tmp_path / "c" / "muster.db"
    with Coordinator(tmp_path / "c", database_url=f"sqlite:///{journal}") as coordinator:
        url = coordinator.start().ready().url
        body = {"name": "a", "endpoint": "http://127.0.0.1:9", "capabilities": [], "secret": "s"}
        agent_id = httpx.post(f"{url}/register_agent", json=body).json()["agent_id"]
        plain = CliRunner().invoke(cli, ["agents", "remove", agent_id, "--url", url])
        done = CliRunner().invoke(
            cli, ["agents", "remove", agent_id, "--url", url, "--database-url", f"sqlite:///{journal}"]
        )
        left = httpx.get(f"{url}/agents").json()["agents"]

    assert (plain.exit_code, done.exit_code, left) == (1, 0, []), done.output
    assert "secret" in plain.output


async def test_new_agents_are_limited_heartbeats_are_not(network: Network) -> None:
    """200 at once, and 60 a minute."""
    async with Suite(network) as suite:
        bodies = [{"name": f"a{n}", "endpoint": f"http://a{n}", "capabilities": []} for n in range(400)]
        taken = 0
        while (answer := await suite.client.post("/register_agent", json=bodies[taken])).status_code == 201:
            taken += 1
        beats = [await suite.client.post("/register_agent", json=body) for body in bodies[:taken]]

    assert (200 <= taken < 300, answer.status_code) == (True, 429)
    assert int(answer.headers["Retry-After"]) >= 1
    assert {answer.status_code for answer in beats} == {200}


async def test_leases_return_all_at_once_after_a_restart(tmp_path: Path) -> None:
    """The ids are in the journal, whether their agents are on the list or have left."""
    journal = f"sqlite:///{tmp_path}/muster.db"
    bodies = [{"name": f"a{n}", "endpoint": f"http://a{n}", "capabilities": []} for n in range(150)]
    async with Suite(Network(), database_url=journal) as suite:
        ids = [(await suite.client.post("/register_agent", json=body)).json()["agent_id"] for body in bodies]
        for agent_id in ids[:100]:
            await suite.client.delete(f"/agents/{agent_id}")
    async with Suite(Network(), database_url=journal) as suite:
        back = {(await suite.client.post("/register_agent", json=body)).status_code for body in bodies}
        new = [body | {"instance": "new"} for body in bodies]
        more = {(await suite.client.post("/register_agent", json=body)).status_code for body in new}

    assert back == {200, 201}
    assert more == {201}, "and took no place of those who are new"


@pytest.mark.parametrize(("size", "status"), [(4_000, 201), (4_200, 422), (1_500_000, 422)])
async def test_metadata_has_four_kilobytes(coordinator: Suite, size: int, status: int) -> None:
    body = {"name": "a", "endpoint": "http://a", "capabilities": [], "metadata": {"text": "x" * size}}
    answer = await coordinator.client.post("/register_agent", json=body)

    assert (answer.status_code, len(json.dumps(answer.json())) < 1_000) == (status, True)
