"""What an answer of the coordinator means."""

from __future__ import annotations

import json

import pytest

from load.driving.calls import read_answer


@pytest.mark.parametrize(
    ("status", "body", "reason", "carried"),
    [
        (200, {"status": "completed"}, "completed", True),
        (200, {"status": "partial"}, "partial", True),
        (200, [], "bad_answer", True),
        (500, {"type": "urn:muster:problem:task_timed_out", "task": {}}, "task_timed_out", True),
        (429, {"type": "urn:muster:problem:overloaded"}, "overloaded", False),
        (429, None, "overloaded", False),
        (502, None, "http_502", False),
    ],
)
def test_what_an_answer_means(status, body, reason, carried):
    call = read_answer(status, json.dumps(body).encode(), "2", 0.0, 0.1)

    assert (call.reason, call.carried, call.ok) == (reason, carried, reason == "completed")


def test_who_did_not_do_a_step():
    """Steps that were skipped because of others are not to blame."""
    steps = [
        {"agent": "analyzer", "error": {"type": "timeout"}},
        {"agent": None, "capability": "report", "error": {"type": "skipped"}},
        {"agent": "researcher", "error": None},
    ]

    call = read_answer(200, json.dumps({"status": "partial", "results": steps}).encode(), None, 0.0, 0.1)

    assert call.culprits == ("analyzer: timeout",)
