"""The telemetry of one process while it runs: its recorder, its figures at an interval, and one line for troubles."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from threading import Thread

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry

from shared import logs
from shared.errors import MusterError
from shared.telemetry.figures import convert
from shared.telemetry.recorder import SCOPE, OtlpRecorder, make_resource

LOGGER = "opentelemetry"
FLUSH_SECONDS = 2.0  # that a stop may wait for the last spans and figures
INTERVAL_SECONDS = 60.0  # between two messages with figures, unless OTEL_METRIC_EXPORT_INTERVAL (ms) says otherwise
QUIET_SECONDS = 60.0  # between two lines on what goes wrong with telemetry


class OtlpTelemetry:
    """Spans and figures of a process on their way to a receiver. A receiver that is away costs them, and nothing else.

    `spans` and `figures` say which of the two are sent.
    """

    def __init__(self, service: str, *, spans: bool, figures: bool) -> None:
        _tell_of_troubles()
        self.recorder = OtlpRecorder(make_resource(service), spans=spans)
        self._exporter = OTLPMetricExporter() if figures else None
        self._interval = float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL") or INTERVAL_SECONDS * 1000) / 1000

    @asynccontextmanager
    async def running(self, registry: CollectorRegistry, look: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Sends the registry's figures meanwhile, after `look`, and at its end whatever is left, in 2 s at the most."""
        sending = asyncio.create_task(self._send_forever(registry, look), name="telemetry")
        try:
            yield
        finally:
            sending.cancel()
            await asyncio.wait({sending})
            left = [lambda: self._send(registry)] if self._exporter is not None else []
            await asyncio.to_thread(_run_within, FLUSH_SECONDS, [*left, self.recorder.close])

    async def _send_forever(self, registry: CollectorRegistry, look: Callable[[], Awaitable[None]]) -> None:
        while self._exporter is not None:
            await asyncio.sleep(self._interval)
            with suppress(MusterError):  # a journal that cannot be asked has no figures
                await look()
            await asyncio.to_thread(self._send, registry)

    def _send(self, registry: CollectorRegistry) -> None:
        assert self._exporter is not None
        try:
            self._exporter.export(convert(registry.collect(), self.recorder.resource, InstrumentationScope(SCOPE)))
            if (measured := self.recorder.collect()) is not None:
                self._exporter.export(measured)
        except Exception as exc:  # figures that cannot be sent cost themselves, never the service
            logging.getLogger(LOGGER).error("The figures cannot be sent: %s", exc)


class _Troubles(logging.Handler):
    """What OpenTelemetry logs, as one line a minute: a receiver that is away says the same with every batch."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told_at: float | None = None
        self._times = 0

    def emit(self, record: logging.LogRecord) -> None:
        self._times += 1
        now = time.monotonic()
        if self._told_at is None or now - self._told_at >= QUIET_SECONDS:
            logs.get().warning("telemetry.failed", why=record.getMessage(), times=self._times)
            self._told_at, self._times = now, 0


def _tell_of_troubles() -> None:
    logger = logging.getLogger(LOGGER)
    logger.handlers, logger.propagate = [_Troubles()], False


def _run_within(seconds: float, work: Sequence[Callable[[], None]]) -> None:
    """Runs each in a thread of its own, which ends with the process, and waits for all of them at most so long."""
    threads = [Thread(target=run, name="telemetry:close", daemon=True) for run in work]
    for thread in threads:
        thread.start()
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
