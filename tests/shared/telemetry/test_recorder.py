"""What OpenTelemetry's own variables decide: who is recorded, and under which name."""

from __future__ import annotations

from uuid import uuid4

import pytest

from shared.telemetry.recorder import OtlpRecorder, make_resource
from shared.telemetry.trace_ids import Place

PARENT = Place("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", True)


def test_a_share_of_tasks_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bits of a task's id are fixed, just those that samplers compare first."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.2")
    recorder = OtlpRecorder(make_resource("coordinator"), spans=False)

    found = sum(recorder.is_sampled(uuid4().hex, None) for _ in range(4_000))

    assert 600 <= found <= 1_000


@pytest.mark.parametrize("sampled", [True, False])
def test_the_parent_decides_for_its_trace(monkeypatch: pytest.MonkeyPatch, sampled: bool) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    recorder = OtlpRecorder(make_resource("coordinator"), spans=False)

    parent = Place(PARENT.trace_id, PARENT.span_id, sampled)

    assert recorder.choose_ids(parent)[0] == PARENT.trace_id
    assert recorder.choose_ids(parent)[2] is sampled


def test_a_service_is_named_after_its_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_resource("researcher").attributes["service.name"] == "researcher"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=mine,deployment.environment.name=test")
    assert make_resource("researcher").attributes["service.name"] == "mine"
    assert make_resource("researcher").attributes["deployment.environment.name"] == "test"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "ours")
    assert make_resource("researcher").attributes["service.name"] == "ours"
