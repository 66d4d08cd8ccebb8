"""`Via` (RFC 9110, section 7.6.3): by this suite's own name in it, a request that comes back is known."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_COMMENT = re.compile(r"\([^()]*\)")


def pseudonym(key_of: Callable[[str], bytes]) -> str:
    """This suite's name, from what makes its agents' keys: the same after a restart, and another in every suite."""
    return f"muster-{key_of('via/pseudonym').hex()[:12]}"  # no agent's id has a slash


def has_passed(lines: Iterable[str], own: str) -> bool:
    """Whether a request with these `Via` lines has passed the proxy that calls itself `own`."""
    entries = (entry.split() for entry in _COMMENT.sub("", ",".join(lines)).split(","))
    return any(len(entry) > 1 and entry[1].lower() == own for entry in entries)
