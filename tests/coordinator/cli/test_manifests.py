"""KAOS's manifests become a compose file; what cannot be translated is named with file and field."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from coordinator.cli.commands import cli
from coordinator.cli.manifests.convert import render

MODEL = """
apiVersion: kaos.tools/v1alpha1
kind: ModelAPI
metadata: {name: small, namespace: team}
spec:
  mode: Hosted
  hostedConfig:
    model: smollm2:135m
    env:
    - {name: OLLAMA_DEBUG, value: "false"}
"""
PROXY = """
apiVersion: kaos.tools/v1alpha1
kind: ModelAPI
metadata: {name: small}
spec:
  mode: Proxy
  proxyConfig:
    apiBase: http://host.docker.internal:11434/v1/
    models: ["*"]
"""
TOOLS = """
apiVersion: kaos.tools/v1alpha1
kind: MCPServer
metadata: {name: calc-mcp, namespace: team}
spec:
  runtime: python-string
  params: |
    def price(x: str) -> str:
        return f"${x}"
"""
AGENTS = """
apiVersion: kaos.tools/v1alpha1
kind: Agent
metadata: {name: lead, namespace: team}
spec:
  modelAPI: small
  model: ollama/smollm2:135m
  mcpServers: [calc-mcp]
  config:
    description: Leads the others
    instructions: |
      You lead "worker-1".
      It's worth $HOME.
    reasoningLoopMaxSteps: 10
    memory: {enabled: true, contextLimit: 4, maxSessions: 50, maxSessionEvents: 20}
  agentNetwork:
    expose: true
    access: [worker-1, worker-2]
---
apiVersion: kaos.tools/v1alpha1
kind: Agent
metadata: {name: worker-1, namespace: team}
spec:
  modelAPI: small
  model: smollm2:135m
  container:
    env:
    - {name: DEBUG_MOCK_RESPONSES, value: '["One."]'}
    resources: {limits: {memory: 256Mi, cpu: 500m}, requests: {memory: 128Mi}}
---
apiVersion: kaos.tools/v1alpha1
kind: Agent
metadata: {name: worker-2, namespace: team}
spec: {modelAPI: small, model: smollm2:135m}
"""
OLD = """
apiVersion: v1
kind: Namespace
metadata: {name: old}
---
apiVersion: ethical.institute/v1alpha1
kind: ModelAPI
metadata: {name: small}
spec:
  mode: Hosted
  serverConfig: {model: "smollm2:135m"}
---
apiVersion: ethical.institute/v1alpha1
kind: MCPServer
metadata: {name: echo}
spec:
  type: python-runtime
  config:
    mcp: test-mcp-echo-server
    env: [{name: LOG_LEVEL, value: INFO}]
  resources: {limits: {memory: 256Mi}}
---
apiVersion: ethical.institute/v1alpha1
kind: MCPServer
metadata: {name: calc}
spec:
  type: python-runtime
  config: {tools: {fromString: "def one() -> int: return 1"}}
---
apiVersion: ethical.institute/v1alpha1
kind: Agent
metadata: {name: coordinator}
spec:
  modelAPI: small
  mcpServers: [echo, calc]
  config:
    env: [{name: MODEL_NAME, value: "smollm2:135m"}]
    agenticLoop: {maxSteps: 15, enableTools: true, enableDelegation: true}
  agentNetwork: {access: [worker]}
  replicas: 2
---
apiVersion: ethical.institute/v1alpha1
kind: Agent
metadata: {name: worker}
spec:
  modelAPI: small
  config:
    agenticLoop: {maxSteps: 5, enableTools: false, enableDelegation: false}
"""


def made(folder: Path, *documents: str) -> tuple[dict[str, Any], list[str]]:
    """The compose file as data, and what was said."""
    file = folder / "agents.yaml"
    file.write_text("---".join(documents))
    text, problems = render([file])
    return yaml.safe_load(text) or {}, [str(problem) for problem in problems]


def test_agent_becomes_a_service_with_its_settings(tmp_path: Path) -> None:
    """Every agent is a service that knows its model its peers and its tools."""
    found, said = made(tmp_path, MODEL, TOOLS, AGENTS)

    assert said == []
    assert list(found["services"]) == [
        "coordinator",
        "modelapi-small",
        "mcpserver-calc-mcp",
        "agent-lead",
        "agent-worker-1",
        "agent-worker-2",
    ]
    lead = found["services"]["agent-lead"]
    assert lead["command"] == ["python", "-m", "workers.agent", "--host", "0.0.0.0", "--port", "8000"]
    fixed = ("LOG_LEVEL", "LOG_FORMAT", "API_KEY")
    assert {k: v for k, v in lead["environment"].items() if k not in fixed} == {
        "COORDINATOR_URL": "http://coordinator:8000",
        "MODEL_API_URL": "http://modelapi-small:11434",
        "MODEL_NAME": "smollm2:135m",
        "PEER_AGENTS": "worker-1,worker-2",
        "PEER_AGENT_WORKER_1_CARD_URL": "http://agent-worker-1:8000",
        "PEER_AGENT_WORKER_2_CARD_URL": "http://agent-worker-2:8000",
        "MCP_SERVERS": "calc-mcp",
        "MCP_SERVER_calc-mcp_URL": "http://mcpserver-calc-mcp:8000",
        "AGENT_NAME": "lead",
        "AGENT_DESCRIPTION": "Leads the others",
        "AGENT_INSTRUCTIONS": 'You lead "worker-1".\nIt\'s worth $$HOME.\n',
        "AGENTIC_LOOP_MAX_STEPS": "10",
        "MEMORY_ENABLED": "true",
        "MEMORY_CONTEXT_LIMIT": "4",
        "MEMORY_MAX_SESSIONS": "50",
        "MEMORY_MAX_SESSION_EVENTS": "20",
    }
    assert lead["depends_on"] == {
        "coordinator": {"condition": "service_healthy"},
        "mcpserver-calc-mcp": {"condition": "service_healthy"},
        "modelapi-small": {"condition": "service_healthy"},
    }
    assert (lead["read_only"], lead["cap_drop"], lead["networks"]) == (True, ["ALL"], ["muster"])


def test_service_environment_and_limits_reach_the_container(tmp_path: Path) -> None:
    """A service's own environment and limits are its container's."""
    found, _ = made(tmp_path, MODEL, TOOLS, AGENTS)

    worker = found["services"]["agent-worker-1"]
    assert worker["environment"]["DEBUG_MOCK_RESPONSES"] == '["One."]'
    assert (worker["mem_limit"], worker["cpus"]) == (f"{256 * 2**20}b", 0.5)
    assert worker["volumes"][0] == "agent-worker-1:/data"
    assert "PEER_AGENTS" not in worker["environment"]
    assert found["services"]["agent-worker-2"]["mem_limit"] == "${WORKER_MEMORY:-512m}"


def test_hosted_model_is_pulled_and_then_healthy(tmp_path: Path) -> None:
    """A hosted model is pulled and healthy when it is there."""
    found, _ = made(tmp_path, MODEL, TOOLS, AGENTS)

    ollama = found["services"]["modelapi-small"]
    assert ollama["image"].startswith("${OLLAMA_IMAGE:-ollama/ollama:")
    assert ollama["environment"] == {"OLLAMA_HOST": "0.0.0.0:11434", "OLLAMA_DEBUG": "false", "MODEL": "smollm2:135m"}
    assert 'ollama pull "$$MODEL"' in ollama["entrypoint"][-1]
    assert "ollama show" in ollama["healthcheck"]["test"][-1]
    assert ollama["volumes"] == ["modelapi-small:/root/.ollama"]
    assert "modelapi-small" in found["volumes"]


def test_a_proxy_is_the_address_behind_it(tmp_path: Path) -> None:
    found, said = made(tmp_path, PROXY, TOOLS, AGENTS)

    assert said == []
    assert not [name for name in found["services"] if name.startswith("modelapi")]
    lead = found["services"]["agent-lead"]
    assert lead["environment"]["MODEL_API_URL"] == "http://host.docker.internal:11434"
    assert lead["extra_hosts"] == ["host.docker.internal:host-gateway"]


def test_a_provider_s_names_of_models_are_its_own(tmp_path: Path) -> None:
    """Without a provider the first part of a name is what KAOS's proxy goes by."""
    spec = "{mode: Proxy, proxyConfig: {provider: nebius, models: ['*'], apiKey: {value: k$}}}"
    one = AGENT % "{modelAPI: small, model: openai/gpt-oss-120b}"

    with_provider, _ = made(tmp_path, API % spec, one)
    without, _ = made(tmp_path, API % spec.replace("provider: nebius, models: ['*']", "models: ['openai/*']"), one)

    env = with_provider["services"]["agent-a"]["environment"]
    assert (env["MODEL_API_URL"], env["MODEL_NAME"]) == ("https://api.tokenfactory.nebius.com", "openai/gpt-oss-120b")
    assert env["MODEL_API_KEY"] == "k$$"
    env = without["services"]["agent-a"]["environment"]
    assert (env["MODEL_API_URL"], env["MODEL_NAME"]) == ("https://api.openai.com", "gpt-oss-120b")


def test_hosted_model_container_keeps_its_own_settings(tmp_path: Path) -> None:
    """A hosted model's container is as given but for its start."""
    spec = """{mode: Hosted, hostedConfig: {model: m}, container: {image: me/ollama, args: [serve],
      env: [{name: OLLAMA_DEBUG, value: "1"}], resources: {limits: {memory: 2Gi}}}}"""
    found, said = made(tmp_path, API % spec, AGENT % "{modelAPI: small}")

    ollama = found["services"]["modelapi-small"]
    assert (ollama["image"], ollama["mem_limit"]) == ("me/ollama", f"{2 * 2**30}b")
    assert ollama["environment"]["OLLAMA_DEBUG"] == "1"
    assert said == [
        "agents.yaml: ModelAPI/small: spec.container.args: is ignored: Ollama is started so that it pulls (warning)"
    ]


def test_one_mistake_is_told_of_once(tmp_path: Path) -> None:
    _, said = made(tmp_path, API % "{mode: Cloud}", GOOD)

    assert said == ["agents.yaml: ModelAPI/small: spec.mode: must be Hosted or Proxy (error)"]


def test_the_manifests_of_earlier_generations_are_understood(tmp_path: Path) -> None:
    found, said = made(tmp_path, OLD)

    assert said == [
        "agents.yaml: Namespace/old: is ignored: only Agent, ModelAPI and MCPServer are translated (warning)",
        "agents.yaml: Agent/coordinator: metadata.name: is Muster's coordinator to chats (model: coordinator); "
        "plans and delegations find the agent (warning)",
    ]
    services = found["services"]
    assert services["mcpserver-echo"]["image"] == "python:3.12-slim"
    assert services["mcpserver-echo"]["command"][-1] == (
        "pip install test-mcp-echo-server && ( test-mcp-echo-server || python -m test_mcp_echo_server )"
    )
    assert services["mcpserver-calc"]["environment"] == {"MCP_TOOLS_STRING": "def one() -> int: return 1"}
    lead = services["agent-coordinator"]
    assert (lead["environment"]["AGENT_NAME"], lead["environment"]["AGENTIC_LOOP_MAX_STEPS"]) == ("coordinator", "15")
    assert lead["deploy"] == {"replicas": 2}
    assert lead["volumes"][0] == "/data"  # each its own
    assert services["agent-worker"]["environment"]["MODEL_NAME"] == "smollm2:135m"


def test_own_image_is_started_as_given(tmp_path: Path) -> None:
    """An image of one's own is started as given."""
    tools = SERVER.replace("name: s", "name: x") % "{container: {image: me/x, command: [run], args: [$A]}}"
    one = (
        "kind: Agent\nmetadata: {name: a}\nspec: {modelAPI: small, model: m, mcpServers: [x], container: {image: me/a}}"
    )
    found, _ = made(tmp_path, PROXY, tools, f"\n{one}\n")

    server, agent = found["services"]["mcpserver-x"], found["services"]["agent-a"]
    assert (server["image"], server["entrypoint"], server["command"]) == ("me/x", ["run"], ["$$A"])
    assert agent["image"] == "me/a"
    assert "command" not in agent
    assert "read_only" not in agent
    assert agent["depends_on"]["mcpserver-x"] == {"condition": "service_started"}


def test_a_secret_becomes_a_variable_and_is_told_of(tmp_path: Path) -> None:
    proxy = """
kind: ModelAPI
metadata: {name: small}
spec:
  mode: Proxy
  proxyConfig:
    provider: openai
    models: ["*"]
    apiKey: {valueFrom: {secretKeyRef: {name: api-secrets, key: api-key}}}
"""
    found, said = made(tmp_path, proxy, TOOLS, AGENTS)

    lead = found["services"]["agent-lead"]["environment"]
    assert (lead["MODEL_API_URL"], lead["MODEL_API_KEY"]) == ("https://api.openai.com", "${API_SECRETS_API_KEY:-}")
    assert said == [
        "agents.yaml: ModelAPI/small: spec.proxyConfig.apiKey.valueFrom: "
        "is not resolved: set API_SECRETS_API_KEY in the environment or in .env (warning)"
    ]


AGENT = "\nkind: Agent\nmetadata: {name: a}\nspec: %s\n"
SERVER = "\nkind: MCPServer\nmetadata: {name: s}\nspec: %s\n"
API = "\nkind: ModelAPI\nmetadata: {name: small}\nspec: %s\n"
GOOD = AGENT % "{modelAPI: small, model: m}"


@pytest.mark.parametrize(
    ("documents", "text"),
    [
        ([GOOD], "Agent/a: spec.modelAPI: there is no 'small' in these manifests; available: none"),
        ([PROXY, AGENT % "{model: m}"], "Agent/a: spec.modelAPI: is missing"),
        ([PROXY, AGENT % "{modelAPI: small}"], "Agent/a: spec.model: is missing"),
        ([PROXY, AGENT % "{modelAPI: [small], model: m}"], "Agent/a: spec.modelAPI: must be a string, not a list"),
        ([PROXY, AGENT % "[]"], "Agent/a: spec: must be a mapping, not a list"),
        ([PROXY, AGENT % "{modelAPI: small, model: m, mcpServers: [t]}"], "Agent/a: spec.mcpServers: there is no 't'"),
        (
            [PROXY, AGENT % "{modelAPI: small, model: m, agentNetwork: {access: [b]}}"],
            "Agent/a: spec.agentNetwork.access: there is no 'b' in these manifests; available: a",
        ),
        (
            [PROXY, AGENT % "{modelAPI: small, model: m, config: {reasoningLoopMaxSteps: 21}}"],
            "Agent/a: spec.config.reasoningLoopMaxSteps: must be 1 to 20, not 21",
        ),
        (
            [PROXY, AGENT % "{modelAPI: small, model: m, container: {env: [{name: A=B, value: x}]}}"],
            "Agent/a: spec.container.env[0].name: must be the name of an environment variable",
        ),
        (
            [PROXY, AGENT % "{modelAPI: small, model: m, container: {env: [{name: A, valueFrom: {fieldRef: {}}}]}}"],
            "Agent/a: spec.container.env[0].valueFrom: cannot be translated",
        ),
        (
            [PROXY, AGENT % "{modelAPI: small, model: m, resources: {limits: {memory: lots}}}"],
            "Agent/a: spec.resources.limits.memory: is not an amount of memory: 'lots'",
        ),
        ([PROXY, GOOD, GOOD], "Agent/a: metadata.name: is a duplicate"),
        ([PROXY, GOOD, "\nkind: Agent\nmetadata: {name: A_b}\nspec: {}\n"], "metadata.name: must be a name of"),
        ([GOOD, API % "{mode: Cloud}"], "ModelAPI/small: spec.mode: must be Hosted or Proxy"),
        ([GOOD, API % "{mode: Hosted}"], "ModelAPI/small: spec.hostedConfig.model: is missing"),
        (
            [GOOD, API % "{mode: Proxy}"],
            "ModelAPI/small: spec.proxyConfig.apiBase: is missing, and the provider's address is unknown",
        ),
        (
            [GOOD, API % "{mode: Proxy, proxyConfig: {apiBase: ftp://x}}"],
            "spec.proxyConfig.apiBase: must be an http://",
        ),
        ([PROXY, GOOD, SERVER % "{runtime: kubernetes}"], "MCPServer/s: spec.runtime: kubernetes cannot be run here"),
        (
            [PROXY, GOOD, SERVER % '{config: {tools: {fromPackage: "x; rm -rf /"}}}'],
            "MCPServer/s: spec.config.tools.fromPackage: is not the name of a Python package",
        ),
        (
            [PROXY, GOOD, SERVER % '{config: {tools: {fromPackage: "x\\n"}}}'],
            "MCPServer/s: spec.config.tools.fromPackage: is not the name of a Python package",
        ),
        (
            [PROXY, GOOD, SERVER % '{config: {mcp: x, env: [{name: "A\\n", value: b}]}}'],
            "env[0].name: must be the name",
        ),
        (
            [PROXY, GOOD, SERVER % "{config: {tools: {fromSecretKeyRef: {name: a, key: b}}}}"],
            "MCPServer/s: spec.config.tools.fromSecretKeyRef: cannot be translated",
        ),
        (["\nname: x\n"], "agents.yaml: kind: is missing: this is not a Kubernetes manifest"),
        (["\n- 1\n"], "must be a mapping, not a list"),
        (["\nkind: Service\n"], "contains no Agent"),
        (["\na: [1\n"], "agents.yaml: is not YAML"),
        (["\n!!python/object/apply:os.system [id]\n"], "is not YAML"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_field(tmp_path: Path, documents: list[str], text: str) -> None:
    found, said = made(tmp_path, *documents)

    assert found == {}
    assert [line for line in said if text in line and line.endswith("(error)")], said


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    spec = """{modelAPI: small, model: m, gatewayRoute: {timeout: 30s}, podSpec: {serviceAccountName: x},
      config: {autonomous: {goal: x}, memory: {type: redis}, telemetry: {}},
      agentNetwork: {expose: false, access: [a]}}"""
    proxy = """{mode: Proxy, proxyConfig: {apiBase: http://m.kaos.svc.cluster.local, models: [n],
      env: [{name: LITELLM_LOG, value: INFO}]}}"""
    found, said = made(tmp_path, API % proxy, AGENT % spec)

    assert "agent-a" in found["services"]
    assert sorted(line.removeprefix("agents.yaml: ").removesuffix(" (warning)") for line in said) == [
        "Agent/a: spec.agentNetwork.access: names the agent itself, which cannot delegate to itself",
        "Agent/a: spec.agentNetwork.expose: has no effect: all services in the network can reach each other",
        "Agent/a: spec.config.autonomous: is ignored: it has no equivalent here",
        "Agent/a: spec.config.memory.type: redis is ignored: an agent keeps its memory in its own volume",
        "Agent/a: spec.gatewayRoute: is ignored: it has no equivalent here",
        "Agent/a: spec.model: m is not among the models that ModelAPI 'small' lists",
        "Agent/a: spec.podSpec: is ignored: it has no equivalent here",
        "ModelAPI/small: spec.proxyConfig.apiBase: points into a cluster, which containers here cannot reach: "
        "http://m.kaos.svc.cluster.local",
        "ModelAPI/small: spec.proxyConfig.env: LITELLM_LOG is ignored: agents call the model directly, without a proxy",
    ]


def test_a_long_description_is_cut_and_told_of(tmp_path: Path) -> None:
    found, said = made(tmp_path, PROXY, AGENT % f"{{modelAPI: small, model: m, config: {{description: {'x' * 501}}}}}")

    assert len(found["services"]["agent-a"]["environment"]["AGENT_DESCRIPTION"]) == 500
    assert said == ["agents.yaml: Agent/a: spec.config.description: is truncated to 500 characters (warning)"]


def test_a_list_of_resources_and_several_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"kind: List\nitems:\n- {textwrap.indent(PROXY.strip(), '  ').strip()}\n")
    (tmp_path / "b.yaml").write_text(GOOD)

    text, problems = render([tmp_path / "a.yaml", tmp_path / "b.yaml"])

    assert problems == []
    assert "agent-a" in yaml.safe_load(text)["services"]


# --- the command


def test_the_command_writes_the_file_or_prints_it(tmp_path: Path) -> None:
    (tmp_path / "agents.yaml").write_text("---".join([PROXY, GOOD]))
    out = tmp_path / "docker-compose.agents.yml"

    printed = CliRunner().invoke(cli, ["render", str(tmp_path / "agents.yaml")])
    written = CliRunner().invoke(cli, ["render", str(tmp_path / "agents.yaml"), "-o", str(out)])

    assert (printed.exit_code, written.exit_code) == (0, 0), written.output
    assert printed.stdout == out.read_text()
    assert out.read_text().startswith("# Made by `python -m coordinator.cli render agents.yaml`")


def test_wrong_manifest_ends_with_2_and_writes_nothing(tmp_path: Path) -> None:
    """The command ends with 2 and writes nothing when something is wrong."""
    (tmp_path / "agents.yaml").write_text(GOOD)
    out = tmp_path / "out.yml"

    ended = CliRunner().invoke(
        cli, ["render", str(tmp_path / "agents.yaml"), str(tmp_path / "none.yaml"), "-o", str(out)]
    )

    assert ended.exit_code == 2
    assert "there is no 'small'" in ended.output
    assert "none.yaml: cannot be read: No such file or directory" in ended.output
    assert not out.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "agents.yaml").write_text("---".join([PROXY, GOOD]))

    ended = CliRunner().invoke(cli, ["render", str(tmp_path / "agents.yaml"), "-o", str(tmp_path)])

    assert ended.exit_code == 2
    assert "cannot be written: Is a directory" in ended.output
