"""Logs: facts as `noun.verb` with fields, readable or as JSON, one event a line, no secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, TextIO, cast

import structlog
from pydantic import SecretStr

from shared.logs.output import LogOutput
from shared.settings import Settings

_SECRET_NAME = re.compile(r"(key|token|secret|password|authorization|cookie)$", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"""(?i)(bearer\s+)[^\s"',;]+|(://[^/\s:@]+:)[^/\s@]+(?=@)|\b(sk-)[A-Za-z0-9_-]{8,}""")
_HIDDEN = "[hidden]"
_PLAIN = re.compile(r"[!#-&(-<>-~]+\Z")  # needs no quotes: visible ASCII without quotes and `=`


_outputs: list[LogOutput] = []


def count_dropped() -> int:
    """How many lines of this process could not be written."""
    return sum(output.dropped for output in _outputs)


def secrets_of(settings: Settings) -> list[str]:
    """Every secret value that these settings hold."""
    return [v.get_secret_value() for _, v in settings if isinstance(v, SecretStr) and v.get_secret_value()]


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without secret values, bearer tokens, passwords in URLs and model keys."""
    for secret in secrets:
        text = text.replace(secret, _HIDDEN)
    return _SECRET_TEXT.sub(lambda m: next((g for g in m.groups() if g), "") + _HIDDEN, text)


def show(text: str) -> str:
    """The text on one line of visible characters; all others as Python escapes them (`\\x1b`, `\\u202e`, `\\n`)."""
    return text if text.isprintable() else "".join([c if c.isprintable() else repr(c)[1:-1] for c in text])


def show_traceback(text: str) -> str:
    """A traceback line by line, each shown and indented: an error's words cannot look like a line of the log."""
    return "\n".join(["    " + show(line.expandtabs()) for line in text.split("\n")])


def configure(settings: Settings, *, service: str) -> None:
    """Sets up structlog, and the standard library's loggers (uvicorn, asyncio) through it."""
    secrets = secrets_of(settings)

    def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for name, value in event.items():
            if isinstance(value, str):
                event[name] = _HIDDEN if _is_secret(name) else redacted(value, secrets)
        return event

    def name_service(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("service", service)
        return event

    def show_all(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for name, value in event.items():
            if isinstance(value, str):
                event[name] = show_traceback(value) if name == "exception" else show(value)
        return event

    common: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso" if settings.log_format == "json" else "%H:%M:%S", utc=True),
    ]
    if settings.log_format == "json":
        ending: list[Any] = [
            name_service,
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.JSONRenderer(),
        ]
    else:
        ending = [
            structlog.processors.format_exc_info,
            redact,
            show_all,
            structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), pad_event_to=22),
        ]
    output = LogOutput(sys.stdout, partial(_describe_gap, settings.log_format, service))
    _outputs.append(output)
    level = logging.getLevelNamesMapping()[settings.log_level]
    plain = settings.log_format == "console" and not sys.stdout.isatty()
    structlog.configure(
        processors=[ConsoleLine(secrets)] if plain else [*common, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, output)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=[_without_meta, *ending], foreign_pre_chain=common)
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def _describe_gap(log_format: str, service: str, lines: int) -> str:
    """The line that says how many lines before it are missing."""
    event = {"event": "log.dropped", "lines": lines}
    if log_format == "console":
        return ConsoleLine([])(None, "warning", event) + "\n"
    stamp = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps(event | {"level": "warning", "timestamp": stamp, "service": service}) + "\n"


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing but errors within the block, on stderr: for commands whose output is for programs."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


class ConsoleLine:
    """A console line where there is no terminal, made in one step: six processors took a twentieth of a task's time."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = list(secrets)
        self._second, self._time = -1, ""

    def __call__(self, logger: Any, level: str, event: MutableMapping[str, Any]) -> str:
        if (second := int(time.time())) != self._second:
            self._second, self._time = second, time.strftime("%H:%M:%S", time.gmtime(second))
        event = structlog.contextvars.merge_contextvars(logger, level, event)
        if "exc_info" in event:
            event = structlog.processors.format_exc_info(logger, level, event)
        name, exception = event.pop("event"), event.pop("exception", None)
        fields = "".join([f" {key}={self._value(key, event[key])}" for key in sorted(event)])
        line = f"{self._time} [{level:<9}] {show(name):<22}{fields}"
        return f"{line}\n{show_traceback(redacted(exception, self._secrets))}" if exception else line

    def _value(self, key: str, value: Any) -> str:
        if not isinstance(value, str):
            return repr(value)
        if _is_secret(key):
            return _HIDDEN
        value = redacted(value, self._secrets)
        return value if _PLAIN.match(value) else repr(value)


@lru_cache(1_000)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def get(**fields: Any) -> Any:
    """A logger with these fields bound."""
    return structlog.get_logger(**fields)


def _without_meta(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.pop("_record", None)
    event.pop("_from_structlog", None)
    return event
