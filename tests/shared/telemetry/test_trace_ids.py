"""Ids of traces and spans: read as W3C has them, and derived so that every process finds the same."""

from __future__ import annotations

from uuid import uuid4

import pytest

from shared.telemetry.trace_ids import Place, derive_span_id, derive_trace_id, read_header

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_header_is_read_and_written() -> None:
    assert read_header(f"00-{TRACE}-{SPAN}-01") == Place(TRACE, SPAN, True)
    assert read_header(f"00-{TRACE}-{SPAN}-02") == Place(TRACE, SPAN, False)
    assert Place(TRACE, SPAN, True).header == f"00-{TRACE}-{SPAN}-01"
    assert Place(TRACE, SPAN, False).header == f"00-{TRACE}-{SPAN}-00"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-x",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_a_malformed_header_is_none(header: str | None) -> None:
    assert read_header(header) is None


def test_a_task_has_its_id_as_trace() -> None:
    """Another name, such as a test's, gets one that follows from it."""
    task = uuid4().hex

    assert derive_trace_id(task) == task
    assert derive_trace_id("0" * 32) != "0" * 32
    assert derive_trace_id("task-1") == derive_trace_id("task-1") != derive_trace_id("task-2")
    assert read_header(f"00-{derive_trace_id('task-1')}-{derive_span_id('task-1')}-01") is not None


def test_span_ids_differ_by_every_name() -> None:
    ids = {derive_span_id("t"), derive_span_id("t", "s"), derive_span_id("ts"), derive_span_id("t", "s", "")}

    assert len(ids) == 4
