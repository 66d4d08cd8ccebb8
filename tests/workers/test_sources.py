"""What the researcher tells of its documents: the state of its index, and a passage in its place."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from shared.contracts import StepRequest
from shared.report.model import Research
from shared.report.sources import IndexState, PlacedPassage
from shared.settings import SearchSettings
from shared.worker.app import create_worker_app
from tests.support.fakes import Network, eventually, serving, worker_settings
from workers import researcher

HEATING = """# Heating

The boiler stands in the cellar.

## Service

It is serviced in May.

## Costs

It cost 190 EUR.
"""


@pytest.fixture
def docs(tmp_path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "heating.md").write_text(HEATING)
    (folder / "raum.md").write_text("# Räume\n\nDer Serverraum ist im ersten Stock und wird gekühlt.\n")
    os.utime(folder / "heating.md", (1_700_000_000, 1_700_000_000))
    return folder


@asynccontextmanager
async def serving_researcher(docs: Path, tmp_path: Path, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    wanted = SearchSettings(_env_file=None, knowledge_dir=docs, **settings)
    app = create_worker_app(researcher.agent(tmp_path / "state", wanted), settings=worker_settings(), inner=Network())
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://researcher") as client:
            yield client


async def found(client: httpx.AsyncClient, question: str) -> Research:
    step = StepRequest(task_id="t", step_id=question, attempt=1, capability="research", input=question)
    answer = await client.post("/execute", content=step.model_dump_json())
    return Research.model_validate(answer.json()["output"])


async def test_a_passage_stands_between_its_neighbours(docs, tmp_path):
    async with serving_researcher(docs, tmp_path) as client:
        evidence = (await found(client, "When is the boiler serviced in May?")).evidence[0]
        place = PlacedPassage.model_validate((await client.get(f"/passages/{evidence.id}")).json())

    assert place == PlacedPassage(
        id=evidence.id,
        title="Heating",
        location="heating.md#service",
        heading="Service",
        text="It is serviced in May.",
        before="The boiler stands in the cellar.",
        after="It cost 190 EUR.",
        language="en",
        modified="2023-11-14",
    )
    assert (evidence.language, evidence.modified) == (place.language, place.modified)


async def test_a_passage_that_changed_is_no_longer_there(docs, tmp_path):
    async with serving_researcher(docs, tmp_path) as client:
        evidence = (await found(client, "When is the boiler serviced in May?")).evidence[0]
        (docs / "heating.md").unlink()

        async def gone() -> bool:
            await found(client, f"boiler {os.urandom(4).hex()}")
            return (await client.get(f"/passages/{evidence.id}")).status_code == 404

        await eventually(gone, seconds=5)
        answer = await client.get(f"/passages/{evidence.id}")

    assert answer.headers["content-type"] == "application/problem+json"


async def test_no_path_leads_to_a_passage(docs, tmp_path):
    async with serving_researcher(docs, tmp_path) as client:
        await found(client, "boiler")
        for path in ("heating.md", "..%2Fheating.md", "%2Fetc%2Fpasswd", "e"):
            assert (await client.get(f"/passages/{path}")).status_code == 404


async def test_the_index_says_what_it_holds(docs, tmp_path):
    async with serving_researcher(docs, tmp_path) as client:
        await found(client, "boiler")
        state = IndexState.model_validate((await client.get("/index")).json())

    assert (state.provider, state.files, state.passages, state.complete) == ("local", 2, 4, True)
    assert state.languages == {"en": 3, "de": 1}


async def test_the_web_keeps_no_index(docs, tmp_path):
    async with serving_researcher(docs, tmp_path, search_provider="wikipedia") as client:
        assert (await client.get("/index")).status_code == 404
        assert (await client.get("/passages/e123")).status_code == 404


async def test_the_gateway_leads_there(docs, tmp_path, suite):
    wanted = SearchSettings(_env_file=None, knowledge_dir=docs)
    app = create_worker_app(researcher.agent(tmp_path / "state", wanted), settings=worker_settings(), inner=Network())
    async with serving(app) as url, serving(suite.app, lifespan=False) as coordinator:
        await suite.register("researcher", url)
        await suite.sees(url.partition("//")[2], "healthy")
        async with httpx.AsyncClient(base_url=coordinator) as client:

            async def there() -> bool:
                return (await client.get("/agents/researcher/index")).json().get("files") == 2

            await eventually(there, seconds=5)
