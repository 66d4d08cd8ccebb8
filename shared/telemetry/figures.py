"""The figures of `/metrics` as OTLP has them, under the same names."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.core import Metric as Family
from prometheus_client.samples import Sample

_STARTED = time.time_ns()  # since when counters count: this is imported when the process starts
_TOTAL = AggregationTemporality.CUMULATIVE
_UNITS = {"_seconds": "s", "_bytes": "By"}


def convert(families: Iterable[Family], resource: Resource, scope: InstrumentationScope) -> MetricsData:
    """Everything that a registry has, as one exporter's message."""
    now = time.time_ns()
    found = [metric for family in families if (metric := _convert(family, now)) is not None]
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, found, "")], "")])


def _convert(family: Family, now: int) -> Metric | None:
    samples = [s for s in family.samples if not s.name.endswith("_created") and not math.isnan(s.value)]
    if not samples:
        return None
    unit = next((unit for ending, unit in _UNITS.items() if family.name.endswith(ending)), "")
    if family.type == "histogram":
        return Metric(family.name, family.documentation, unit, Histogram(list(_make_histograms(samples, now)), _TOTAL))
    points = [NumberDataPoint(s.labels, _STARTED, now, s.value) for s in samples]
    data: Any = Sum(points, _TOTAL, is_monotonic=True) if family.type == "counter" else Gauge(points)
    return Metric(samples[0].name, family.documentation, unit, data)


def _make_histograms(samples: Sequence[Sample], now: int) -> Iterator[HistogramDataPoint]:
    """One point for each set of labels; Prometheus' buckets count all that is below, OTLP's what is between two."""
    bounds, sums = defaultdict[tuple[Any, ...], list[tuple[float, float]]](list), dict[tuple[Any, ...], float]()
    for sample in samples:
        labels = tuple((name, value) for name, value in sample.labels.items() if name != "le")
        if sample.name.endswith("_bucket"):
            bounds[labels].append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_sum"):
            sums[labels] = sample.value
    for labels, found in bounds.items():
        seen = [int(count) for _, count in found]
        counts = [count - before for before, count in zip([0, *seen], seen, strict=False)]
        none: Any = None  # the least and the greatest value are not known
        yield HistogramDataPoint(
            attributes=dict(labels),
            start_time_unix_nano=_STARTED,
            time_unix_nano=now,
            count=seen[-1],
            sum=sums.get(labels, 0.0),
            bucket_counts=counts,
            explicit_bounds=[bound for bound, _ in found[:-1]],
            min=none,
            max=none,
        )
