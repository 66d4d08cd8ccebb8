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


def _muster(place: Place) -> Sequence[Command]:
    return [place.module("coordinator", "--port", str(place.port()))]


def _celery(place: Place) -> Sequence[Command]:
    pool = ("--pool", "threads", "--concurrency", "16", "--loglevel", "WARNING")
    return [place.redis(), place.module("celery", "-A", "tasks", "worker", *pool), place.web()]


def _taskiq(place: Place) -> Sequence[Command]:
    return [
        place.redis(),
        place.module("taskiq", "worker", "broker:broker", "--workers", "1", "--log-level", "WARNING"),
        place.web(),
    ]


def _dramatiq(place: Place) -> Sequence[Command]:
    return [place.redis(), place.module("dramatiq", "tasks", "--processes", "1", "--threads", "64"), place.web()]


def _huey(place: Place) -> Sequence[Command]:
    consumer = place.module("huey.bin.huey_consumer", "tasks.huey", "--workers", "8", "--quiet")
    return [consumer, place.web()]


def _prefect(place: Place) -> Sequence[Command]:
    server = place.module("prefect", "server", "start", "--port", str(place.port("prefect")), "--no-ui")
    return [server, place.web()]


def _prefect_env(place: Place) -> Mapping[str, str]:
    return {
        "PREFECT_HOME": str(place.files),
        "PREFECT_API_URL": f"{place.url('prefect')}/api",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


def _restate(place: Place) -> Sequence[Command]:
    binary = next(VENVS.glob(RESTATE))
    service = place.module("hypercorn", "service:app", "--bind", f"127.0.0.1:{place.port('service')}")
    return [[str(binary), "--base-dir", str(place.files)], service]


RESTATE = "restate/node_modules/@restatedev/restate-server-*/bin/restate-server"


def _restate_env(place: Place) -> Mapping[str, str]:
    return {
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{place.port()}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{place.port('admin')}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{place.port('node')}",
        "RESTATE_LOG_FILTER": "warn",
    }


def _register_with_restate(place: Place) -> None:
    body = json.dumps({"uri": place.url("service")}).encode()
    request = urllib.request.Request(f"{place.url('admin')}/deployments", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=20).close()


CONTENDERS = (
    Contender(
        "Muster",
        "every accepted task; it goes on after the last step that ended (SQLite, fsync)",
        None,
        _muster,
        kind="muster",
        env=lambda place: {"DATABASE_URL": f"sqlite:///{place.files}/muster.db"},
    ),
    Contender(
        "Muster, journal off",
        "nothing (DATABASE_URL=memory:)",
        None,
        _muster,
        kind="muster",
        env=lambda place: {"DATABASE_URL": "memory:"},
    ),
    Contender(
        "FastAPI + httpx",
        "nothing",
        "plain",
        lambda place: [place.web("with_httpx:app")],
        ("fastapi", "httpx"),
    ),
    Contender(
        "FastAPI + aiohttp",
        "nothing",
        "plain",
        lambda place: [place.web("with_aiohttp:app")],
        ("fastapi", "aiohttp"),
    ),
    Contender(
        "LangGraph",
        "each step's state, for who calls again with the same thread (SQLite, fsync, durability=sync)",
        "langgraph",
        lambda place: [place.web()],
        ("langgraph", "langgraph-checkpoint-sqlite"),
    ),
    Contender(
        "DBOS",
        "every workflow; it goes on after the last step that ended (SQLite)",
        "dbos",
        lambda place: [place.web()],
        ("dbos",),
    ),
    Contender(
        "Celery",
        f"{REDIS}; tasks are acknowledged late",
        "celery",
        _celery,
        ("celery", "redis"),
        needs=("redis-server",),
    ),
    Contender(
        "Taskiq",
        f"{REDIS}; the order of the steps is the web service's and is lost",
        "taskiq",
        _taskiq,
        ("taskiq", "taskiq-redis"),
        needs=("redis-server",),
    ),
    Contender(
        "Dramatiq",
        f"{REDIS}; the order of the steps is the web service's and is lost",
        "dramatiq",
        _dramatiq,
        ("dramatiq", "redis"),
        needs=("redis-server",),
    ),
    Contender("Huey", "queue and results (SQLite, fsync); a task that ran is lost", "huey", _huey, ("huey",)),
    Contender(
        "Prefect",
        "states and results in its server (SQLite); a flow that ran is not resumed",
        "prefect",
        _prefect,
        ("prefect",),
        env=_prefect_env,
        ready=(("prefect", "/api/health"), ("web", "/health")),
    ),
    Contender(
        "Restate",
        "every call; it goes on after the last step that ended (RocksDB)",
        "restate",
        _restate,
        ("restate-sdk", "hypercorn"),
        env=_restate_env,
        target="/job/execute_task",
        ready=(("admin", "/health"),),
        then=_register_with_restate,
        needs=("npm",),
    ),
    Contender(
        "LlamaIndex workflows",
        "nothing",
        "llamaindex",
        lambda place: [place.web()],
        ("llama-index-workflows",),
    ),
    Contender(
        "plain ASGI, bare client",
        "nothing",
        None,
        lambda place: [place.web("load.peers.limits.asgi:app")],
        ("uvicorn",),
        kind="limit",
    ),
    Contender(
        "bare sockets (asyncio)",
        "nothing",
        None,
        lambda place: [place.module("load.peers.limits.raw")],
        ("uvloop", "httptools"),
        kind="limit",
    ),
)
