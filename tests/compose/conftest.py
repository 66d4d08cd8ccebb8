"""Fixtures of the container tests: one image a session, and what went wrong in the containers of a failed test."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.docker import docker, run
from tests.support.stack import Stack, open_stacks

KEY = "a-key-for-tests-0123456789"
BUILD_SECONDS = 900.0  # from nothing, over a slow line


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    """The image of this work tree, under a name that no other session uses."""
    tag = f"muster:test-{secrets.token_hex(4)}"
    run("docker", "build", "--quiet", "--tag", tag, ".", seconds=BUILD_SECONDS)
    yield tag
    docker("rmi", "--force", tag, check=False)


@pytest.fixture
def next_image() -> Iterator[str]:
    """Another image with the same code, as a new revision is for Compose."""
    tag = f"muster:test-{secrets.token_hex(4)}"
    run("docker", "build", "--quiet", "--build-arg", f"REVISION={tag[-8:]}", "--tag", tag, ".", seconds=BUILD_SECONDS)
    yield tag
    docker("rmi", "--force", tag, check=False)


@pytest.fixture
def make_stack(image: str) -> Iterator[Callable[..., Stack]]:
    """Makes stacks that are not up yet; at the end of the test they are gone with their volumes."""
    made: list[Stack] = []

    def make(**options: Any) -> Stack:
        made.append(Stack(image, **options).__enter__())
        return made[-1]

    yield make
    for stack in made:
        stack.__exit__()


@pytest.fixture(scope="session")
def _shared_stack(image: str) -> Iterator[Stack]:
    with Stack(image) as stack:
        stack.up()
        yield stack


@pytest.fixture
def stack(_shared_stack: Stack) -> Stack:
    """The stack that tests share, up and registered: whoever breaks it waits until it has mended itself."""
    _shared_stack.wait_serving(seconds=60)
    return _shared_stack


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    (tmp_path / "database_password").write_text("a-password-for-tests\n")
    path = tmp_path / "api_key"
    path.write_text(f"{KEY}\n")
    for each in (path, tmp_path / "database_password"):
        each.chmod(0o644)  # under Compose a secret keeps its mode, and the service is not root
    return path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Any:
    """Adds the last lines of every container to the report of a failed test."""
    report = yield
    if report.failed:
        report.sections.extend((f"containers of {stack.name}", _told(stack)) for stack in open_stacks)
    return report


def _told(stack: Stack) -> str:
    lines = [line for line in stack.logs(tail=500).splitlines() if '"level": "info"' not in line]
    return "\n".join([*lines[-60:], stack.compose("ps", "-a", check=False).stdout])
