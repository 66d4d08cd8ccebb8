"""In a conversation, "And where?" asks about what the last question was about; in any of many languages."""

from __future__ import annotations

import httpx
import pytest

from coordinator.questions.followups import MAX_TOPIC, complete, points_back
from coordinator.questions.splitting import parts
from tests.support.fakes import Network, Suite

FIRST = "How long is the backup kept?"


WITHOUT_TOPIC = """
And where? | Why? | how long | Since when? | Where is it? | And on Sundays? | What about tapes? | but why
Und wo? | Warum denn? | Wie lange? | Und der Drucker? | Et où ? | Pourquoi ? | Combien de temps ?
¿Y dónde? | ¿Por qué? | E dove? | Perché? | E quando? | En waar? | Och varför? | A gdzie? | А где? | ve nerede?
그리고 어디? | 为什么？ | 什么时候？ | 在哪里？ | 那打印机呢？ | どこで？ | なぜですか？ | プリンターは？
"""
WITH_TOPIC = """
Tides? | Opening hours? | And how is the printer in the cellar repaired? | E404? | I forgot it all.
A printer? | C | 404 | Who pays? | Where is Norway? | Wer zahlt? | Öffnungszeiten? | Drucker
Quels horaires ? | 几点开门？ | 営業時間は何時ですか？
"""


def listed(questions: str) -> list[str]:
    return [one.strip() for line in questions.strip().splitlines() for one in line.split("|")]


@pytest.mark.parametrize("question", listed(WITHOUT_TOPIC))
def test_a_question_without_a_topic_takes_the_last_ones(question):
    mark = "" if question.endswith(("?", "？")) else "?"

    assert complete(question, [FIRST]) == f"{question}{mark} ({FIRST})"


@pytest.mark.parametrize("question", [FIRST, "", *listed(WITH_TOPIC)])
def test_a_question_with_a_topic_keeps_it(question):
    assert complete(question, [FIRST]) == question


def test_topic_is_that_of_the_last_question():
    """The topic is that of the last question that has one."""
    assert complete("Why?", ["Tides?", FIRST, "And where?"]) == f"Why? ({FIRST})"


def test_without_an_earlier_question_it_stays_as_it_is():
    assert complete("And where?", ["Why?", " "]) == "And where?"


def test_a_long_topic_is_cut():
    assert len(complete("Why?", ["word " * 1_000])) < MAX_TOPIC + 20


@pytest.mark.parametrize("topic", [FIRST, "What is WAL and how does it survive a crash?", "- one?\n- two?"])
def test_a_completed_question_is_one_question(topic):
    """The coordinator does not ask the earlier one again."""
    for question in ("And where?", "and why"):
        assert len(parts(complete(question, [topic]))) == 1


def test_no_text_is_too_long_to_be_judged():
    assert not points_back("何" * 100_000 + "x")


@pytest.fixture
async def client(suite: Suite) -> httpx.AsyncClient:
    return suite.client


def chat(*questions: str, **more: str) -> dict:
    """A body for a chat in which each question but the last was answered."""
    messages = [
        {"role": role, "content": text} for q in questions for role, text in (("user", q), ("assistant", "So."))
    ]
    return {"model": "coordinator", "messages": messages[:-1], **more}


async def described(client: httpx.AsyncClient) -> str:
    """What the newest task asks."""
    found = (await client.get("/tasks?limit=1")).json()["tasks"]
    return found[0]["task_description"]


async def test_a_chat_that_sends_its_history_is_understood(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/chat/completions", json=chat(FIRST, "And where?"))
    report = await client.get(f"{answer.headers['location']}/report.json")

    assert await described(client) == f"And where? ({FIRST})"
    assert report.json()["question"] == f"And where? ({FIRST})"


async def test_a_chat_in_a_session_is_understood(client: httpx.AsyncClient) -> None:
    """Of which only the new message is sent."""
    for question in (FIRST, "And where?", "Why?"):
        await client.post("/v1/chat/completions", json=chat(question, session_id="s"))

    assert await described(client) == f"Why? ({FIRST})"


async def test_another_session_has_another_topic(client: httpx.AsyncClient) -> None:
    await client.post("/v1/chat/completions", json=chat(FIRST, session_id="s"))
    await client.post("/v1/chat/completions", json=chat("And where?", session_id="t"))

    assert await described(client) == "And where?"


async def test_a_repeat_under_its_key_is_the_same_question(client: httpx.AsyncClient) -> None:
    """Also when others were asked meanwhile."""
    keyed = {"Idempotency-Key": "k"}
    for question in (FIRST, "And where?", "Who pays for the tapes?"):
        headers = keyed if question == "And where?" else {}
        await client.post("/v1/chat/completions", json=chat(question, session_id="s"), headers=headers)
    again = await client.post("/v1/chat/completions", json=chat("And where?", session_id="s"), headers=keyed)

    assert again.status_code == 200
    task = (await client.get(again.headers["location"])).json()
    assert task["task_description"] == f"And where? ({FIRST})"


async def test_named_agent_gets_the_conversation(client: httpx.AsyncClient) -> None:
    """It has the conversation itself."""
    await client.post("/v1/chat/completions", json=chat(FIRST, "And where?") | {"model": "researcher"})

    assert await described(client) == "And where?"


async def test_a_conversation_over_a2a_is_understood(client: httpx.AsyncClient) -> None:
    for number, question in enumerate((FIRST, "And where?")):
        message = {"messageId": str(number), "role": "ROLE_USER", "contextId": "c", "parts": [{"text": question}]}
        call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
        await client.post("/a2a", json=call, headers={"A2A-Version": "1.0"})

    assert await described(client) == f"And where? ({FIRST})"


async def test_without_a_memory_the_question_stays_as_it_is() -> None:
    async with Suite(Network(), memory_enabled=False) as suite:
        body = chat("And where?", session_id="s") | {"timeout_seconds": 0.2}
        await suite.client.post("/v1/chat/completions", json=body)

        assert await described(suite.client) == "And where?"
