"""When telemetry is on: an endpoint is set. Nothing is loaded where none is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from load.processes.programs import build_environment
from shared.settings import Settings
from shared.telemetry.starting import start_telemetry

ALL = "coordinator.app, workers.researcher, workers.analyzer, workers.reporter, workers.agent"
SCRIPT = f"""
import sys
import {ALL}
from shared.settings import Settings, load_settings
from shared.telemetry.starting import start_telemetry
telemetry = start_telemetry(load_settings(Settings), service="test")
print(telemetry is not None, sorted({{"opentelemetry.sdk", "google.protobuf", "requests"}} & sys.modules.keys()))
"""


def run(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """What a service's start says of its telemetry."""
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=folder,
        env=build_environment(env),
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_is_loaded_without_an_endpoint(tmp_path: Path) -> None:
    assert run(tmp_path, OTEL_SERVICE_NAME="x").stdout == "False []\n"


def test_an_endpoint_switches_it_on(tmp_path: Path) -> None:
    """From the environment or .env; the headers also from a file."""
    (tmp_path / "headers").write_text("authorization=Bearer%20abc\n")
    (tmp_path / ".env").write_text(
        "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9\nOTEL_EXPORTER_OTLP_HEADERS_FILE=headers\n"
    )

    assert run(tmp_path).stdout == "True ['google.protobuf', 'opentelemetry.sdk', 'requests']\n"


def test_standard_variables_switch_it_off(tmp_path: Path) -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}

    assert run(tmp_path, **endpoint, OTEL_SDK_DISABLED="true").stdout == "False []\n"
    assert run(tmp_path, **endpoint, OTEL_TRACES_EXPORTER="none", OTEL_METRICS_EXPORTER="none").stdout == "False []\n"


def test_a_foreign_protocol_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    settings = Settings(_env_file=None, otel_exporter_otlp_endpoint="http://127.0.0.1:4317")

    with pytest.raises(SystemExit, match="2"):
        start_telemetry(settings, service="test")

    assert "OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf (is 'grpc')" in capsys.readouterr().err
