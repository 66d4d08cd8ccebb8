"""The doctor and the model: there, its name known, forms, tools, context, speed, in sentences that say what to do."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.cli.doctor import model_calls
from coordinator.cli.doctor.facts import Container, Coordinator, Facts, Project, SeenModel
from coordinator.cli.doctor.rules import examine
from shared.agent_loop.model_checkup import checkup
from shared.settings import ModelSettings
from tests.support.fake_model import Refuses, Says, fake_model
from tests.support.fakes import ROOT

SEEN = {"name": "qwen3:8b", "url": "http://ollama:11434/v1", "names": ["qwen3:8b"], "format": "json_schema"}
SEEN |= {"shaped": True, "tools": "native", "context": 16_384, "reading": 500.0, "writing": 60.0}


def said(*, lacking: str = "", **changed: object) -> list[str]:
    """What is said of a model that was seen like this, as `severity: sentence why`."""
    seen = None if lacking else SeenModel.of(SEEN | changed)
    facts = Facts(at=0.0, coordinator=Coordinator(url="http://x"), model=seen, model_lacking=lacking)
    return [f"{f.severity}: {f.what} {f.why}".strip() for f in examine(facts) if f.check == "model"]


def test_a_model_that_is_well_is_one_sentence():
    assert said() == [
        "ok: Model qwen3:8b at http://ollama:11434/v1 follows schemas, supports tools, has a context of 16,384 tokens, "
        "500 tokens a second in and 60 out."
    ]


def test_without_a_model_nothing_is_said():
    assert [f for f in examine(Facts(at=0.0, coordinator=Coordinator(url="http://x"))) if f.check == "model"] == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"lacking": "OPENAI_API_KEY is set, but …"}, "warning: No model is configured. OPENAI_API_KEY is set, but …"),
        ({"silent": "Connection refused."}, "problem: Model qwen3:8b cannot be called. Connection refused."),
        ({"silent": "HTTP 404.", "names": ["a", "b"]}, "cannot be called. HTTP 404. It has: a, b."),
        ({"names": ["a", "b"]}, "warning: The server answers, but lists no model 'qwen3:8b'. It has: a, b."),
        ({"format": "none", "shaped": False}, "The server checks nothing."),
        ({"format": "json_object"}, "The server checks only whether it is JSON."),
        ({"shaped": False}, "accepts a schema but ignores it."),
        ({"context": 2_048}, "warning: Model qwen3:8b has a context of only 2,048 tokens."),
        ({"reading": 50.0, "writing": 5.0}, "takes about 110 s for a typical step."),
    ],
)
def test_what_is_wrong_with_a_model_is_said(changed, sentence):
    assert sentence in "\n".join(said(**changed))


def test_ollama_s_latest_is_the_name_without_it():
    assert said(name="qwen3", names=["qwen3:latest", "other:1b"])[0].startswith("ok:")


async def test_a_model_is_tried_out():
    def answers(body):
        if "response_format" in body:
            return Says('{"ready": true}')
        return Refuses(400, "fake does not support tools") if "tools" in body else Says("Yes.")

    async with fake_model(answers) as server:
        server.pages = {"/props": {"default_generation_settings": {"n_ctx": 8_192}}}
        seen = await checkup(ModelSettings(_env_file=None, model_api_url=server.url, model_name="fake"), seconds=10)

    assert (seen.silent, seen.names, seen.format, seen.shaped) == ("", ["fake"], "json_schema", True)
    assert (seen.tools, seen.context) == ("string", 8_192)


@pytest.mark.parametrize(("url", "why"), [("http://127.0.0.1:9", "cannot be reached"), (None, "rejects the key")])
async def test_a_model_that_cannot_be_asked_says_why(url, why):
    async with fake_model(Refuses(401, "no such key")) as server:
        server.refuses = 401
        seen = await checkup(
            ModelSettings(_env_file=None, model_api_url=url or server.url, model_name="fake"), seconds=5
        )

    assert why in seen.silent


def test_model_in_containers_is_tried_where_it_runs(tmp_path: Path):
    """In containers it is tried out where it is asked."""
    ran = []

    def run(command):
        ran.append(list(command))
        return json.dumps(SEEN)

    worker = Container(name="m-analyzer-1", service="analyzer", environ={"MODEL_NAME": "qwen3:8b"})
    seen, lacking, unseen = model_calls.look(Project(containers=(worker,)), tmp_path, run)

    assert (seen, lacking, unseen) == (SeenModel.of(SEEN), "", [])
    assert ran[0][:5] == ["exec", "m-analyzer-1", "python", "-m", "shared.agent_loop.model_checkup"]


async def test_the_module_prints_json_and_nothing_else(tmp_path: Path):
    async with fake_model("Yes.") as server:
        environ = {
            "PYTHONPATH": str(ROOT),
            "PATH": os.environ["PATH"],
            "MODEL_API_URL": server.url,
            "MODEL_NAME": "fake",
        }
        command = [sys.executable, "-m", "shared.agent_loop.model_checkup", "10"]
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
        )

    assert json.loads(done.stdout)["name"] == "fake"
