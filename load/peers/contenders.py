"""Who takes part: how each is started, and what of it is still there after kill -9."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from load.peers.place import VENVS, Command, Place

REDIS = "queue and results in Redis (append-only file)"


@dataclass(frozen=True)
class Contender:
    """`commands` are started in order, the web service last; `ready` are ports and paths that answer 200 when it is.

    `kind` is `muster`, `peer` or `limit`; `then` is done once the contender is ready; `needs` are programs on the PATH.
    """

    name: str
    keeps: str
    folder: str | None
    commands: Callable[[Place], Sequence[Command]]
    packages: tuple[str, ...] = ()
    kind: str = "peer"
    env: Callable[[Place], Mapping[str, str]] = field(default=lambda place: {})
    target: str = "/execute_task"
    ready: tuple[tuple[str, str], ...] = (("web", "/health"),)
    then: Callable[[Place], None] = field(default=lambda place: None)
    needs: tuple[str, ...] = ()


def _build_muster_commands(place: Place) -> Sequence[Command]:
    return [place.build_command("coordinator", "--port", str(place.take_port()))]


def _build_celery_commands(place: Place) -> Sequence[Command]:
    pool = ("--pool", "threads", "--concurrency", "16", "--loglevel", "WARNING")
    return [
        place.build_redis_command(),
        place.build_command("celery", "-A", "tasks", "worker", *pool),
        place.build_web_command(),
    ]


def _build_taskiq_commands(place: Place) -> Sequence[Command]:
    return [
        place.build_redis_command(),
        place.build_command("taskiq", "worker", "broker:broker", "--workers", "1", "--log-level", "WARNING"),
        place.build_web_command(),
    ]


def _build_dramatiq_commands(place: Place) -> Sequence[Command]:
    return [
        place.build_redis_command(),
        place.build_command("dramatiq", "tasks", "--processes", "1", "--threads", "64"),
        place.build_web_command(),
    ]


def _build_huey_commands(place: Place) -> Sequence[Command]:
    consumer = place.build_command("huey.bin.huey_consumer", "tasks.huey", "--workers", "8", "--quiet")
    return [consumer, place.build_web_command()]


def _build_prefect_commands(place: Place) -> Sequence[Command]:
    server = place.build_command("prefect", "server", "start", "--port", str(place.take_port("prefect")), "--no-ui")
    return [server, place.build_web_command()]


def _build_prefect_env(place: Place) -> Mapping[str, str]:
    return {
        "PREFECT_HOME": str(place.files),
        "PREFECT_API_URL": f"{place.build_url('prefect')}/api",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


def _build_restate_commands(place: Place) -> Sequence[Command]:
    binary = next(VENVS.glob(RESTATE))
    service = place.build_command("hypercorn", "service:app", "--bind", f"127.0.0.1:{place.take_port('service')}")
    return [[str(binary), "--base-dir", str(place.files)], service]


RESTATE = "restate/node_modules/@restatedev/restate-server-*/bin/restate-server"


def _build_restate_env(place: Place) -> Mapping[str, str]:
    return {
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{place.take_port()}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{place.take_port('admin')}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{place.take_port('node')}",
        "RESTATE_LOG_FILTER": "warn",
    }


def _register_with_restate(place: Place) -> None:
    body = json.dumps({"uri": place.build_url("service")}).encode()
    request = urllib.request.Request(
        f"{place.build_url('admin')}/deployments", body, {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=20).close()


CONTENDERS = (
    Contender(
        "Muster",
        "every accepted task; it goes on after the last step that ended (SQLite, fsync)",
        None,
        _build_muster_commands,
        kind="muster",
        env=lambda place: {"DATABASE_URL": f"sqlite:///{place.files}/muster.db"},
    ),
    Contender(
        "Muster, journal off",
        "nothing (DATABASE_URL=memory:)",
        None,
        _build_muster_commands,
        kind="muster",
        env=lambda place: {"DATABASE_URL": "memory:"},
    ),
    Contender(
        "FastAPI + httpx",
        "nothing",
        "plain",
        lambda place: [place.build_web_command("with_httpx:app")],
        ("fastapi", "httpx"),
    ),
    Contender(
        "FastAPI + aiohttp",
        "nothing",
        "plain",
        lambda place: [place.build_web_command("with_aiohttp:app")],
        ("fastapi", "aiohttp"),
    ),
    Contender(
        "LangGraph",
        "each step's state, for who calls again with the same thread (SQLite, fsync, durability=sync)",
        "langgraph",
        lambda place: [place.build_web_command()],
        ("langgraph", "langgraph-checkpoint-sqlite"),
    ),
    Contender(
        "DBOS",
        "every workflow; it goes on after the last step that ended (SQLite)",
        "dbos",
        lambda place: [place.build_web_command()],
        ("dbos",),
    ),
    Contender(
        "Celery",
        f"{REDIS}; tasks are acknowledged late",
        "celery",
        _build_celery_commands,
        ("celery", "redis"),
        needs=("redis-server",),
    ),
    Contender(
        "Taskiq",
        f"{REDIS}; the order of the steps is the web service's and is lost",
        "taskiq",
        _build_taskiq_commands,
        ("taskiq", "taskiq-redis"),
        needs=("redis-server",),
    ),
    Contender(
        "Dramatiq",
        f"{REDIS}; the order of the steps is the web service's and is lost",
        "dramatiq",
        _build_dramatiq_commands,
        ("dramatiq", "redis"),
        needs=("redis-server",),
    ),
    Contender(
        "Huey", "queue and results (SQLite, fsync); a task that ran is lost", "huey", _build_huey_commands, ("huey",)
    ),
    Contender(
        "Prefect",
        "states and results in its server (SQLite); a flow that ran is not resumed",
        "prefect",
        _build_prefect_commands,
        ("prefect",),
        env=_build_prefect_env,
        ready=(("prefect", "/api/health"), ("web", "/health")),
    ),
    Contender(
        "Restate",
        "every call; it goes on after the last step that ended (RocksDB)",
        "restate",
        _build_restate_commands,
        ("restate-sdk", "hypercorn"),
        env=_build_restate_env,
        target="/job/execute_task",
        ready=(("admin", "/health"),),
        then=_register_with_restate,
        needs=("npm",),
    ),
    Contender(
        "LlamaIndex workflows",
        "nothing",
        "llamaindex",
        lambda place: [place.build_web_command()],
        ("llama-index-workflows",),
    ),
    Contender(
        "plain ASGI, bare client",
        "nothing",
        None,
        lambda place: [place.build_web_command("load.peers.limits.asgi:app")],
        ("uvicorn",),
        kind="limit",
    ),
    Contender(
        "bare sockets (asyncio)",
        "nothing",
        None,
        lambda place: [place.build_command("load.peers.limits.raw")],
        ("uvloop", "httptools"),
        kind="limit",
    ),
)
