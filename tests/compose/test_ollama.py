"""Ollama is there when it is asked for by name, and nowhere else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.docker import run
from tests.support.stack import IN_PRODUCTION, SERVICES


def services(*profile: str, file: str = "docker-compose.yml", **env: str) -> dict[str, Any]:
    done = run("docker", "compose", "-f", file, *profile, "config", "--format", "json", env=env)
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def test_nobody_gets_it_unasked() -> None:
    assert sorted(services()) == sorted(SERVICES)


def test_production_has_none() -> None:
    assert sorted(services("--profile", "ollama", file="docker-compose.prod.yml")) == sorted(IN_PRODUCTION)


def test_it_is_pinned_bounded_and_keeps_its_models() -> None:
    env = {"MODEL_API_URL": "http://ollama:11434", "MODEL_NAME": "qwen3:8b", "OLLAMA_MEMORY": "6g"}

    found = services("--profile", "ollama", **env)

    assert sorted(found) == sorted([*SERVICES, "ollama"])
    ollama = found["ollama"]
    name, _, tag = ollama["image"].partition(":")
    assert (name, tag.count(".")) == ("ollama/ollama", 2)
    assert int(ollama["mem_limit"]) == int(ollama["memswap_limit"]) == 6 * 1024**3
    assert [(v["source"], v["target"]) for v in ollama["volumes"]] == [("ollama", "/root/.ollama")]
    assert "ports" not in ollama
    assert ollama["cap_drop"] == ["ALL"]
    assert ollama["environment"]["MODEL_NAME"] == "qwen3:8b"
    assert found["analyzer"]["environment"]["MODEL_API_URL"] == "http://ollama:11434"


@pytest.mark.parametrize(("model", "said"), [("m:1", "pull m:1"), ("", "serve")])
def test_its_start_and_its_health_are_shell_that_works(model: str, said: str) -> None:
    """Its script, with another program in the place of `ollama`: with a name it pulls, without one it only serves."""
    ollama = services("--profile", "ollama", MODEL_NAME=model)["ollama"]
    script = ollama["entrypoint"][-1].replace("$$", "$")
    check = ollama["healthcheck"]["test"][-1].replace("$$", "$")
    fake = 'ollama() { echo "ollama $*"; }; '

    started = run("sh", "-c", fake + script.replace("exec ollama", "wait; ollama"), env={"MODEL_NAME": model}).stdout
    checked = run("sh", "-c", fake + check, env={"MODEL_NAME": model}).stdout

    assert started.splitlines() == ([f"ollama {said}"] if model else []) + ["ollama serve"]
    assert checked.strip() == (f"ollama show {model}" if model else "ollama list")
