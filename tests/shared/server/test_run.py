"""How a service is served: what its answers are dated with, and how it is ended."""

from __future__ import annotations

import signal
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from shared.server.run import Dated
from tests.support.processes import free_port, start, wait_until_it_answers


def test_an_answer_is_dated_with_the_second_it_is_made_in() -> None:
    at = 0.0
    state = Dated(wall=lambda: at)
    assert state.default_headers == [(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")]

    at = 61.9

    assert state.default_headers == [(b"date", b"Thu, 01 Jan 1970 00:01:01 GMT")]


def test_a_service_that_sleeps_dates_its_answers_and_ends_when_it_is_told(tmp_path: Path) -> None:
    """Nothing wakes a service that has nothing to do, and it hears a signal all the same."""
    port = free_port()
    with start("workers.reporter", "--port", str(port), folder=tmp_path) as worker:
        wait_until_it_answers(f"http://127.0.0.1:{port}/ready", worker)
        answer = httpx.get(f"http://127.0.0.1:{port}/health")
        assert abs(parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()) < 10

        worker.tell(signal.SIGTERM)

        assert worker.wait() == -signal.SIGTERM  # as uvicorn ends
