"""The keys that callers may send: the suite's own two, and those of a file that is read again when it changes."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from coordinator.access.scopes import ALL, WORKER, Scope, parse_scopes
from shared import logs
from shared.errors import MusterError
from shared.settings import CoordinatorSettings

LOOK_SECONDS = 1.0  # between two looks at the file
SUITE = "suite"  # whose names the suite's own workers are, whichever of its two keys they send
DIGEST = "sha256:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_OWN = frozenset({"api_key", "worker_key", SUITE})


@dataclass(frozen=True)
class Key:
    """Who may do what. `digest` is the SHA-256 of the key, which is nowhere; `owner` is whose names its agents are."""

    name: str
    scopes: frozenset[Scope]
    digest: bytes
    owner: str
    weight: float = 1.0  # its share of the places, beside the other keys that wait


class Keys:
    """Every key that is valid now. Keys of one name are one caller, so that a new one works before the old one goes."""

    def __init__(
        self,
        *,
        api_key: str | None = None,
        worker_key: str | None = None,
        file: Path | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        own = [("api_key", ALL, api_key), ("worker_key", WORKER, worker_key)]
        self._own = [Key(name, scopes, _digest_of(text), SUITE) for name, scopes, text in own if text]
        self._file = file
        self._now = now
        self._looked = float("-inf")
        self._seen: tuple[int, ...] | None = None
        self._valid = self._own

    @classmethod
    def of(cls, settings: CoordinatorSettings, *, now: Callable[[], float]) -> Keys:
        """The keys that the settings name."""
        given = [key.get_secret_value() if key is not None else None for key in (settings.api_key, settings.worker_key)]
        return cls(api_key=given[0], worker_key=given[1], file=settings.keys_file, now=now)

    @property
    def wanted(self) -> bool:
        """Whether callers need a key at all; a file that is empty still means that they do."""
        return bool(self._own) or self._file is not None

    def load(self) -> None:
        """Reads the file for the first time; raises `MusterError` with the line that is wrong."""
        if self._file is not None:
            try:
                self._seen = _stamp(self._file)
                self._valid = self._own + read_keys(self._file)
            except OSError as exc:
                raise MusterError(f"KEYS_FILE={self._file} cannot be read: {exc.strerror}.") from exc
            except ValueError as exc:
                raise MusterError(f"KEYS_FILE={self._file}: {exc}") from exc

    def list_valid(self) -> list[Key]:
        """Every key that is valid now."""
        self._refresh()
        return self._valid

    def find(self, token: str) -> Key | None:
        """The key that this is; every one is compared, in constant time."""
        self._refresh()
        given = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        found = None
        for key in self._valid:
            if hmac.compare_digest(key.digest, given) and found is None:
                found = key
        return found

    def get_weight(self, name: str | None) -> float:
        """The weight of the key of this name, as a part of the largest; of several with one name, the largest counts.

        A key that is gone has 1, as has one for which nothing is said.
        """
        mine = max((key.weight for key in self._valid if key.name == name), default=1.0)
        return mine / max((key.weight for key in self._valid), default=1.0)

    def are_several(self) -> bool:
        """Whether more than one caller may ask for tasks."""
        return self._file is not None and len({k.name for k in self._valid if Scope.EXECUTE in k.scopes}) > 1

    def _refresh(self) -> None:
        """Reads the file again once it has changed; where it cannot be read, the keys stay as they are."""
        if self._file is None or self._now() - self._looked < LOOK_SECONDS:
            return
        self._looked = self._now()
        try:
            stamp = _stamp(self._file)
            if stamp == self._seen:
                return
            self._seen = stamp
            self._valid = self._own + read_keys(self._file)
            logs.get().info("keys.read", file=str(self._file), keys=len(self._valid))
        except (OSError, ValueError) as exc:
            if self._seen is not None:
                logs.get().error("keys.unreadable", file=str(self._file), why=str(exc))
            self._seen = None if isinstance(exc, OSError) else self._seen


def read_keys(file: Path) -> list[Key]:
    """The keys of a file, one a line: a name, scopes, `sha256:` with the digest, and perhaps `weight=` with a number.

    Raises `OSError`, and `ValueError` with the line that is wrong.
    """
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            name, scopes, text, *more = line.split()
            weight = _weight(*more) if more else 1.0
            found.append(Key(_checked(name), parse_scopes(scopes.split(",")), _digest(text), name, weight))
        except ValueError as exc:
            said = (
                str(exc)
                if str(exc).endswith(".")
                else "A line is a name, scopes, sha256:… of the key, and perhaps weight=2."
            )
            raise ValueError(f"line {number}: {said}") from exc
    return found


def make_key(file: Path, name: str, scopes: Iterable[str], *, weight: float = 1.0) -> str:
    """A new key, whose digest is added to the file; raises `OSError`, and `ValueError` with a sentence."""
    wanted = ",".join(sorted(parse_scopes(scopes)))
    _checked(name)
    more = "" if weight == 1 else f" weight={weight:g}"
    if more:
        _weight(more.strip())
    key = secrets.token_urlsafe(32)
    new = not file.exists()
    with file.open("a", encoding="utf-8") as lines:
        lines.write(f"{name} {wanted} {DIGEST}{hashlib.sha256(key.encode()).hexdigest()}{more}\n")
    if new:
        file.chmod(0o600)
    return key


def remove_keys(file: Path, name: str) -> int:
    """Takes every key of this name out of the file; how many there were. Raises `OSError`."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.split()[:1] != [name]]
    file.write_text("".join(kept), encoding="utf-8")
    return len(lines) - len(kept)


def _checked(name: str) -> str:
    if not _NAME.match(name) or name in _OWN:
        raise ValueError(f"{name!r} cannot be a key's name.")
    return name


def _digest_of(text: str) -> bytes:
    """Of a setting, which is the key itself or its digest."""
    return _digest(text) if text.startswith(DIGEST) else hashlib.sha256(text.encode()).digest()


def _digest(text: str) -> bytes:
    if not re.fullmatch(DIGEST + "[0-9a-f]{64}", text):
        raise ValueError(f"The digest of a key is {DIGEST} and 64 hexadecimal digits.")
    return bytes.fromhex(text.removeprefix(DIGEST))


def _weight(text: str) -> float:
    if not re.fullmatch(r"weight=\d{1,4}(\.\d{1,4})?", text) or not 0.01 <= (weight := float(text[7:])) <= 1_000:
        raise ValueError("A weight is weight= and a number from 0.01 to 1000.")
    return weight


def _stamp(file: Path) -> tuple[int, ...]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino
