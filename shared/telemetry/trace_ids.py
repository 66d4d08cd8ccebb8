"""PURE: the ids of traces and spans, as W3C's `traceparent` carries them (Trace Context, Level 1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b

_HEADER = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})\Z")
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}\Z")
_SAMPLED = 1


@dataclass(frozen=True)
class Place:
    """A span as others name it: its trace, its own id (hexadecimal), and whether the trace is recorded."""

    trace_id: str
    span_id: str
    sampled: bool

    @property
    def header(self) -> str:
        """The `traceparent` of whatever this span asks of others."""
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"


def read_header(header: str | None) -> Place | None:
    """The span that a `traceparent` names; None where there is none, or a malformed one."""
    found = _HEADER.match(header or "")
    return Place(found[1], found[2], bool(int(found[3], 16) & _SAMPLED)) if found else None


def derive_trace_id(name: str) -> str:
    """The trace of what has this name: the name itself where it is 32 hexadecimal digits, as a task's id is."""
    return name if _TRACE_ID.match(name) else blake2b(name.encode(), digest_size=16).hexdigest()


def derive_span_id(*names: str) -> str:
    """The span of what has these names: the same in every process, so that it survives a restart."""
    return blake2b("\0".join(names).encode(), digest_size=8).hexdigest()
