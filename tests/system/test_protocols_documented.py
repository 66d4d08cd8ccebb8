"""The calls that docs/protocols.md begins with, and the README's agent, are run as they stand there, and answer."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import httpx

from load.processes.ports import free_port
from tests.support.fakes import MOON, ROOT, Suite

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


def test_the_readme_s_agent_without_code(tmp_path: Path) -> None:
    """The README's lines as they stand there, but for the port and the folder of its memory."""
    text = (ROOT / "README.md").read_text().partition("## An agent without code")[2]
    command, _, call = text.partition("```sh\n")[2].partition("```")[0].partition("curl")
    port = str(free_port())
    words = shlex.split(command.replace("\\\n", " ").replace("8005", port).replace(".venv/bin/python", sys.executable))
    env = {"PATH": os.environ["PATH"], "STATE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    env |= dict(words.pop(0).split("=", 1) for _ in range(3))
    with subprocess.Popen(words, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as agent:
        try:
            for _ in range(300):
                with contextlib.suppress(httpx.TransportError):
                    if httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                        break
                time.sleep(0.1)
            curl = shlex.split("curl --fail-with-body --max-time 50" + call.replace("8005", port))
            said = subprocess.run(curl, capture_output=True, text=True, timeout=55, check=True).stdout
        finally:
            agent.terminate()
    assert "The moon above, the tide below" in said
