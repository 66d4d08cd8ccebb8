"""Prometheus' families as OTLP's metrics: the same names, labels and counts."""

from __future__ import annotations

import math
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry, Counter, Gauge, Info

from shared.server.durations import BUCKETS, Durations
from shared.telemetry.figures import convert


def converted(registry: CollectorRegistry) -> dict[str, Any]:
    [whole] = convert(registry.collect(), Resource({}), InstrumentationScope("test")).resource_metrics
    return {metric.name: metric.data for metric in whole.scope_metrics[0].metrics}


def test_counters_and_gauges_keep_name_and_labels() -> None:
    registry = CollectorRegistry()
    Counter("muster_steps_total", "Steps.", ["agent"], registry=registry).labels("boss").inc(3)
    Gauge("muster_tasks_running", "Running.", registry=registry).set(2)
    Info("muster_build", "Build.", registry=registry).info({"version": "1"})

    found = converted(registry)

    assert set(found) == {"muster_steps_total", "muster_tasks_running", "muster_build_info"}
    [steps] = found["muster_steps_total"].data_points
    assert (steps.value, steps.attributes, found["muster_steps_total"].is_monotonic) == (3, {"agent": "boss"}, True)
    assert found["muster_tasks_running"].data_points[0].value == 2
    assert found["muster_build_info"].data_points[0].attributes == {"version": "1"}


def test_buckets_count_what_is_between_bounds() -> None:
    """Prometheus' count everything below theirs."""
    registry = CollectorRegistry()
    seconds = Durations("muster_step_seconds", "Seconds.", ["agent"], registry=registry)
    for value in (0.001, 0.007, 0.007, 200_000):
        seconds.labels("boss").observe(value)
    seconds.labels("helper").observe(1)

    points = {p.attributes["agent"]: p for p in converted(registry)["muster_step_seconds"].data_points}

    boss = points["boss"]
    assert boss.explicit_bounds == list(BUCKETS)
    assert (boss.bucket_counts[:3], boss.bucket_counts[-1], len(boss.bucket_counts)) == ([1, 2, 0], 1, len(BUCKETS) + 1)
    assert (boss.count, boss.sum, points["helper"].count) == (4, 200_000.015, 1)


def test_what_is_no_number_is_not_sent() -> None:
    registry = CollectorRegistry()
    Gauge("muster_disk_bytes", "Bytes.", registry=registry).set(math.nan)

    assert converted(registry) == {}
