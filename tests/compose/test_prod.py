"""The production file: alone, with a key from a file, under both versions of Compose, and as a Swarm stack."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.compose.conftest import KEY
from tests.support.docker import ROOT, docker, inspected, run
from tests.support.stack import IN_PRODUCTION, V1, V2, WORKERS, Stack

FILE = "docker-compose.prod.yml"
MEGABYTES = (
    dict.fromkeys(("coordinator", "coordinator-2", "postgres"), 1024) | dict.fromkeys(WORKERS, 512) | {"caddy": 256}
)
TWO_EACH = ["analyzer", "analyzer", "reporter", "reporter", "researcher", "researcher"]

pytestmark = pytest.mark.timeout(180, func_only=True)


def keyed(key_file: Path) -> dict[str, str]:
    """What tells Compose where the files are that `make secrets` makes."""
    return {"API_KEY_FILE": str(key_file), "DATABASE_PASSWORD_FILE": str(key_file.with_name("database_password"))}


CADDYFILE = "caddyfile_" + hashlib.sha256((ROOT / "docs/deploy/Caddyfile").read_bytes()).hexdigest()[:8]


def test_the_secret_of_the_caddyfile_is_named_by_its_digest():
    """Swarm replaces no secret: another file needs another name."""
    assert CADDYFILE in yaml.safe_load((ROOT / FILE).read_text())["secrets"]


def agents(stack: Stack, key: str | None) -> httpx.Response:
    with stack.client() as client:
        return client.get("/agents", headers={"Authorization": f"Bearer {key}"} if key else {})


def list_healthy(answer: httpx.Response) -> list[str]:
    return sorted(a["name"] for a in answer.json()["agents"] if a["status"] == "healthy")


def cites_an_upload(stack: Stack, client: httpx.Client, headers: dict[str, str]) -> None:
    """A document that was sent to the coordinator is searched by both researchers, and cited."""
    text = "# Fountain\n\n## Pump\n\nThe pump of the fountain runs at three bar.\n"
    sent = client.put("/documents/fountain.md", content=text, headers=headers)
    assert sent.status_code == 201, sent.text
    stack.wait_for(
        lambda: len(client.get("/documents", headers=headers).json()["searched_by"]) == 2,
        why="both coordinators know both researchers",
    )
    body = {"task_description": "At what pressure does the pump of the fountain run?"}

    def cited() -> bool:
        sources = client.post("/execute_task", json=body, headers=headers).json()["result"]["sources"]
        return bool(sources) and sources[0]["location"].startswith("uploads/fountain.md")

    stack.wait_for(cited, seconds=60, why="the upload is cited")
    for container in stack.containers("researcher"):
        assert docker("exec", container, "cat", "/uploads/fountain.md") == text.strip()
        assert "Read-only" in docker("exec", container, "sh", "-c", "touch /uploads/x 2>&1 || true")


@pytest.mark.parametrize("program", [V2, V1], ids=["v2", "1.29"])
def test_up_with_a_key_from_a_file(image, key_file, program):
    env = keyed(key_file) | {"UPLOADS_DIR": "/uploads"}
    with Stack(image, file=FILE, program=program, env=env) as stack:
        stack.compose("up", "-d", *(["--no-build"] if program == V1 else []))

        def serving() -> bool:
            try:
                answer = agents(stack, KEY)
            except httpx.TransportError:
                return False
            return answer.status_code == 200 and list_healthy(answer) == TWO_EACH

        stack.wait_for(serving, seconds=60, why="two of each worker")
        assert agents(stack, None).status_code == 401
        assert agents(stack, "another").status_code == 401
        with stack.client() as client:
            headers = {"Authorization": f"Bearer {KEY}"}
            body = {"task_description": "How does Muster survive a crash?"}
            assert client.post("/execute_task", json=body, headers=headers).json()["status"] == "completed"
            cites_an_upload(stack, client, headers)
        published = [
            inspected(id)["HostConfig"]["PortBindings"] for one in IN_PRODUCTION for id in stack.containers(one)
        ]
        assert [each for each in published if each] == [
            {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(stack.port)}]}
        ]
        for service, megabytes in MEGABYTES.items():
            for container in stack.containers(service):
                found = inspected(container)
                host = found["HostConfig"]
                assert (host["Memory"], host["NanoCpus"]) == (megabytes * 1024**2, 10**9)
                assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
                assert host["RestartPolicy"]["Name"] == "always"
                assert (host["ReadonlyRootfs"], host["CapDrop"]) == (True, ["ALL"])
                assert KEY not in json.dumps(found)  # neither in the environment nor in the command
                assert KEY not in docker("logs", container)
                if service != "postgres":
                    assert all(json.loads(line) for line in docker("logs", container).splitlines())


def test_worker_key_takes_over_from_the_api_key(image, key_file, tmp_path):
    """An upgrade with `api_key` alone goes on; with `worker_key`, workers have a key that only registers."""
    worker_key = tmp_path / "worker_key"
    worker_key.write_text("another-key-0123456789\n")
    worker_key.chmod(0o644)
    bearer = {"Authorization": "Bearer another-key-0123456789"}
    with Stack(image, file=FILE, env=keyed(key_file)) as stack:

        def serving(keys: int) -> bool:
            try:
                answer = agents(stack, KEY)
                return answer.status_code == 200 and list_healthy(answer) == TWO_EACH and asked(keys) == keys
            except httpx.TransportError:
                return False

        def asked(keys: int) -> int:
            with stack.client() as client:
                return {401: 1, 403: 2}.get(client.get("/tasks", headers=bearer).status_code, 0)

        stack.compose("up", "-d")
        stack.wait_for(lambda: serving(1), seconds=60, why="two of each worker")
        stack.env |= {"WORKER_SECRET": "worker_key", "WORKER_KEY_FILE": str(worker_key)}
        stack.compose("up", "-d")
        stack.wait_for(lambda: serving(2), seconds=60, why="two of each worker, with a key of their own")
        with stack.client() as client:
            answers = [client.get(path, headers=bearer).status_code for path in ("/agents", "/stats", "/audit")]
            done = client.post(
                "/execute_task",
                json={"task_description": "How does Muster survive a crash?"},
                headers={"Authorization": f"Bearer {KEY}"},
            )
        assert (answers, done.json()["status"]) == ([403, 403, 403], "completed")
        for service in ("researcher", "analyzer", "reporter"):
            assert "api_key" not in stack.exec(service, "ls", "/run/secrets")


@pytest.mark.parametrize("program", [V2, V1], ids=["v2", "1.29"])
def test_without_a_key_nothing_starts(image, key_file, tmp_path, program):
    missing = tmp_path / "nowhere" / "api_key"
    with Stack(image, file=FILE, program=program, env=keyed(key_file) | {"API_KEY_FILE": str(missing)}) as stack:
        done = stack.compose("up", "-d", *(["--no-build"] if program == V1 else []), check=False)

        assert done.returncode != 0
        assert str(missing) in done.stdout + done.stderr
        assert [stack.state(id)["Running"] for id in stack.containers("coordinator")] in ([], [False])


def test_an_empty_key_is_none(image, key_file):
    key_file.write_text("\n")
    with Stack(image, file=FILE, env=keyed(key_file)) as stack:
        stack.compose("up", "-d", "coordinator")
        container = stack.container("coordinator")
        said = "API_KEY_FILE=/run/secrets/api_key is empty. Write the secret into it."
        stack.wait_for(lambda: said in run("docker", "logs", container).stderr, why=said)


def test_unreadable_key_file_is_named(image, key_file):
    """`make secrets` makes the folder private, not the file."""
    key_file.chmod(0o600)
    with Stack(image, file=FILE, env=keyed(key_file)) as stack:
        stack.compose("up", "-d", "coordinator")
        container = stack.container("coordinator")
        said = "API_KEY_FILE=/run/secrets/api_key cannot be read: Permission denied"
        stack.wait_for(lambda: said in run("docker", "logs", container).stderr, why=said)


def keys_file() -> dict[str, Any]:
    """The file for further keys that docs/operations.md shows."""
    section = (ROOT / "docs/operations.md").read_text().split("## Keys in files")[1]
    found: dict[str, Any] = yaml.safe_load(section.split("```yaml\n")[1].split("```")[0])
    return found


def test_model_and_search_keys_come_from_files(image, key_file, tmp_path):
    """As the page on operations says, under both versions of Compose and as a stack."""
    env = keyed(key_file)
    for name in ("MODEL_API_KEY", "SEARCH_API_KEY"):
        (tmp_path / name).write_text(f"{name} {KEY}\n")
        env[f"{name}_FILE"] = str(tmp_path / name)
    with Stack(image, file=FILE, override=keys_file(), env=env) as stack:
        read = "from shared.settings import ModelSettings, SearchSettings"
        read += "; s, m = SearchSettings(), ModelSettings()"
        read += "; print(*(k.get_secret_value() for k in (s.api_key, s.search_api_key, m.model_api_key)), sep=', ')"
        done = stack.compose("run", "--rm", "--no-deps", "-T", "researcher", "python", "-c", read)
        assert done.stdout.strip() == f"{KEY}, SEARCH_API_KEY {KEY}, MODEL_API_KEY {KEY}"
    files = (str(ROOT / FILE), str(tmp_path / "keys.yml"))
    Path(files[1]).write_text(json.dumps(keys_file()))
    old = ("docker-compose", "-f", files[0], "-f", files[1], "config")
    for command in (old, ("docker", "stack", "config", "-c", files[0], "-c", files[1])):
        shown = run(*command, env=env).stdout
        services = yaml.safe_load(shown)["services"]
        found = {name: sorted(each["source"] for each in service["secrets"]) for name, service in services.items()}
        assert found == {
            "caddy": [CADDYFILE],
            "postgres": ["database_password"],
            "coordinator": ["api_key", "database_password", "model_api_key", "shared_key"],
            "coordinator-2": ["api_key", "database_password", "model_api_key", "shared_key"],
            "researcher": ["model_api_key", "search_api_key", "shared_key"],
            "analyzer": ["model_api_key", "shared_key"],
            "reporter": ["model_api_key", "shared_key"],
        }


def test_this_machine_is_reachable_by_name(key_file):
    """Where a model may listen, for every service of ours; a stack takes the line as well."""
    shown = run("docker", "compose", "-f", FILE, "config", "--format", "json", env=keyed(key_file))
    services = json.loads(shown.stdout)["services"]
    hosts = {name: service["extra_hosts"] for name, service in services.items() if name not in ("caddy", "postgres")}

    assert set(map(str, hosts.values())) == {"['host.docker.internal=host-gateway']"}
    assert (
        "host.docker.internal:host-gateway" in run("docker", "stack", "config", "-c", FILE, env=keyed(key_file)).stdout
    )


def test_swarm_takes_the_file(key_file):
    """What a stack refuses is not in it; what it ignores, it says."""
    done = run("docker", "stack", "config", "-c", FILE, env=keyed(key_file))

    assert "replicas: 2" in done.stdout
    assert "/run/secrets/api_key" in done.stdout
