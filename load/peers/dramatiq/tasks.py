"""Dramatiq's one actor: acknowledged when it is done, results in Redis."""

from __future__ import annotations

import os
from typing import Any

import dramatiq
import urllib3
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from job import EXECUTE

broker = RedisBroker(url=os.environ["REDIS_URL"])
broker.add_middleware(Results(backend=RedisBackend(url=os.environ["REDIS_URL"]), store_results=True, result_ttl=60_000))
dramatiq.set_broker(broker)
http = urllib3.PoolManager(maxsize=64)


@dramatiq.actor
def call(body: dict[str, Any]) -> dict[str, Any]:
    return dict(http.request("POST", EXECUTE, json=body).json())
