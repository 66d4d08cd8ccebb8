"""PURE: agents, models and tool servers as one compose file, with a coordinator that all agents register with."""

from __future__ import annotations

from typing import Any

from coordinator.cli.manifests.fields import literal
from coordinator.cli.manifests.kaos import AgentManifest, Manifests, MCPServer, ModelAPI, plain

PORT = 8000
OLLAMA_IMAGE = "${OLLAMA_IMAGE:-ollama/ollama:0.13.5}"
OLLAMA_PORT = 11434
HOST = "host.docker.internal"
LOGGING = {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}
COMMON: dict[str, Any] = {"restart": "unless-stopped", "networks": ["muster"], "logging": LOGGING}
MUSTER: dict[str, Any] = {
    "image": "${MUSTER_IMAGE:-muster:latest}",
    **COMMON,
    "init": True,
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "stop_grace_period": "15s",
    "pids_limit": 256,
}
ENVIRONMENT = {"LOG_LEVEL": "${LOG_LEVEL:-INFO}", "LOG_FORMAT": "${LOG_FORMAT:-json}", "API_KEY": "${API_KEY:-}"}
KINDS: dict[type, str] = {AgentManifest: "agent", ModelAPI: "modelapi", MCPServer: "mcpserver"}
TMP = {"type": "tmpfs", "target": "/tmp"}
PULLS = '(until ollama pull "$$MODEL"; do sleep 2; done) & exec ollama serve'
LISTENS = f"import socket; socket.create_connection(('127.0.0.1', {PORT}), 2).close()"


def compose(found: Manifests) -> dict[str, Any]:
    """The compose file as data. What an agent names and the manifests lack is reported through the agent's fields."""
    services: dict[str, Any] = {"coordinator": _coordinator()}
    volumes: dict[str, Any] = {"journal": None}
    for model in found.models.values():
        if model.url is None:
            services[service_of(model)] = _ollama(model)
            volumes[service_of(model)] = None
    for server in found.servers.values():
        services[service_of(server)] = _server(server)
    for agent in found.agents.values():
        services[service_of(agent)] = _agent(agent, found)
        if agent.replicas == 1:
            volumes[service_of(agent)] = None
    return {
        "name": "muster-agents",
        "services": services,
        "networks": {"muster": {"driver": "bridge"}},
        "volumes": volumes,
    }


def service_of(one: AgentManifest | ModelAPI | MCPServer) -> str:
    """The name of a service, as KAOS names its own: an agent may be called what a model is called."""
    return f"{KINDS[type(one)]}-{one.name}"


def _coordinator() -> dict[str, Any]:
    return {
        **MUSTER,
        "command": ["python", "-m", "coordinator", "--host", "0.0.0.0", "--port", str(PORT)],
        "ports": [f"${{PUBLISH_ADDRESS:-127.0.0.1}}:${{PUBLISH_PORT:-8000}}:{PORT}"],
        "mem_limit": "${COORDINATOR_MEMORY:-1g}",
        "environment": {**ENVIRONMENT, "DATABASE_URL": "sqlite:////data/muster.db"},
        "volumes": ["journal:/data", TMP],
    }


def _ollama(model: ModelAPI) -> dict[str, Any]:
    """Serves, pulls its model meanwhile, as often as it takes, and is healthy when the model is there."""
    return {
        "image": model.image or OLLAMA_IMAGE,
        **COMMON,
        "init": True,
        "entrypoint": ["/bin/sh", "-c", PULLS],
        "mem_limit": "${OLLAMA_MEMORY:-8g}",
        **model.container,
        "environment": {"OLLAMA_HOST": f"0.0.0.0:{OLLAMA_PORT}", **model.env, "MODEL": literal(model.model or "")},
        "volumes": [f"{service_of(model)}:/root/.ollama"],
        "healthcheck": {
            "test": ["CMD-SHELL", 'ollama show "$$MODEL"'],
            "interval": "5s",
            "timeout": "5s",
            "retries": 12,
            "start_period": "30m",
        },
    }


def _server(server: MCPServer) -> dict[str, Any]:
    service: dict[str, Any] = {"image": server.image, **COMMON, **server.container, "environment": server.env}
    if server.probed:
        test = ["CMD", "python", "-c", LISTENS]
        service["healthcheck"] = {"test": test, "interval": "5s", "timeout": "5s", "retries": 12, "start_period": "60s"}
    return service


def _agent(agent: AgentManifest, found: Manifests) -> dict[str, Any]:
    model = _model_of(agent, found)
    servers = [found.servers[s] for s in _select_known(agent, "mcpServers", agent.servers, found.servers, found.broken)]
    peers = [
        found.agents[p]
        for p in _select_known(agent, "agentNetwork.access", agent.peers, found.agents, found.broken)
        if p != agent.name
    ]
    wired = {
        **ENVIRONMENT,
        "COORDINATOR_URL": f"http://coordinator:{PORT}",
        **_model_settings(agent, model),
        **_peer_settings(peers),
        **({"MCP_SERVERS": ",".join(s.name for s in servers)} if servers else {}),
        **{f"MCP_SERVER_{s.name}_URL": f"http://{service_of(s)}:{PORT}" for s in servers},
    }
    service: dict[str, Any] = {
        **MUSTER,
        "command": ["python", "-m", "workers.agent", "--host", "0.0.0.0", "--port", str(PORT)],
        "mem_limit": "${WORKER_MEMORY:-512m}",
        # a folder that two agents share would be kept by the first alone
        "volumes": [f"{service_of(agent)}:/data" if agent.replicas == 1 else "/data", TMP],
    }
    if agent.image is not None:  # an agent of its own making: what it is started with is its image's business
        service = {"image": agent.image, **COMMON}
    service |= agent.container
    service["environment"] = wired | agent.env
    waits = {"coordinator": {"condition": "service_healthy"}}
    if agent.waits:
        waits |= {service_of(s): {"condition": "service_healthy" if s.probed else "service_started"} for s in servers}
        if model is not None and model.url is None:
            waits[service_of(model)] = {"condition": "service_healthy"}
    service["depends_on"] = waits
    if agent.replicas != 1:
        service["deploy"] = {"replicas": agent.replicas}
    if any(HOST in value for value in service["environment"].values()):
        service["extra_hosts"] = [f"{HOST}:host-gateway"]
    return service


def _model_of(agent: AgentManifest, found: Manifests) -> ModelAPI | None:
    if agent.model_api is None:
        if "MODEL_API_URL" not in agent.env:
            agent.fields.wrong("modelAPI", "is missing: the ModelAPI that the agent uses")
        return None
    known = _select_known(agent, "modelAPI", (agent.model_api,), found.models, found.broken)
    return found.models[known[0]] if known else None


def _model_settings(agent: AgentManifest, model: ModelAPI | None) -> dict[str, str]:
    settings: dict[str, str] = {}
    if model is not None:
        settings["MODEL_API_URL"] = literal(model.url or f"http://{service_of(model)}:{OLLAMA_PORT}")
        settings |= {"MODEL_API_KEY": model.key} if model.key else {}
    prefixes = model.prefixes if model is not None else ()
    offered = [m for m in model.models if "*" not in m] if model is not None else []
    own = plain(agent.model, prefixes) if agent.model else None
    name = own or (model.model if model is not None else None) or (offered[0] if len(offered) == 1 else None)
    if name is not None:
        settings["MODEL_NAME"] = literal(name)
    elif model is not None and "MODEL_NAME" not in agent.env:
        agent.fields.wrong("model", "is missing: the model to ask for")
    if model is not None and model.url is None and own not in (None, model.model):
        agent.fields.skipped("model", f"{own} is not pulled: {service_of(model)} pulls {model.model} alone")
    if own is not None and model is not None and model.models and "*" not in model.models and own not in model.models:
        agent.fields.skipped("model", f"{own} is not among the models that ModelAPI {model.name!r} lists")
    return settings


def _peer_settings(peers: list[AgentManifest]) -> dict[str, str]:
    if not peers:
        return {}
    urls = {
        f"PEER_AGENT_{p.name.upper().replace('-', '_').replace('.', '_')}_CARD_URL": f"http://{service_of(p)}:{PORT}"
        for p in peers
    }
    return {"PEER_AGENTS": ",".join(p.name for p in peers), **urls}


def _select_known(
    agent: AgentManifest, field: str, names: tuple[str, ...], there: dict[str, Any], broken: set[str]
) -> list[str]:
    """The names that are in the manifests; the others are reported, unless that was done already."""
    for name in names:
        if name in broken:
            continue
        if name not in there:
            known = ", ".join(sorted(there)) or "none"
            agent.fields.wrong(field, f"there is no {name!r} in these manifests; available: {known}")
        elif there[name] is agent:
            agent.fields.skipped(field, "names the agent itself, which cannot delegate to itself")
    return list(dict.fromkeys(name for name in names if name in there))
