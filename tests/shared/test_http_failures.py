"""What an HTTP answer means for a step."""

from __future__ import annotations

import pytest

from shared.client.client import Whole
from shared.errors import AgentBusy, AgentFailed, AgentLost, AgentRefused, BadResponse, StepFailure
from shared.http_failures import failure_from_answer


@pytest.mark.parametrize(
    ("status", "meant", "retryable"),
    [
        (200, BadResponse, False),
        (302, BadResponse, False),
        (404, AgentRefused, False),
        (408, AgentLost, True),  # it did not get all of the request
        (429, AgentBusy, True),
        (500, AgentFailed, True),
        (503, AgentBusy, True),
        (504, AgentFailed, True),  # somebody's patience in between ended; the step may have time for another attempt
    ],
)
def test_a_status_names_the_failure(status: int, meant: type[StepFailure], retryable: bool):
    failure = failure_from_answer(Whole(status, {}, b"no"))

    assert (type(failure), failure.retryable) == (meant, retryable)


def test_an_agent_may_say_that_a_repeat_is_unwise():
    assert not failure_from_answer(Whole(500, {"x-should-retry": "false"}, b"no")).retryable
