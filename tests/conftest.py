"""Fixtures that every test may use: an environment without settings, a network, a coordinator, a whole suite."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from coordinator.journal.postgres.dialect import DIALECT
from shared.db.database import Database
from shared.db.memory import MemoryDatabase
from shared.db.postgres.database import Postgres
from shared.db.sqlite import Sqlite
from shared.documents.settings import UploadSettings
from shared.settings import CoordinatorSettings, ModelSettings, SearchSettings, fields
from tests.support import fakes
from tests.support.fakes import Network, Suite
from tests.support.postgres import UNSAFE, Server, find_programs, serve
from workers.generic.settings import GenericSettings

settings.register_profile("muster", derandomize=True, database=None, deadline=None)
settings.register_profile("long", derandomize=False, database=None, deadline=None, max_examples=2_000, print_blob=True)
settings.load_profile("muster")

_KINDS = (CoordinatorSettings, GenericSettings, SearchSettings, ModelSettings, UploadSettings)
_SETTINGS = {name.upper() for kind in _KINDS for name in fields(kind)}


@pytest.fixture(autouse=True, scope="session")
def quiet_logs() -> None:
    """Warnings and worse, plainly: structlog's own way of printing a traceback takes seconds."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )


@pytest.fixture(autouse=True)
def no_stray_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's shell has set is not what a test runs with."""
    for name in os.environ:
        if name.upper() in _SETTINGS or name.upper().removesuffix("_FILE") in _SETTINGS or name == "MUSTER_FAILPOINT":
            monkeypatch.delenv(name)


@pytest.fixture
def network() -> Network:
    """Host names mapped to apps, in this process."""
    return Network()


@pytest.fixture
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a coordinator keeps its journal: in memory, or where `fakes.FILE_AND_SERVER` asks for it."""
    kind = getattr(request, "param", "memory")
    if kind == "postgres":
        return str(request.getfixturevalue("postgres").make_database())
    return f"sqlite:///{tmp_path}/muster.db" if kind == "file" else "memory:"


@pytest.fixture
async def coordinator(network: Network, journal_url: str) -> AsyncIterator[Suite]:
    """A coordinator that knows no agent yet."""
    async with Suite(network, database_url=journal_url) as suite:
        yield suite


@pytest.fixture
async def suite(network: Network, journal_url: str) -> AsyncIterator[Suite]:
    """A coordinator with a researcher, an analyzer and a reporter."""
    async with Suite(network, fakes.RESEARCHER, fakes.ANALYZER, fakes.REPORTER, database_url=journal_url) as suite:
        yield suite


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A real PostgreSQL server for the tests of one process. In CI it must be there."""
    if find_programs() is None and not os.environ.get("CI"):
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql).")
    with tempfile.TemporaryDirectory(prefix="muster-postgres-") as folder, serve(Path(folder), *UNSAFE) as server:
        yield server


@pytest.fixture(params=["file", "memory", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """Each kind of database that a journal may be in."""
    if request.param == "postgres":
        return Postgres(request.getfixturevalue("postgres").make_database(), DIALECT)
    return Sqlite(tmp_path / "muster.db") if request.param == "file" else MemoryDatabase()
