"""How a service is served: what its answers are dated with, and how it is ended."""

from __future__ import annotations

import signal
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from load.processes.ports import free_port
from shared.server.run import Dated
from tests.support.processes import start, wait_until_it_answers


def test_answer_has_the_date_of_its_second() -> None:
    """An answer is dated with the second it is made in."""
    at = 0.0
    state = Dated(wall=lambda: at)
    assert state.default_headers == [(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")]

    at = 61.9

    assert state.default_headers == [(b"date", b"Thu, 01 Jan 1970 00:01:01 GMT")]


def test_idle_service_dates_answers_and_stops(tmp_path: Path) -> None:
    """Nothing wakes a service that has nothing to do, and it hears a signal all the same."""
    port = free_port()
    with start("workers.reporter", "--port", str(port), folder=tmp_path) as worker:
        wait_until_it_answers(f"http://127.0.0.1:{port}/ready", worker)
        answer = httpx.get(f"http://127.0.0.1:{port}/health")
        assert abs(parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()) < 10

        worker.tell(signal.SIGTERM)

        assert worker.wait() == -signal.SIGTERM  # as uvicorn ends
