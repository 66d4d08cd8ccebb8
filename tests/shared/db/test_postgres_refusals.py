"""What a start says of a PostgreSQL that it cannot use: one sentence, without a password, and nothing is half done."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from shared.db.postgres.connection import Connector
from shared.db.postgres.database import Postgres
from shared.db.postgres.writing_connection import WritingConnection
from shared.errors import MusterError, StorageAway
from tests.shared.db.test_postgres import NOTES, note
from tests.support.postgres import Server

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@pytest.fixture(autouse=True)
def _starts_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.db.postgres.opening.START_SECONDS", 0.0)
    monkeypatch.setattr("shared.db.postgres.connection.CONNECT_SECONDS", 2.0)


@pytest.fixture
def url(postgres: Server) -> str:
    return postgres.make_database()


async def _open(url: str) -> str:
    """What is said of it; "" where it can be used."""
    db, said = Postgres(url, NOTES), ""
    try:
        await db.open()
        await db.write("note", note("n"))
    except MusterError as exc:
        said = exc.detail
    finally:
        await db.close()
    assert "secret" not in said
    assert "\n" not in said
    assert said == "" or said.endswith(".")
    return said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("/{db}", "", 'database "muster" does not exist'),
        ("/{db}", "/a b", 'database "a b" does not exist'),
        ("/{db}", "/{db}/x", 'database "{db}/x" does not exist'),
        (":{port}/", ":port/", "its port is not a number"),
        (":{port}/", ":99999/", "its port is not a number"),
        ("muster@", "muster:se/secret@", "its port is not a number"),
        ("muster@", "muster:se#secret@", "its port is not a number"),
        ("muster@", "no body:secret@", 'role "no body" does not exist'),
        ("/{db}", "/{db}?sslmode=sometimes", "`sslmode` parameter must be one of"),
        ("/{db}", "/{db}?sslmode=require", "offers no TLS"),
        ("/{db}", "/{db}?nonsense=1", 'parameter "nonsense"'),
        ("/{db}", "/{db}?target_session_attrs=any-thing", "target_session_attrs is read-write, or is not given"),
        ("/{db}", "/{db}?target_session_attrs=standby", "No server of DATABASE_URL takes writes"),
        ("127.0.0.1", "no-such-host.invalid", "cannot be reached: [Errno"),
        ("127.0.0.1", "[::1", "Invalid IPv6 URL"),
        ("127.0.0.1:{port}", "%2Fnowhere", "No such file"),
        ("/{db}", "/{db}?target_session_attrs=read-write", ""),
        ("/{db}", "/{db}?sslmode=prefer&application_name=mine", ""),
        ("127.0.0.1:{port}", "127.0.0.1:1,127.0.0.1:{port}", ""),
        ("127.0.0.1:{port}/{db}", "/{db}?host={socket}&port={port}", ""),
    ],
)
async def test_each_part_of_an_address(postgres, url, old, new, said):
    parts = {"db": url.rpartition("/")[2], "port": postgres.port, "socket": postgres.folder}
    told = await _open(url.replace(old.format(**parts), new.format(**parts)))

    assert said.format(**parts) in told
    assert bool(told) == bool(said)


@asynccontextmanager
async def listening(answer: Answer) -> AsyncIterator[str]:
    """The address of something else than PostgreSQL."""
    serving: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with suppress(OSError):
            await answer(reader, writer)
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"postgresql://muster:secret@127.0.0.1:{server.sockets[0].getsockname()[1]}/muster"
    if serving:
        await asyncio.wait(serving, timeout=10)


async def test_web_server_on_the_port_is_told():
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with listening(answer) as address:
        assert "is not PostgreSQL" in await _open(address)


async def test_silent_server_is_told_in_time():
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(answer) as address:
        assert "cannot be reached: No answer came in time." in await _open(address)


@asynccontextmanager
async def altered(url: str, alter: Callable[[bytes], bytes]) -> AsyncIterator[str]:
    """A server whose words are changed on their way."""
    port = int(url.rpartition(":")[2].partition("/")[0])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upper, lower = await asyncio.open_connection("127.0.0.1", port)

        async def up() -> None:
            while data := await reader.read(65_536):
                lower.write(data)
            lower.close()
            await lower.wait_closed()

        async with asyncio.TaskGroup() as group:
            group.create_task(up())
            while data := await upper.read(65_536):
                writer.write(alter(data))

    async with listening(serve) as address:
        yield re.sub(r":\d+/", f":{address.rpartition(':')[2].partition('/')[0]}/", url)


async def test_old_server_is_refused(url):
    """Only its word for its version is changed here."""
    async with altered(url, lambda data: re.sub(rb"(server_version\0)1\d", rb"\g<1>14", data)) as old:
        told = await _open(old)

    assert re.fullmatch(r"PostgreSQL 14\.\d+ is too old: Muster needs 15 or newer\.", told)


async def test_pooler_is_refused(url):
    """Its connections have other numbers than those of the server behind it, as PgBouncer's have."""

    def renumber(data: bytes) -> bytes:
        return re.sub(rb"(?<=K\0\0\0\x0c)....", b"\0\0\0\7", data, count=1, flags=re.DOTALL)

    async with altered(url, renumber) as pooled:
        told = await _open(pooled)

    assert "PgBouncer" in told
    assert "Point DATABASE_URL to the server itself" in told


async def test_refusal_of_a_pooler_is_explained():
    """What PgBouncer says of settings that it does not pass on."""
    said = b"SFATAL\0C08P01\0Munsupported startup parameter: statement_timeout\0\0"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (await reader.read(1_000))[4:8] == b"\x04\xd2\x16\x2f":  # asks for TLS
            writer.write(b"N")
            await reader.read(1_000)
        writer.write(b"E" + (len(said) + 4).to_bytes(4) + said)
        await writer.drain()

    async with listening(answer) as address:
        assert "PgBouncer" in await _open(address)


async def test_tables_of_another_program_stay_untouched(postgres, url):
    database = url.rpartition("/")[2]
    postgres.run_sql(database, "CREATE TABLE notes (mine int); INSERT INTO notes VALUES (7)")

    told = await _open(url)

    assert "belongs to another program" in told
    assert postgres.run_sql(database, "SELECT * FROM notes") == "7"
    assert postgres.run_sql(database, "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'muster%'") == "0"


async def test_user_without_rights_is_told(postgres, url):
    postgres.run_sql("postgres", "CREATE ROLE guest LOGIN")

    told = await _open(url.replace("muster@", "guest@"))

    assert "permission denied for schema public" in told
    assert "must own the database" in told


async def test_standby_at_a_start_is_told(postgres, url):
    postgres.run_sql("postgres", f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_read_only = on")

    assert (await _open(url)).startswith("PostgreSQL is read-only")


async def test_no_connection_left_at_a_start(postgres, url):
    postgres.run_sql("postgres", "CREATE ROLE crowd LOGIN CONNECTION LIMIT 1")
    asked = url.replace("muster@", "crowd@")
    other = await asyncpg.connect(asked)
    try:
        assert "has no connection left" in await _open(asked)
    finally:
        await other.close()


# --- TLS ----------------------------------------------------------------------------------------------


def _sign(folder: Path, name: str) -> Path:
    """A certificate of this machine that only it has signed; its key is beside it."""
    command = ["openssl", "req", "-new", "-x509", "-days", "2", "-nodes", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-out", str(folder / f"{name}.crt"), "-keyout", str(folder / f"{name}.key")]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    return folder / f"{name}.crt"


@pytest.fixture
def certificate(postgres: Server, tmp_path: Path) -> Iterator[Path]:
    """The server offers TLS with this certificate."""
    data = postgres.folder / "data"
    made = _sign(tmp_path, "server")
    for path in (made, made.with_suffix(".key")):
        shutil.copy(path, data / path.name)
        (data / path.name).chmod(0o600)
        os.chown(data / path.name, data.stat().st_uid, data.stat().st_gid)
    postgres.run_sql("postgres", "ALTER SYSTEM SET ssl = on")
    postgres.run_sql("postgres", "SELECT pg_reload_conf()")
    yield made
    postgres.run_sql("postgres", "ALTER SYSTEM RESET ssl")
    postgres.run_sql("postgres", "SELECT pg_reload_conf()")


async def test_certificate_is_trusted_where_it_is_named(certificate, url, tmp_path):
    other = _sign(tmp_path, "other")

    assert await _open(f"{url}?sslmode=require") == ""
    assert "its certificate is not trusted" in await _open(f"{url}?sslmode=verify-full&sslrootcert={other}")
    assert await _open(f"{url}?sslmode=verify-full&sslrootcert={certificate}") == ""


async def test_demanded_tls_is_named(postgres, certificate, url):
    postgres.run_sql("postgres", "CREATE ROLE careful LOGIN SUPERUSER")
    rules = postgres.folder / "data" / "pg_hba.conf"
    rules.write_text(f"hostnossl all careful 127.0.0.1/32 reject\n{rules.read_text()}")
    postgres.run_sql("postgres", "SELECT pg_reload_conf()")
    asked = url.replace("muster@", "careful@")

    assert "no encryption" in await _open(f"{asked}?sslmode=disable")
    assert await _open(asked) == ""


async def test_commits_wait_for_the_disk(postgres, url):
    """Where an administrator has switched that off; what is stricter stays."""
    for value, counts in (("off", "on"), ("remote_apply", "remote_apply")):
        postgres.run_sql("postgres", f"ALTER DATABASE {url.rpartition('/')[2]} SET synchronous_commit = {value}")
        writing = WritingConnection(Connector(url))
        assert await (await writing.get()).fetchval("SHOW synchronous_commit") == counts
        writing.drop()


async def test_away_is_no_reason_to_give_up(postgres, url):
    """A start that cannot connect may be tried again."""
    with pytest.raises(StorageAway):
        await Postgres(url.replace(str(postgres.port), "1"), NOTES).open()
