"""Who a worker is to its coordinator: its instance, and the secret that proves it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from pathlib import Path

OLD_SECONDS = 30 * 86_400.0  # the file of another replica that was not started for so long is removed
_WORDS = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,62})\n([A-Za-z0-9_-]{43})\n")


class Identity:
    """Kept in a file of its own in `folder`, as replicas may share that; in memory where there is no room to write.

    `instance` names the process: the same after a restart, unless its secret was lost meanwhile.
    """

    def __init__(self, instance: str, folder: Path | None = None) -> None:
        self._first = instance
        self._file = folder / f"identity-{instance}" if folder is not None else None
        self.instance, self.secret = instance, secrets.token_urlsafe(32)
        self._load()

    def renew(self) -> None:
        """Another instance with another secret, for the coordinator knows this one by a secret that was lost."""
        self.instance, self.secret = f"{self._first[:54]}-{secrets.token_hex(4)}", secrets.token_urlsafe(32)
        self._keep()

    def _load(self) -> None:
        if self._file is None:
            return
        with contextlib.suppress(OSError, ValueError):
            if found := _WORDS.fullmatch(self._file.read_text(encoding="ascii")):
                self.instance, self.secret = found.groups()
        self._keep()
        with contextlib.suppress(OSError):
            for other in self._file.parent.glob("identity-*"):
                if time.time() - other.stat().st_mtime > OLD_SECONDS:
                    other.unlink(missing_ok=True)

    def _keep(self) -> None:
        if self._file is None:
            return
        written = self._file.with_name(f".{self._file.name}")
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
                file.write(f"{self.instance}\n{self.secret}\n")
            written.replace(self._file)
