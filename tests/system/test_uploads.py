"""Uploads as a user meets them: sent to the coordinator, searched by a real researcher beside its folder, cited."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.contracts import TaskView
from shared.documents.settings import UploadSettings
from shared.settings import SearchSettings
from tests.support.fakes import REPORTER, Network, Suite, eventually, uploading
from workers import analyzer, researcher
from workers.providers import identity

BOILER = "# Heating\n\n## Service\n\nThe boiler is serviced in May.\n"
PUMP = "# Pump\n\n## Pressure\n\nThe pump of the fountain runs at three bar.\n"


def a_researcher(tmp_path: Path, state: str, uploads: Path | None) -> Any:
    settings = SearchSettings(_env_file=None, knowledge_dir=tmp_path / "docs")
    read = UploadSettings(_env_file=None, uploads_dir=uploads)
    return researcher.agent(tmp_path / state, settings, uploads=read)


@pytest.fixture
async def suite(network: Network, tmp_path: Path) -> AsyncIterator[Suite]:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "heating.md").write_text(BOILER)
    uploads = tmp_path / "uploads"
    agents = (a_researcher(tmp_path, "r", uploads), analyzer.agent(tmp_path / "a"), REPORTER)
    async with Suite(network, *agents, app=uploading(uploads)) as suite:
        yield suite


async def send(suite: Suite, name: str, content: str | bytes) -> httpx.Response:
    """Sends a document, and waits until the researcher has read it."""
    answer = await suite.client.put(f"/documents/{name}", content=content, params={"replace": "true"})
    await reads(suite, name, True)
    return answer


async def reads(suite: Suite, name: str, wanted: bool) -> None:
    """Waits until the researcher's index has the document, or has it no more, though nobody asks a question."""

    async def seen() -> bool:
        answer = await suite.client.get("/agents/researcher/index")
        return answer.is_success and (answer.json()["files"] == 1 + wanted)

    await eventually(seen, seconds=120, why=f"{name} was not noticed")


def sources(task: TaskView) -> list[str]:
    assert task.result is not None
    return [source["location"].partition("#")[0] for source in task.result.sources]


async def first_source(suite: Suite, task: TaskView) -> dict[str, Any]:
    path = f"/tasks/{task.task_id}/sources/1"
    found: dict[str, Any] = (await suite.client.get(path, headers={"Accept": "application/json"})).json()
    return found


async def test_upload_is_cited_beside_the_folder(suite: Suite) -> None:
    """It is read without a question; its source opens in its place; both folders are searched."""
    sent = await send(suite, "pump.md", PUMP)
    task = await suite.execute("At what pressure does the pump of the fountain run?")
    other = await suite.execute("When is the boiler serviced?")
    place = await first_source(suite, task)

    assert sent.status_code == 201
    assert (sources(task)[0], sources(other)[0]) == ("uploads/pump.md", "heating.md")
    assert (place["location"].partition("#")[0], place["current"]) == ("uploads/pump.md", True)
    assert "three bar" in place["text"]


async def test_coordinator_knows_who_searches_uploads(suite: Suite) -> None:
    shown = (await suite.client.get("/documents")).json()

    assert shown["searched_by"] == [(await suite.agents())["researcher"].agent_id]


async def test_removed_upload_leaves_its_passage(suite: Suite) -> None:
    """What was reported is still to be read, with the note that the document is gone; nothing new cites it."""
    await send(suite, "pump.md", PUMP)
    task = await suite.execute("At what pressure does the pump of the fountain run?")
    await suite.client.delete("/documents/pump.md")
    await reads(suite, "pump.md", False)

    again = await suite.execute("At what pressure does the fountain's pump run?")
    place = await first_source(suite, task)

    assert "uploads/pump.md" not in sources(again)
    assert "three bar" in place["text"]
    assert not place["current"]


def zip_bomb(name: str) -> bytes:
    """Half a megabyte that unpacks to 500 MB."""
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name, "w") as part,
    ):
        for _ in range(500):
            part.write(b"\0" * 1_000_000)
    return packed.getvalue()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("name", "inside"),
    [("bomb.docx", "word/document.xml"), ("bomb.xlsx", "xl/workbook.xml"), ("bomb.epub", "META-INF/container.xml")],
)
async def test_zip_bomb_costs_itself_only(suite: Suite, name: str, inside: str) -> None:
    """It is taken, named as unreadable, and the other documents answer."""
    await send(suite, name, zip_bomb(inside))
    index = (await suite.client.get("/agents/researcher/index")).json()
    task = await suite.execute("When is the boiler serviced?")

    (why,) = [one["why"] for one in index["skipped"] if one["what"] == f"uploads/{name}"]
    assert "MB" in why
    assert sources(task)[0] == "heating.md"


async def register(suite: Suite, tmp_path: Path, uploads: Path | None) -> httpx.Response:
    """A second researcher, on another machine, over the same documents and these uploads."""
    folder = identity.of(tmp_path / "docs", uploads)
    assert folder is not None
    body = {"name": "researcher", "endpoint": "http://second", "capabilities": ["research"], "instance": "second-80"}
    return await suite.client.post("/register_agent", json=body | {"metadata": {"folder": folder.model_dump()}})


@pytest.mark.parametrize(("other", "says"), [(None, "no uploads"), ("elsewhere", "the uploads of")])
async def test_researcher_of_other_uploads_is_refused(
    suite: Suite, tmp_path: Path, other: str | None, says: str
) -> None:
    """It would be chance which documents are searched; the answer says why."""
    (tmp_path / "elsewhere").mkdir()

    answer = await register(suite, tmp_path, tmp_path / other if other else None)

    assert answer.status_code == 409
    assert f"this one {says}" in answer.json()["detail"]
    assert answer.json()["detail"].endswith("Give both the same UPLOADS_DIR.")


async def test_researcher_of_other_documents_is_refused(suite: Suite, tmp_path: Path) -> None:
    """As before: also where both search the same uploads."""
    (tmp_path / "docs").rename(tmp_path / "old")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "ships.md").write_text("# Ships")

    answer = await register(suite, tmp_path, tmp_path / "uploads")

    assert (answer.status_code, "serves other documents" in answer.json()["detail"]) == (409, True)


async def test_replica_with_the_same_uploads_is_taken(suite: Suite, tmp_path: Path) -> None:
    answer = await register(suite, tmp_path, tmp_path / "uploads")

    assert answer.status_code == 201
