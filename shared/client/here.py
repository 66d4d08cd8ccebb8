"""Where the suite of this folder listens, and its key: from the environment, `.env`, and what `make secrets` wrote."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

DOTENV = Path(".env")
KEY_FILE = Path("secrets/api_key")  # as docker-compose.prod.yml names it


def find_url() -> str:
    """COORDINATOR_URL, else this machine at PUBLISH_PORT. Raises ValueError with a sentence for what is no port."""
    known = _read_known()
    if url := known("COORDINATOR_URL"):
        return url
    host = (known("PUBLISH_ADDRESS") or "").strip("[]")
    if host in ("", "0.0.0.0", "::"):
        host = "127.0.0.1"
    port = known("PUBLISH_PORT") or "8000"
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise ValueError(f"PUBLISH_PORT={port} is no port: it must be a number from 1 to 65535.")
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def find_key() -> str | None:
    """The key that the suite asks for; None without one. Raises ValueError with a sentence for a file that is none."""
    if key := os.environ.get("API_KEY"):
        return key
    known = _read_known()
    if named := known("API_KEY_FILE"):
        return _read_text(Path(named), name="API_KEY_FILE").strip() or None
    if key := known("API_KEY"):
        return key
    try:
        return _read_text(KEY_FILE, name="The key").strip() or None
    except ValueError:
        return None


def check_dotenv(path: Path = DOTENV) -> None:
    """Raises ValueError where the file is there and is no text in UTF-8, with what it looks like."""
    try:
        raw = path.read_bytes() if path.is_file() else b""
    except OSError as exc:
        raise ValueError(f"{path.absolute()} cannot be read: {exc.strerror}.") from exc
    name = "UTF-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw else "another encoding"
    try:
        wrong_encoding = "\0" in raw.decode("utf-8")
    except UnicodeDecodeError:
        wrong_encoding = True
    if wrong_encoding:
        raise ValueError(f"{path.absolute()} is text in {name}. Save it as UTF-8.")


def _read_text(path: Path, *, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise ValueError(f"{name}={path} cannot be read: {exc.strerror}.") from exc
    except UnicodeDecodeError as exc:
        raise ValueError(f"{name}={path} is no text in UTF-8. Save it as UTF-8.") from exc


def _read_known() -> Callable[[str], str | None]:
    """A function that looks a name up in the environment, and then in `.env`; what is empty counts as unset."""
    check_dotenv()
    written: dict[str, str | None] = {}
    if DOTENV.is_file():
        from dotenv import dotenv_values  # 0.015 s, which a start without the file is spared

        written = dotenv_values(DOTENV, encoding="utf-8-sig")  # some editors begin the file with a mark
    found = {name.upper(): value for name, value in {**written, **os.environ}.items() if value}
    return found.get
