"""A PostgreSQL of its own in a folder, with databases that are thrown away with it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from load.processes.ports import free_port

START_SECONDS = 60.0
UNSAFE = ("fsync=off", "full_page_writes=off")  # for tests: a crash of the machine may break the data
_OPTIONS = ("listen_addresses=127.0.0.1", "max_connections=60")


def find_programs() -> Path | None:
    """The folder of `initdb` and `postgres`; None where PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    return Path(there).parent if there is not None else None


class Server:
    """A running server."""

    def __init__(self, folder: Path, programs: Path, options: Sequence[str]) -> None:
        self.folder = folder
        self.port = free_port()
        self._programs = programs
        self._options = (*_OPTIONS, *options)
        self._process: subprocess.Popen[bytes] | None = None
        self._made = 0

    @property
    def pid(self) -> int:
        """Of its first process, the parent of the others; raises RuntimeError while it does not run."""
        if self._process is None:
            raise RuntimeError("PostgreSQL does not run.")
        return self._process.pid

    def start(self) -> None:
        """Starts it, or starts it again on the same port and data."""
        data = self.folder / "data"
        if not data.exists():
            self.run_program(
                "initdb", "-D", str(data), "-U", "muster", "-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8", "-N"
            )
        options = [part for option in self._options for part in ("-c", option)]
        command = [str(self._programs / "postgres"), "-D", str(data), "-p", str(self.port), "-k", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([*command, *options], stdout=log, stderr=log, **_as_postgres())
        until = time.monotonic() + START_SECONDS
        asking = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(asking, check=False).returncode != 0:
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError((self.folder / "log").read_text()[-2_000:])
            time.sleep(0.05)

    def stop(self, *, kill: bool = False) -> None:
        """Ends it: at once and tidily, or as a crash does."""
        if self._process is None:
            return
        if kill:
            self._process.send_signal(3)  # SIGQUIT: every process ends at once, nothing is written
        else:
            self._process.send_signal(2)  # SIGINT: fast shutdown
        self._process.wait(30)
        self._process = None

    def promote(self) -> None:
        """Makes a standby the primary; returns when it takes writes."""
        self.run_sql("postgres", "SELECT pg_promote()")

    def wait_for_standby(self) -> None:
        """From now on no commit is answered before it is durable at the standby, too."""
        self.run_sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.run_sql("postgres", "SELECT pg_reload_conf()")
        until = time.monotonic() + START_SECONDS
        while self.run_sql("postgres", "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") != "1":
            if time.monotonic() > until:
                raise RuntimeError("The standby does not follow.")
            time.sleep(0.05)

    def make_database(self) -> str:
        """The address of a new empty database."""
        self._made += 1
        name = f"t{os.getpid()}_{self._made}"
        self.run_sql("postgres", f"CREATE DATABASE {name}")
        return f"postgresql://muster@127.0.0.1:{self.port}/{name}"

    def demand_password(self, role: str) -> None:
        """From now on, the role is asked for its password."""
        rules = self.folder / "data" / "pg_hba.conf"
        rules.write_text(f"host all {role} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        self.run_sql("postgres", "SELECT pg_reload_conf()")

    def run_sql(self, database: str, sql: str) -> str:
        """What `psql` prints."""
        command = ["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "muster", "-d", database, "-Atqc", sql]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.strip()

    def run_program(self, program: str, *arguments: str) -> None:
        """One of PostgreSQL's own commands, as the user that runs the server."""
        command = [str(self._programs / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=120, **_as_postgres())


@contextmanager
def serve(folder: Path, *options: str, primary: Server | None = None) -> Iterator[Server]:
    """A server in a folder, until the end of the block, with `options` as `postgresql.conf` has them.

    With a `primary` it is the standby that follows it. Raises RuntimeError where PostgreSQL is not installed.
    """
    programs = find_programs()
    if programs is None:
        raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
    server = Server(folder, programs, options)
    if primary is not None:
        there = ("-h", "127.0.0.1", "-p", str(primary.port), "-U", "muster")
        server.run_program("pg_basebackup", *there, "-D", str(folder / "data"), "-R", "-c", "fast")
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _as_postgres() -> dict[str, Any]:
    """PostgreSQL does not run as root."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
