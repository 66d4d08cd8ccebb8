"""Prometheus metrics of one service, in a separate registry so that several services fit in one process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from shared import logs

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class ServiceMetrics:
    """What every service counts; each adds its own to `registry`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, CPU, open files of this process
        self.requests = Counter(
            "muster_http_requests_total", "HTTP requests answered.", ["method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "muster_http_request_seconds",
            "Seconds until the response was complete.",
            registry=self.registry,
            buckets=BUCKETS,
        )

        dropped = Gauge(
            "muster_log_lines_dropped", "Log lines that could not be written since the start.", registry=self.registry
        )
        dropped.set_function(logs.count_dropped)

    def render(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self.registry)
