"""docs/deploy/upgrade.sh brings the production file to another image and back: callers notice nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import httpx
import pytest

from tests.compose.conftest import KEY
from tests.compose.test_prod import FILE, TWO_EACH, agents, keyed, list_healthy
from tests.support.docker import inspected, run
from tests.support.stack import Stack

CALLERS = 4
BODY = {"task_description": "How does Muster survive a crash?", "timeout_seconds": 60}
pytestmark = pytest.mark.timeout(1_200, func_only=True)


class Callers:
    """Ask on a new connection each, as curl does, and again with their key where there was no answer."""

    def __init__(self, url: str) -> None:
        self.answers: list[str] = []
        self.again: list[str] = []  # what made them ask again
        self._url = url
        self._over = threading.Event()

    @contextmanager
    def calling(self) -> Iterator[None]:
        with ThreadPoolExecutor(CALLERS) as pool:
            for _ in range(CALLERS):
                pool.submit(self._call)
            try:
                yield
            finally:
                self._over.set()

    def _call(self) -> None:
        while not self._over.is_set():
            headers = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": uuid4().hex}
            said = ""
            for _ in range(100):
                try:
                    answer = httpx.post(f"{self._url}/execute_task", json=BODY, headers=headers, timeout=90)
                    said = f"{answer.status_code} {answer.json().get('status')}"
                except (httpx.HTTPError, ValueError) as exc:
                    said = repr(exc)
                if said.startswith(("200", "500", "504")):
                    break
                self.again.append(said)
                time.sleep(1)
            self.answers.append(said)


def test_upgrade_and_way_back_fail_no_task(image, next_image, key_file):
    """Coordinators follow one another, and so do the workers of each kind."""
    with Stack(image, file=FILE, env=keyed(key_file)) as stack:
        stack.compose("up", "-d", "--no-build")

        def serving() -> bool:
            try:
                answer = agents(stack, KEY)
            except httpx.TransportError:
                return False
            return answer.status_code == 200 and list_healthy(answer) == TWO_EACH

        def images() -> set[str]:
            services = ("coordinator", "coordinator-2", "researcher", "analyzer", "reporter")
            return {inspected(id)["Config"]["Image"] for one in services for id in stack.containers(one)}

        stack.wait_for(serving, seconds=90, why="two of each worker")
        callers, seen = Callers(stack.url), []
        with callers.calling():
            for each in (next_image, image):
                before = len(callers.answers)
                stack.wait_for(lambda: len(callers.answers) >= before + CALLERS, seconds=90, why="answers")  # noqa: B023
                stack.env["MUSTER_IMAGE"] = each
                script = ("docs/deploy/upgrade.sh", "-p", stack.name, "--env-file", str(stack.env_file))
                run(*script, env=stack.env, seconds=420)
                stack.wait_for(serving, seconds=90, why="two of each worker, again")
                seen.append(images())

    print({"answers": len(callers.answers), "again": callers.again})  # nobody has to, where there is enough processor
    assert seen == [{next_image}, {image}]
    assert [each for each in callers.answers if each != "200 completed"] == []
