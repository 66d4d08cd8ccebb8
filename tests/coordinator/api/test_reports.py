"""What programs and readers get of a report: in which form, whether it answers, and its sources in their place."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from lxml import html as lxml_html

from coordinator.api.report_format import choose_format
from shared.agent import Context, Reply
from shared.contracts import StepRequest
from shared.errors import NotFound
from shared.report.model import ADMITTED, Report
from shared.settings import SearchSettings
from tests.support.fakes import MOON, PASSAGE, REPORTER, Network, Suite, agent, eventually, serving
from workers import analyzer, researcher

WORD = {"word": "tides", "weight": 2.0, "passages": 1}
NOBODYS = {"word": "Norway", "weight": 2.0, "passages": 0}


def judging(answered: bool) -> Any:
    """An analyzer that finds one passage, and says whether that answers."""

    async def run(step: StepRequest, ctx: Context) -> Reply:
        passages = [e for output in step.upstream.values() for e in output["evidence"]]
        finding = {"id": "f", "statement": MOON, "topic": "", "support": "moderate", "evidence": [passages[0]["id"]]}
        said = {"answered": answered, "confidence": 0.5, "words": [WORD, *([] if answered else [NOBODYS])]}
        return Reply({"question": step.task_description, "findings": [finding], "sources": passages[:1]} | said)

    return agent("analyzer", "analyze", run)


async def researching(step: StepRequest, ctx: Context) -> Reply:
    """A passage of a document, and one of the web."""
    page = PASSAGE | {"id": "t1", "provider": "local"}
    web = PASSAGE | {"id": "w1", "location": "https://a.test/tides", "text": f"On the web: {MOON}"}
    return Reply({"question": "", "provider": "", "searched": "two pages", "evidence": [page, web]})


def opening(place: dict[str, Any] | None) -> Any:
    """A researcher that has a passage still, or not."""

    def routes(opened: Any) -> APIRouter:
        router = APIRouter()

        @router.get("/passages/{id}")
        async def passage(id: str) -> Any:
            if place is None:
                raise NotFound("It is gone.")
            return {"id": id, "title": "Tides", "heading": "Why", "location": "tides.md", "text": MOON} | place

        return router

    return agent("researcher", "research", researching, routes=routes)


@pytest.fixture
async def answering(network: Network) -> AsyncIterator[Suite]:
    async with Suite(network, opening({"before": "Look.", "after": "So."}), judging(True), REPORTER) as suite:
        yield suite


@pytest.fixture
async def admitting() -> AsyncIterator[Suite]:
    async with Suite(Network(), opening(None), judging(False), REPORTER) as suite:
        yield suite


async def test_a_program_can_tell_whether_the_question_is_answered(answering: Suite, admitting: Suite) -> None:
    yes, no = await answering.execute(), await admitting.execute()

    assert [(t.result.answered, t.result.confidence) for t in (yes, no)] == [(True, 0.5), (False, 0.5)]
    report = (await admitting.client.get(f"/tasks/{no.task_id}/report.json")).json()
    assert (report["answered"], report["confidence"]) == (False, 0.5)


async def test_where_nobody_judged_it_is_unknown(suite: Suite) -> None:
    asked = [await suite.execute(), await suite.execute(agents=["researcher"])]

    assert [(task.result.answered, task.result.confidence) for task in asked] == [(None, 0.0)] * 2


@pytest.mark.parametrize("said", [{"answered": "yes", "confidence": "much"}, {"answered": True, "confidence": 1e9}])
async def test_what_a_stranger_says_of_itself_stays_a_share(coordinator: Suite, said: dict[str, Any]) -> None:
    async def run(step: StepRequest, ctx: Context) -> Reply:
        return Reply({"question": "", "findings": []} | said)

    await coordinator.add(agent("odd", "analyze", run))
    task = await coordinator.execute(plan=[{"id": "a", "capability": "analyze"}])

    assert task.result.answered in (None, True)
    assert 0 <= task.result.confidence <= 1


async def test_a_plain_report_admits_too(network: Network) -> None:
    """Also where no reporter is there to say it."""
    async with Suite(network, opening(None), judging(False)) as suite:
        task = await suite.execute(timeout_seconds=2.0)

    assert f"**{ADMITTED}.**" in task.result.report
    assert task.result.report.index(ADMITTED) < task.result.report.index(MOON)


@pytest.mark.parametrize(("type", "begins"), [("text/markdown", "# Why are there tides?"), ("text/html", "<!doctype")])
async def test_a_task_can_be_answered_with_its_report(answering: Suite, type: str, begins: str) -> None:
    answer = await answering.ask(headers={"Accept": f"{type}, application/json;q=0.5"})

    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, type)
    assert answer.text.startswith(begins)
    assert answer.headers["location"] == f"/tasks/{answer.headers['muster-task']}"


async def test_pages_carry_their_policy_as_a_header(answering: Suite) -> None:
    """A report and a source, wherever they are asked for, run, load and are framed by nothing."""
    asked = await answering.ask(headers={"Accept": "text/html"})
    at = f"/tasks/{asked.headers['muster-task']}"
    pages = [asked, await answering.client.get(f"{at}/report.html"), await answering.client.get(f"{at}/sources/1")]
    plain = await answering.client.get(f"{at}/report.md")

    for page in pages:
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
    assert [page.headers["x-content-type-options"] for page in (*pages, plain)] == ["nosniff"] * 4


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html;q=0.2, application/json", "image/png"])
async def test_everybody_else_gets_the_taskview(answering: Suite, accept: str) -> None:
    answer = await answering.ask(headers={"Accept": accept})

    assert answer.json()["status"] == "completed"


async def test_missing_report_is_a_problem_in_any_format(coordinator: Suite) -> None:
    """A report that cannot be is a problem in any format."""
    answer = await coordinator.ask(timeout_seconds=0.2, headers={"Accept": "text/html"})

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "html"),
        ("application/json;q=0.4, text/markdown;q=0.5", "markdown"),
        ("TEXT/HTML", "html"),
        ("text/html;q=0", None),
        ("text/html;q=x", None),
        ("*/*", None),
        ("", None),
    ],
)
def test_the_format_is_the_one_that_accept_likes_best(accept: str, format: str | None) -> None:
    assert choose_format(accept) == format


async def test_the_brief_view_leaves_out_what_steps_delivered(answering: Suite) -> None:
    answer = await answering.client.post("/execute_task?view=brief", json={"task_description": "Why?"})
    full = await answering.client.get(f"/tasks/{answer.json()['task_id']}")
    brief = await answering.client.get(f"/tasks/{answer.json()['task_id']}?view=brief")

    assert ["output" in step for step in full.json()["results"]] == [True] * 3
    assert ["output" in step for step in brief.json()["results"]] == [False] * 3
    assert brief.json() == answer.json()
    assert brief.json()["result"] == full.json()["result"]


async def test_an_unknown_view_is_refused(answering: Suite) -> None:
    assert (await answering.client.get("/tasks/x?view=short")).status_code == 422


async def test_json_is_indented_for_people_who_ask(answering: Suite) -> None:
    task = (await answering.execute()).task_id
    for path in ("/tasks", f"/tasks/{task}", f"/tasks/{task}/sources/1"):
        plain, pretty = [
            await answering.client.get(path + query, headers={"Accept": "application/json"})
            for query in ("", "?pretty")
        ]
        assert ('": ' in plain.text, "\n" in plain.text) == (False, False)
        assert pretty.text.startswith('{\n  "')
        assert plain.json() == pretty.json()


async def source(suite: Suite, number: int, accept: str = "application/json") -> httpx.Response:
    task = await suite.execute()
    return await suite.client.get(f"/tasks/{task.task_id}/sources/{number}", headers={"Accept": accept})


async def test_a_source_opens_in_its_place(answering: Suite) -> None:
    """Between what comes before and after it, as the researcher has it now."""
    found = (await source(answering, 1)).json()

    assert (found["before"], found["text"], found["after"]) == ("Look.", MOON, "So.")
    assert (found["current"], found["heading"], found["note"]) == (True, "Why", "")


async def test_a_browser_gets_a_page_that_leads_back(answering: Suite) -> None:
    answer = await source(answering, 1, "text/html,*/*;q=0.8")
    page = lxml_html.document_fromstring(answer.text)

    assert [mark.text for mark in page.iter("mark")] == ["tides"]
    assert page.xpath("//a[@href='../report.html']")
    assert (await source(answering, 1, "*/*")).headers["content-type"].startswith("text/html")
    assert (await source(answering, 1, "text/markdown")).text.startswith("# Tides\n")


@pytest.mark.parametrize("why", ["The document has changed", "The researcher is unavailable"])
async def test_unreadable_source_shows_what_was_cited(admitting: Suite, why: str) -> None:
    """And says which of both it is."""
    task = await admitting.execute()
    if "researcher" in why:
        admitting.network.unplug("researcher")
    answer = await admitting.client.get(f"/tasks/{task.task_id}/sources/1", headers={"Accept": "application/json"})
    found = answer.json()

    assert (found["text"], found["before"], found["current"]) == (MOON, "", False)
    assert found["note"].startswith(why)


async def test_a_passage_that_is_no_passage_costs_nothing(network: Network) -> None:
    async with Suite(network, opening({"text": None}), judging(True), REPORTER) as suite:
        found = (await source(suite, 1)).json()

    assert (found["text"], found["current"]) == (MOON, False)


async def test_web_source_shows_what_was_read_with_link(network: Network) -> None:
    """A source of the web is shown as it was read and linked."""

    async def first_of_the_web(step: StepRequest, ctx: Context) -> Reply:
        reply = await researching(step, ctx)
        return Reply(reply.output | {"evidence": reply.output["evidence"][::-1]})

    async with Suite(network, agent("researcher", "research", first_of_the_web), judging(True), REPORTER) as suite:
        found, page = await source(suite, 1), await source(suite, 1, "text/html")

    assert (found.json()["text"], found.json()["current"]) == (f"On the web: {MOON}", False)
    assert 'href="https://a.test/tides"' in page.text
    assert network.calls("researcher", "/passages") == []


@pytest.mark.parametrize("id", ["..", ".", "../agents", "a/../../b", "x?y#z", "é\n"])
async def test_no_id_of_a_stranger_leads_elsewhere(network: Network, id: str) -> None:
    """An id is one segment of a path."""

    async def run(step: StepRequest, ctx: Context) -> Reply:
        return Reply({"question": "", "provider": "", "searched": "", "evidence": [PASSAGE | {"id": id}]})

    async with Suite(network, agent("researcher", "research", run), judging(True), REPORTER) as suite:
        found = await source(suite, 1)
        paths = [r.url.raw_path for r in network.sent if r.url.host == "researcher" and r.method == "GET"]

    assert found.json()["text"] == MOON
    asked = [path for path in paths if path != b"/health"]
    assert all(path.startswith(b"/passages/") and path.count(b"/") == 2 for path in asked), asked


async def test_unknown_source_number_is_not_found(answering: Suite) -> None:
    """A number that the report does not have is not found."""
    assert (await source(answering, 9)).status_code == 404
    assert (await source(answering, 0)).status_code == 422


async def test_source_is_missing_before_the_task_has_ended(answering: Suite) -> None:
    """A source is not there before the task has ended."""
    answering.network.delay("researcher", 60)
    task = await answering.begin()

    assert (await answering.client.get(f"/tasks/{task}/sources/1")).status_code == 409


async def test_a_page_links_its_sources_from_wherever_it_stands(answering: Suite) -> None:
    """Behind a prefix, too; Markdown, which is read elsewhere, has whole addresses."""
    task = (await answering.execute()).task_id
    own = await answering.client.get(f"/tasks/{task}/report.html")
    asked = await answering.ask(headers={"Accept": "text/html"})
    text = await answering.client.get(f"/tasks/{task}/report.md")

    assert 'href="sources/1"' in own.text
    assert f'href="tasks/{asked.headers["muster-task"]}/sources/1"' in asked.text
    assert f"(http://coordinator/tasks/{task}/sources/1)" in text.text


async def test_chat_states_the_admission_first_and_as_data(admitting: Suite) -> None:
    """A chat says the admission first and a program can tell."""
    body = {"model": "coordinator", "messages": [{"role": "user", "content": "Norway?"}]}
    whole = (await admitting.client.post("/v1/chat/completions", json=body)).json()
    streamed = await admitting.client.post("/v1/chat/completions", json=body | {"stream": True})

    assert whole["choices"][0]["message"]["content"].startswith(f"**{ADMITTED}. None of them mentions: Norway.**")
    assert whole["muster"] == {"answered": False, "confidence": 0.5, "task_id": whole["muster"]["task_id"]}
    chunks = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
    assert [chunk["muster"]["answered"] for chunk in chunks if "muster" in chunk] == [False]


async def test_links_in_a_chat_lead_to_the_public_address(network: Network) -> None:
    agents = (opening(None), judging(True), REPORTER)
    body = {"model": "coordinator", "messages": [{"role": "user", "content": "Why?"}]}
    async with Suite(network, *agents, public_url="https://muster.test/x/") as suite:
        answer = (await suite.client.post("/v1/chat/completions", json=body)).json()

    link = f"https://muster.test/x/tasks/{answer['muster']['task_id']}/sources/1"
    assert f"({link})" in answer["choices"][0]["message"]["content"]


async def test_an_a2a_answer_says_whether_it_is_one(admitting: Suite) -> None:
    message = {"messageId": "1", "role": "ROLE_USER", "parts": [{"text": "Norway?"}]}
    call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    answer = (await admitting.client.post("/a2a", json=call, headers={"A2A-Version": "1.0"})).json()

    artifact = answer["result"]["task"]["artifacts"][0]
    assert artifact["parts"][0]["text"].startswith(f"**{ADMITTED}")
    assert (artifact["metadata"]["answered"], artifact["metadata"]["confidence"]) == (False, 0.5)


async def test_the_built_in_workers_open_their_sources(suite_of_documents: Suite, tmp_path: Path) -> None:
    """From a question to the passage in its document, and to what is left of it when that is gone."""
    asked = await suite_of_documents.ask("When is the boiler serviced?", headers={"Accept": "application/json"})
    task = asked.json()
    url = f"/tasks/{task['task_id']}/sources/1"

    async def opened() -> Any:
        return (await suite_of_documents.client.get(url, headers={"Accept": "application/json"})).json()

    assert task["result"]["answered"] is True
    assert (await opened())["before"] == "The boiler stands in the cellar."
    (tmp_path / "docs" / "heating.md").unlink()

    async def gone() -> bool:
        await suite_of_documents.execute("Where is the boiler?")
        return not (await opened())["current"]

    await eventually(gone, seconds=10)
    assert "The boiler is serviced in May." in (await opened())["text"]


@pytest.fixture
async def suite_of_documents(network: Network, tmp_path: Path) -> AsyncIterator[Suite]:
    (tmp_path / "docs").mkdir()
    text = "# Heating\n\nThe boiler stands in the cellar.\n\n## Service\n\nThe boiler is serviced in May.\n"
    (tmp_path / "docs" / "heating.md").write_text(text)
    settings = SearchSettings(_env_file=None, knowledge_dir=tmp_path / "docs")
    agents = (researcher.agent(tmp_path / "r", settings), analyzer.agent(tmp_path / "a"), REPORTER)
    async with Suite(network, *agents) as suite:
        yield suite


async def test_a_report_as_json_is_a_report(answering: Suite) -> None:
    task = (await answering.execute()).task_id
    answer = await answering.client.get(f"/tasks/{task}/report", headers={"Accept": "application/json"})

    assert Report.model_validate_json(answer.text).words[0].word == "tides"


async def test_a_page_is_served_over_http(answering: Suite) -> None:
    """As a browser asks for it."""
    async with serving(answering.app, lifespan=False) as url, httpx.AsyncClient(base_url=url) as client:
        task = (await answering.execute()).task_id
        page = await client.get(f"/tasks/{task}/report", headers={"Accept": "text/html,application/xhtml+xml"})
        link = lxml_html.document_fromstring(page.text).xpath("//p[@class='where']/a/@href")[0]
        place = await client.get(f"/tasks/{task}/{link}", headers={"Accept": "text/html"})

    assert place.status_code == 200


async def test_a_person_at_a_terminal_can_read_it(answering: Suite) -> None:
    """What curl gets is indented unless it says otherwise; for programs nothing changes."""
    body = {"task_description": "Why are there tides?"}
    client = answering.client

    async def sent(agent: str, query: str = "") -> str:
        return (await client.post(f"/execute_task{query}", json=body, headers={"User-Agent": agent})).text

    typed, listed = await sent("curl/8.5.0"), await client.get("/tasks", headers={"User-Agent": "curl/8.5.0"})

    assert typed.startswith('{\n  "task_id"')
    assert typed.endswith("\n}\n")
    assert listed.text.startswith('{\n  "tasks"')
    assert [(await sent(*one)).count("\n") for one in [("curl/8.5.0", "?pretty=no"), ("httpx/0.28",)]] == [0, 0]


async def test_an_error_has_a_line_for_each_member(answering: Suite) -> None:
    """Also where many fields are wrong, and where the refused task is told with it."""
    answer = await answering.client.post("/execute_task", json={"task": "Why?", "timeout_seconds": -1})

    assert len(answer.text.splitlines()) == len(answer.json()) + 2
    assert '\n  "detail": "/task_description: Field required (2 more)",\n' in answer.text
    assert answer.text.endswith("}\n")
