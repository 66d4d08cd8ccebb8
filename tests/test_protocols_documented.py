"""The calls that docs/protocols.md begins with are made as they stand there, and answered."""

from __future__ import annotations

import re
import shlex

import httpx

from tests.fakes import MOON, ROOT, Suite

PAGE = (ROOT / "docs" / "protocols.md").read_text()
CALLS = re.findall(r"^curl (?:[^\n]|\\\n|\n(?= ))+", PAGE.partition("```sh\n")[2].partition("```")[0], re.MULTILINE)


def request_of(call: str) -> httpx.Request:
    """The request that a `curl` line of the page makes: a URL, headers, a body."""
    words = shlex.split(call.replace("\\\n", " "))[1:]
    url = words.pop(0)
    options = list(zip(words[::2], words[1::2], strict=True))
    assert {option for option, _ in options} <= {"-H", "-d"}
    headers = [tuple(value.split(": ", 1)) for option, value in options if option == "-H"]
    body = next((value for option, value in options if option == "-d"), None)
    return httpx.Request("POST" if body else "GET", url, headers=headers, content=body)


async def test_the_same_question_in_every_protocol(suite: Suite) -> None:
    assert len(CALLS) == 6
    *questions, events = [request_of(call) for call in CALLS]

    for question in questions:
        answer = await suite.client.send(question)
        assert answer.status_code == 200, answer.text
        assert MOON in answer.text, question.url

    assert "task_delegation_received" in (await suite.client.send(events)).text
