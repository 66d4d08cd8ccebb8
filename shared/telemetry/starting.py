"""Whether telemetry is wanted, by OpenTelemetry's standard variables; what sends it is loaded only then."""

from __future__ import annotations

import os
import sys

from dotenv import dotenv_values

from shared.settings import Settings
from shared.telemetry.spans import Telemetry

PROTOCOL = "http/protobuf"
_ENDPOINT = "OTEL_EXPORTER_OTLP_{}ENDPOINT"


def start_telemetry(settings: Settings, *, service: str) -> Telemetry | None:
    """The telemetry of this process, None where no endpoint is set.

    Exits with code 2 and one sentence where it is to use a protocol that Muster does not speak.
    """
    endpoint, headers = settings.otel_exporter_otlp_endpoint, settings.otel_exporter_otlp_headers
    if endpoint is None and not any(os.environ.get(_ENDPOINT.format(signal)) for signal in ("TRACES_", "METRICS_")):
        return None
    for name, value in dotenv_values(str(settings.model_config["env_file"]), encoding="utf-8-sig").items():
        if name.startswith("OTEL_") and value:  # OpenTelemetry itself reads the environment only
            os.environ.setdefault(name, value)
    spans, figures = (_is_wanted(signal, endpoint) for signal in ("TRACES", "METRICS"))
    if not (spans or figures) or os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if (protocol := os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or PROTOCOL) != PROTOCOL:
        print(
            f"OTEL_EXPORTER_OTLP_PROTOCOL must be {PROTOCOL} (is {protocol!r}): receivers listen for it on port 4318.",
            file=sys.stderr,
        )
        sys.exit(2)
    if headers is not None:  # they may come from a file
        os.environ["OTEL_EXPORTER_OTLP_HEADERS"] = headers.get_secret_value()
    from shared.telemetry.telemetry import OtlpTelemetry

    return OtlpTelemetry(service, spans=spans, figures=figures)


def _is_wanted(signal: str, endpoint: str | None) -> bool:
    exporter = os.environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower()
    return exporter != "none" and bool(endpoint or os.environ.get(_ENDPOINT.format(f"{signal}_")))
