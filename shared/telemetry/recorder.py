"""Hands spans and measurements to OpenTelemetry's exporters, which its own threads run; only this package loads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from shared.telemetry.spans import Span, Value
from shared.telemetry.trace_ids import Place
from shared.version import VERSION

SCOPE = "muster"
_KINDS = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT}
_ERROR, _UNSET = Status(StatusCode.ERROR), Status(StatusCode.UNSET)
_HALF = 64
_LOW = (1 << _HALF) - 1
# Buckets as the semantic conventions for generative AI want them, by name and unit.
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(4**n for n in range(14))
HISTOGRAMS = {
    "gen_ai.client.operation.duration": ("s", _SECONDS, "How long a call of a model took."),
    "gen_ai.client.token.usage": ("{token}", _TOKENS, "Tokens that a model read, and wrote."),
    "gen_ai.execute_tool.duration": ("s", _SECONDS, "How long a call of a tool took."),
}


class OtlpRecorder:
    """Sends spans in batches, in a thread of its own; a full queue drops the oldest, and never waits.

    Sampler, batches, headers and limits are those of OpenTelemetry's standard variables. Spans are built as the values
    that exporters read, because their ids are known before they begin: a task's follow from the task's id.
    """

    def __init__(self, resource: Resource, *, spans: bool) -> None:
        self.resource = resource
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._sampler, self._ids = provider.sampler, provider.id_generator
        self._processor = BatchSpanProcessor(OTLPSpanExporter()) if spans else None
        self._scope = InstrumentationScope(SCOPE)
        self._reader = InMemoryMetricReader()
        meters = MeterProvider([self._reader], resource=resource, shutdown_on_exit=False)
        meter = meters.get_meter(SCOPE)
        self._histograms = {
            name: meter.create_histogram(
                name, unit=unit, description=text, explicit_bucket_boundaries_advisory=list(bounds)
            )
            for name, (unit, bounds, text) in HISTOGRAMS.items()
        }

    def choose_ids(self, parent: Place | None) -> tuple[str, str, bool]:
        """A new span's ids, below the parent or in a new trace."""
        span_id = f"{self._ids.generate_span_id():016x}"
        trace_id = parent.trace_id if parent is not None else f"{self._ids.generate_trace_id():032x}"
        return trace_id, span_id, self.is_sampled(trace_id, parent)

    def is_sampled(self, trace_id: str, parent: Place | None) -> bool:
        """What the sampler of `OTEL_TRACES_SAMPLER` says of a trace.

        It compares the lower half of an id, of which a task's id has two bits fixed (RFC 9562, section 4.1); so it gets
        the halves the other way round.
        """
        above = None
        if parent is not None:
            above = trace.set_span_in_context(trace.NonRecordingSpan(_to_context(parent, remote=True)))
        number = int(trace_id, 16)
        number = (number >> _HALF) | ((number & _LOW) << _HALF)
        found = self._sampler.should_sample(above, number, "", SpanKind.INTERNAL)
        return found.decision is Decision.RECORD_AND_SAMPLE

    def record(self, span: Span, *, ended: int) -> None:
        """Queues a span that has ended."""
        if self._processor is None:
            return
        self._processor.on_end(
            ReadableSpan(
                name=span.name,
                context=_to_context(span.place),
                parent=_to_context(span.parent) if span.parent is not None else None,
                resource=self.resource,
                attributes=span.attributes,
                kind=_KINDS[span.kind],
                status=_ERROR if span.failed else _UNSET,
                start_time=span.began,
                end_time=max(ended, span.began),
                instrumentation_scope=self._scope,
            )
        )

    @contextmanager
    def enter(self, place: Place) -> Iterator[None]:
        """Within it, libraries that speak OpenTelemetry themselves pass this span on, as MCP's does."""
        token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(_to_context(place))))
        try:
            yield
        finally:
            context.detach(token)

    def measure(self, name: str, value: float, attributes: Mapping[str, Value]) -> None:
        """Adds one value to a histogram of the semantic conventions."""
        self._histograms[name].record(value, attributes)

    def collect(self) -> MetricsData | None:
        """The histograms as they are now; None while they are empty."""
        return self._reader.get_metrics_data()

    def close(self) -> None:
        """Sends what is left; blocks, while a receiver is away for as long as `OTEL_EXPORTER_OTLP_TIMEOUT` says."""
        if self._processor is not None:
            self._processor.shutdown()  # type: ignore[no-untyped-call]


def make_resource(service: str) -> Resource:
    """What is told of this process; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win."""
    found = Resource({"service.namespace": "muster", "service.version": VERSION}).merge(Resource.create())
    unnamed = str(found.attributes["service.name"]).startswith("unknown_service")
    return found.merge(Resource({"service.name": service})) if unnamed else found


def _to_context(place: Place, *, remote: bool = False) -> SpanContext:
    return SpanContext(int(place.trace_id, 16), int(place.span_id, 16), remote, TraceFlags(int(place.sampled)))
