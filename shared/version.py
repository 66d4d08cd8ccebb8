"""Which Muster this is: the version of its code, and the revision that its image was built from."""

from __future__ import annotations

import os

VERSION = "0.2.0"  # pyproject.toml and the Dockerfile say it too; a test compares them


def revision() -> str:
    """The commit that the image was built from, as `make image` gives it; "unknown" for another start."""
    return os.environ.get("MUSTER_REVISION", "unknown")
