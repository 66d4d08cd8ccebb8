"""What `render` makes of manifests is a compose file that Compose accepts, and that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coordinator.cli.manifests.convert import render
from tests.coordinator.cli.test_manifests import AGENTS, GOOD, MODEL, OLD, PROXY, TOOLS
from tests.support.docker import run
from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(300, func_only=True)

TEAM = """
kind: ModelAPI
metadata: {name: none}
spec: {mode: Proxy, proxyConfig: {apiBase: "http://model.invalid", models: ["*"]}}
---
kind: Agent
metadata: {name: lead}
spec:
  modelAPI: none
  model: m
  config: {description: Leads., instructions: You lead.}
  agentNetwork: {access: [helper]}
  container:
    env:
    - name: DEBUG_MOCK_RESPONSES
      value: |
        [{"tool_calls": [{"id": "1", "name": "delegate_to_helper", "arguments": {"task": "How deep is the $EA?"}}]},
         "The helper says how deep."]
---
kind: Agent
metadata: {name: helper}
spec:
  modelAPI: none
  model: m
  container: {env: [{name: DEBUG_MOCK_RESPONSES, value: '["Eleven kilometres."]'}]}
"""


def written(folder: Path, *documents: str) -> Path:
    (folder / "agents.yaml").write_text("---".join(documents))
    text, problems = render([folder / "agents.yaml"])
    assert text, problems
    (folder / "docker-compose.agents.yml").write_text(text)
    return folder / "docker-compose.agents.yml"


@pytest.mark.parametrize("documents", [(MODEL, TOOLS, AGENTS), (PROXY, TOOLS, AGENTS), (OLD,), (PROXY, GOOD)])
def test_compose_accepts_it(tmp_path: Path, documents: tuple[str, ...]) -> None:
    file = written(tmp_path, *documents)

    done = run("docker", "compose", "-f", str(file), "config", "--format", "json")

    assert done.stderr == ""
    assert "coordinator" in json.loads(done.stdout)["services"]


def test_texts_arrive_as_they_were_written(tmp_path: Path) -> None:
    """Compose takes `$` for a variable, and YAML has its own mind about quotes."""
    text = run("docker", "compose", "-f", str(written(tmp_path, PROXY, TOOLS, AGENTS)), "config", "--format", "json")

    lead = json.loads(text.stdout)["services"]["agent-lead"]["environment"]
    assert lead["AGENT_INSTRUCTIONS"].replace("$$", "$") == 'You lead "worker-1".\nIt\'s worth $HOME.\n'


def test_agents_run_from_manifests_alone(image: str, tmp_path: Path) -> None:
    """Both are healthy and registered, take steps, think as they are told to, and know whom they may ask."""
    with Stack(image, file=str(written(tmp_path, TEAM))) as stack:
        stack.up()
        stack.wait_serving(["helper", "lead"])
        with stack.client() as client:
            asked = {"task_description": "How deep is the sea?", "agents": ["lead", "helper"]}
            task: dict[str, Any] = client.post("/execute_task", json=asked).json()
            events = client.get("/agents/lead/memory/events").json()["events"]
            heard = client.get("/agents/helper/memory/events").text

        assert task["status"] == "completed", task
        assert {r["agent"]: r["output"] for r in task["results"]} == {
            "lead": "The helper says how deep.",
            "helper": "Eleven kilometres.",
        }
        [delegation] = [event["content"] for event in events if event["event_type"] == "delegation_request"]
        assert (delegation["agent"], delegation["task"]) == ("helper", "How deep is the $EA?")
        assert "How deep is the $EA?" in heard
