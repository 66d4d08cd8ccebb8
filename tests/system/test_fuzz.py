"""No request breaks the coordinator: schemathesis makes them of its OpenAPI document, one by one and in sequences."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from coordinator.app import create_app
from tests.support.fakes import ANALYZER, REPORTER, RESEARCHER, Suite, coordinator_settings, serving

CHECKS = [
    status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance
]  # fmt: skip
HANG_SECONDS = 30.0
SECONDS = 2.0  # that a task gets: one for an agent that is not there waits for half of them
NAMED = {"agent_unreachable", "agent_lost", "agent_busy", "agent_error", "bad_response", "timeout", "no_agent"}
QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


@dataclass
class Target:
    """A coordinator with its agents, in a thread of its own."""

    url: str = ""
    answers: Counter[int] = field(default_factory=Counter)

    def judge(self, case: Case, response: Response) -> None:
        """What is promised of every answer: it is as the document says, and a failure is a named one."""
        self.answers[response.status_code] += 1
        if response.status_code >= 500 and case.path != "/ready":
            said = response.json()
            assert "internal_error" not in response.text, case.as_curl_command()
            assert "task" in said or said["error"]["code"] in NAMED, case.as_curl_command()
        case.validate_response(response, checks=CHECKS)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    target, up, loop = Target(), threading.Event(), asyncio.new_event_loop()
    down = asyncio.Event()

    async def serve() -> None:
        async with (
            Suite(None, RESEARCHER, ANALYZER, REPORTER, max_queued=1_000) as suite,
            serving(suite.app, lifespan=False) as target.url,
        ):
            up.set()
            await down.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="coordinator")
    thread.start()
    assert up.wait(30)
    yield target
    print(f"{target.answers.total():,} requests, answered by {dict(target.answers)}")
    loop.call_soon_threadsafe(down.set)
    thread.join()
    loop.close()


def hurry(case: Case) -> None:
    """A task gets little time, for a round of thousands; that a deadline may be any number is tested elsewhere."""
    if case.path == "/execute_task" and isinstance(case.body, dict):
        wanted = case.body.get("timeout_seconds")
        if wanted is None or (isinstance(wanted, (int, float)) and wanted > SECONDS):
            case.body["timeout_seconds"] = SECONDS


DOCUMENT = create_app(coordinator_settings()).openapi()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {f"{o.method.upper()} {o.path}": o for o in (found.ok() for found in SCHEMA.get_all_operations())}
WITH_INPUT = [name for name, o in OPERATIONS.items() if o.body or o.query]  # in a path, any text fits


def ask(target: Target, name: str, mode: GenerationMode) -> None:
    each = max(1, settings.default.max_examples // 8)

    @given(OPERATIONS[name].as_strategy(generation_mode=mode))
    @settings(max_examples=each, suppress_health_check=QUIET)
    def ask(case: Case) -> None:
        hurry(case)
        target.judge(case, case.call(base_url=target.url, timeout=HANG_SECONDS))

    ask()


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_fitting_request_breaks_it(target: Target, name: str) -> None:
    """No unnamed failure, no hang, no answer but as the document says."""
    ask(target, name, GenerationMode.POSITIVE)


@pytest.mark.parametrize("name", WITH_INPUT)
def test_no_other_request_breaks_it(target: Target, name: str) -> None:
    """The same of requests that the document does not allow."""
    ask(target, name, GenerationMode.NEGATIVE)


def test_no_sequence_breaks_it(target: Target) -> None:
    """What one request answers is asked for by the next."""

    class Sequences(SCHEMA.as_state_machine()):
        def get_call_kwargs(self, case: Case) -> dict[str, Any]:
            hurry(case)
            return {"base_url": target.url, "timeout": HANG_SECONDS}

        def validate_response(self, response: Response, case: Case, additional_checks: Any = None, **_: Any) -> None:
            target.judge(case, response)

    Sequences.run(
        settings=settings(
            max_examples=max(1, settings.default.max_examples // 5), stateful_step_count=10, suppress_health_check=QUIET
        )
    )
