"""Small folders and everyday questions, through researcher, analyzer and reporter: each stands for its kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from shared.agent import Agent
from shared.contracts import StepRequest
from shared.report.model import Report, ReportOutput
from shared.settings import SearchSettings
from tests.workers.test_analyzer import Ctx
from workers import analyzer, reporter, researcher

CHARACTERS = 1_600  # of what is shown, in which a reader finds the answer
COOKING = {
    "dal.md": "# Dal\n\n## Ingredients\n\n- 250 g red lentils\n- 1 onion\n\n## Steps\n\n1. Fry it.\n2. Boil all.\n",
    "bread.md": "# Flatbread\n\n## Ingredients\n\n- 300 g flour\n\n## Steps\n\n1. Mix flour and water.\n2. Bake it.\n",
    "soup.txt": "Winter soup needs three carrots. It keeps for two days. Serve it hot, with bread.\n",
}
OTHERS = {
    "garden.md": "# Garden\n\nThe hedge is cut in February. The roses get water every second day in summer.\n",
    "car.md": "# Car\n\nThe tyres are changed in October. The insurance is paid in January, for the whole year.\n",
    "phones.txt": "Plumber: 555 0101\nDoctor: 555 0102\nSchool: 555 0103\n",
}
BACKUPS = {"backups.md": "# Backups\n\nWe decided to keep backups for 30 days.\n"}
HEATING = {"heating.md": "# Heating\n\n- Next service: May 2027\n- Last invoice: 190.00 EUR\n"}
LOCKS = {
    "locks.md": "# Locks\n\nLocks guard rows.\n\n## Kinds\n\nThere are three kinds of locks:\n\n- shared locks\n"
    "- exclusive locks\n- update locks\n"
}
RUNBOOK = {
    "mail.md": "# Runbook\n\n## The mail queue grows\n\n### What it means\n\nThe mail queue holds what waits.\n\n"
    "### What to do\n\n1. Look at the disk of the relay.\n2. Restart the relay.\n"
}
MANUAL = {
    "tool.txt": "NAME\n       tool - does things\n\nOPTIONS\n       -q, --quiet\n              Give less output.\n\n"
    "       -v, --verbose\n              Give more output.\n\n       --since DATE\n              Show newer ones.\n"
}
CLOCK = {
    "clock.md": "# House\n\n## Why is the clock wrong?\n\nIts battery lasts two years; a new one is in the drawer.\n"
}
USERS = {
    "users.md": "# Verwaltung\n\nIch bin der Text, den ich lese.\n\n## Benutzer\n\n"
    "Einen neuen Benutzer legen Sie unter Einstellungen an.\n"
}
TIP = {"keys.md": "# Keys\n\n> [!TIP]\n> The spare key hangs behind the door.\n"}
CHINESE = {"shop.txt": "营业时间是早上九点到晚上六点。\n", "ru.txt": "Здесь хранится инвентарь и инструменты.\n"}
JAPANESE = {"room.txt": "会議室は三階にあります。\n"}
PRINTER = {"printer.md": "# Printer\n\nTo restart the printer service, open the settings and press Restart.\n"}


async def reported(folder: Path, documents: dict[str, str], question: str) -> Report:
    """The report of the three agents on a question about a folder."""
    docs = folder / "docs"
    docs.mkdir()
    for name, text in documents.items():
        (docs / name).write_text(text, encoding="utf-8")
    settings = SearchSettings(_env_file=None, knowledge_dir=docs)
    found = await _done(researcher.agent(folder / "state", settings), question, {})
    analysis = await _done(analyzer.agent(folder), question, {"r": found})
    return ReportOutput.model_validate(await _done(reporter.agent(folder), question, {"a": analysis})).document


async def _done(agent: Agent, question: str, upstream: dict[str, Any]) -> Any:
    """What an agent makes of a question and of what the agent before it made."""
    step = StepRequest(task_id="t", step_id=agent.name, task_description=question, upstream=upstream)
    ctx: Any = Ctx()
    async with agent.open() as ctx.state:
        return (await agent.run(step, ctx)).output


@pytest.mark.parametrize(
    ("documents", "question", "answers"),
    [
        (BACKUPS, "What did we decide about backups?", ["30 days"]),
        (HEATING, "When is the next heating service, and what did the last one cost?", ["May 2027", "190.00 EUR"]),
        (COOKING, "How do I make flatbread?", ["300 g flour", "Mix flour and water."]),
        (LOCKS, "Which kinds of locks are there?", ["shared locks", "exclusive locks", "update locks"]),
        (RUNBOOK, "What do I do when the mail queue grows?", ["Look at the disk", "Restart the relay"]),
        (MANUAL, "Which levels of output are there?", ["--quiet", "--verbose"]),
        (MANUAL, "Which options change how much output there is?", ["--quiet", "--verbose"]),
        (CLOCK, "Why is the clock wrong?", ["battery"]),
        (USERS, "Wie lege ich einen Benutzer an?", ["unter Einstellungen an"]),
        (TIP, "Where does the spare key hang?", ["behind the door"]),
        (CHINESE, "营业时间是什么？", ["早上九点到晚上六点"]),
        (JAPANESE, "会議室はどこですか？", ["三階"]),
        (PRINTER, "how do i resart the printr servis", ["press Restart"]),
    ],
)
async def test_the_answer_is_shown(
    tmp_path: Path, documents: dict[str, str], question: str, answers: Sequence[str]
) -> None:
    report = await reported(tmp_path, {**OTHERS, **documents}, question)

    shown = "\n".join(one.statement for one in [*report.summary, *(f for s in report.sections for f in s.findings)])
    assert report.answered, report.summary
    assert [answer for answer in answers if answer not in shown[:CHARACTERS]] == []


async def test_recipes_are_found_by_what_is_in_them(tmp_path: Path) -> None:
    report = await reported(
        tmp_path, {f"recipes-{name}": text for name, text in COOKING.items()}, "Which recipes use lentils?"
    )

    assert "red lentils" in report.summary[0].statement


@pytest.mark.parametrize(
    ("documents", "question", "nobody"),
    [
        (COOKING, "Do you ship to Norway?", ["ship", "Norway"]),
        (OTHERS, "What is the wifi password?", ["wifi", "password"]),
    ],
)
async def test_what_no_document_answers_is_admitted_first(
    tmp_path: Path, documents: dict[str, str], question: str, nobody: Sequence[str]
) -> None:
    report = await reported(tmp_path, documents, question)

    assert report.answered is False
    assert report.summary[0].statement.startswith("Your documents do not seem to answer this")
    assert [word for word in nobody if word not in report.summary[0].statement] == []


async def test_differing_opening_times_show_with_their_sources(tmp_path: Path) -> None:
    """Opening times that differ are shown side by side each with its source."""
    documents = {
        "sign.md": "# Sign\n\nThe library opens at 9.00 on weekdays.\n",
        "mail.txt": "From November on, the library opens at 10.30 on weekdays.\n",
    }

    report = await reported(tmp_path, documents, "When does the library open?")

    assert {"9.00" in one.statement or "10.30" in one.statement for one in report.summary} == {True}
    assert len({n for one in report.summary for n in one.citations}) == 2
