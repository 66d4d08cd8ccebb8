"""Where the suite of a folder is found, and its key: in the environment, `.env`, and what `make secrets` wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.client.here import find_key, find_url

NAMES = ("API_KEY", "API_KEY_FILE", "COORDINATOR_URL", "PUBLISH_ADDRESS", "PUBLISH_PORT")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, with none of the names set."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("", "http://127.0.0.1:8000"),
        ("PUBLISH_PORT=", "http://127.0.0.1:8000"),
        ("\ufeffpublish_port = '9000'  # a second stack", "http://127.0.0.1:9000"),
        ("PUBLISH_ADDRESS=0.0.0.0", "http://127.0.0.1:8000"),
        ("PUBLISH_ADDRESS=192.0.2.7\nPUBLISH_PORT=9000", "http://192.0.2.7:9000"),
        ("PUBLISH_ADDRESS=[::1]", "http://[::1]:8000"),
        ("PUBLISH_PORT=9000\nCOORDINATOR_URL=http://box:8000", "http://box:8000"),
    ],
)
def test_the_port_comes_from_dotenv(folder: Path, written: str, found: str) -> None:
    (folder / ".env").write_text(written, encoding="utf-8")

    assert found == find_url()


def test_the_environment_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text("PUBLISH_PORT=9000\nAPI_KEY=old\n")
    monkeypatch.setenv("PUBLISH_PORT", "9001")
    monkeypatch.setenv("API_KEY", "new")

    assert (find_url(), find_key()) == ("http://127.0.0.1:9001", "new")


def test_the_key_is_found_where_secrets_wrote_it(folder: Path) -> None:
    """After API_KEY and API_KEY_FILE, as the coordinator reads them."""
    found = [find_key()]
    (folder / "secrets").mkdir()
    (folder / "secrets" / "api_key").write_text("made\n")
    found.append(find_key())
    (folder / ".env").write_text("API_KEY=written\n")
    found.append(find_key())
    (folder / "other").write_text("of-a-file\n")
    (folder / ".env").write_text("API_KEY=written\nAPI_KEY_FILE=other\n")
    found.append(find_key())

    assert found == [None, "made", "written", "of-a-file"]


@pytest.mark.parametrize("port", ["80a", "0", "65536", "-1", "٣"])
def test_what_is_no_port_is_named(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("PUBLISH_PORT", port)

    with pytest.raises(ValueError, match=f"PUBLISH_PORT={port} is no port"):
        find_url()


def test_files_that_cannot_be_read_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_bytes("PUBLISH_PORT=9000".encode("utf-16"))
    with pytest.raises(ValueError, match="is text in UTF-16"):
        find_url()

    (folder / ".env").unlink()
    monkeypatch.setenv("API_KEY_FILE", "nowhere")
    with pytest.raises(ValueError, match="API_KEY_FILE=nowhere cannot be read: No such file"):
        find_key()
