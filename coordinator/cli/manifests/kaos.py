"""PURE: KAOS's `AgentManifest`, `ModelAPI` and `MCPServer` manifests, of all its generations, as values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from coordinator.cli.manifests.fields import Fields, Problem, Tell, literal
from shared.urls import is_http_url

NAME = re.compile(r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?\Z")  # RFC 1123, as Kubernetes has it
PACKAGE = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(==[A-Za-z0-9._]+)?\Z")
MAX_DESCRIPTION = 500  # characters, as registrations have it
PROVIDERS = {  # OpenAI-compatible addresses of providers that a manifest may name without one
    "deepseek": "https://api.deepseek.com",
    "groq": "https://api.groq.com/openai",
    "mistral": "https://api.mistral.ai",
    "nebius": "https://api.tokenfactory.nebius.com",
    "openai": "https://api.openai.com",
    "openrouter": "https://openrouter.ai/api",
}
PREFIXES = (*PROVIDERS, "ollama", "ollama_chat")  # of models' names, which KAOS's proxy reads and takes off
PYTHON_IMAGE = "python:3.12-slim"  # what KAOS runs a package in
TOOLS_IMAGE = "${KAOS_MCP_IMAGE:-axsauze/kaos-mcp-python-string:latest}"  # KAOS's own: tools written as Python text


@dataclass(frozen=True)
class ModelAPI:
    """Where models are: `url` for a proxy, None for one that runs here and serves `model`. `env` is compose-ready."""

    name: str
    url: str | None = None
    model: str | None = None
    models: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    key: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    image: str | None = None
    container: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MCPServer:
    """A tool server on port 8000; `probed` where its image is known to have Python."""

    name: str
    image: str
    container: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    probed: bool = False


@dataclass(frozen=True)
class AgentManifest:
    """An agent: its own settings in `env`, and the names of what it uses. `fields` tells of references gone wrong."""

    name: str
    fields: Fields
    model_api: str | None
    model: str | None
    env: dict[str, str] = field(default_factory=dict)
    servers: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    image: str | None = None
    container: dict[str, Any] = field(default_factory=dict)
    replicas: int = 1
    waits: bool = True


@dataclass(frozen=True)
class Manifests:
    """Everything that was read, by name; `broken` are names of what could not be."""

    agents: dict[str, AgentManifest] = field(default_factory=dict)
    models: dict[str, ModelAPI] = field(default_factory=dict)
    servers: dict[str, MCPServer] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)


def read(documents: Iterable[tuple[str, Any]], tell: Tell) -> Manifests:
    """The content of documents, each with the name of its file; `tell` is called with everything wrong or left out."""
    found = Manifests()
    for file, document in documents:
        for item in document["items"] if _is_list(document) else [document]:
            if item is not None:
                _read_one(file, item, found, tell)
    return found


def _is_list(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and str(document.get("kind", "")).endswith("List")
        and isinstance(document.get("items"), list)
    )


def _read_one(file: str, document: Any, found: Manifests, tell: Tell) -> None:
    top = Fields(document, where=file, path="", tell=tell)
    kind = top.text("kind")
    if kind is None:
        tell(Problem(file, "kind", "is missing: this is not a Kubernetes manifest", True))
        return
    metadata = top.child("metadata")
    name = metadata.text("name") or ""
    top.where = metadata.where = f"{file}: {kind}/{name or '?'}"
    if kind not in ("Agent", "ModelAPI", "MCPServer"):
        tell(Problem(top.where, "", "is ignored: only Agent, ModelAPI and MCPServer are translated", False))
        return
    if not NAME.match(name):
        metadata.wrong("name", f"must be a name of lower-case letters, digits, dots and dashes, not {name!r}")
        return
    spec = top.child("spec")
    tables: dict[str, dict[str, Any]] = {"Agent": found.agents, "ModelAPI": found.models, "MCPServer": found.servers}
    there = tables[kind]
    if name in there:
        metadata.wrong(
            "name", f"is a duplicate; render one namespace at a time (this is {metadata.text('namespace')!r})"
        )
        return
    if (kind, name) == ("Agent", "coordinator"):
        metadata.skipped(
            "name", "is Muster's coordinator to chats (model: coordinator); plans and delegations find the agent"
        )
    readers: dict[str, Callable[[str, Fields], Any]] = {"Agent": _agent, "ModelAPI": _model, "MCPServer": _server}
    one = readers[kind](name, spec)
    if one is not None:
        there[name] = one
    else:
        found.broken.add(name)
    top.skip("apiVersion", "status")
    metadata.skip("namespace", "labels", "annotations", "uid", "resourceVersion", "generation", "creationTimestamp")
    top.rest()


def _model(name: str, spec: Fields) -> ModelAPI | None:
    mode = (spec.text("mode") or "").lower()
    if mode not in ("hosted", "proxy"):
        spec.wrong("mode", "must be Hosted or Proxy")
        return None
    return _read_hosted(name, spec) if mode == "hosted" else _read_proxy(name, spec)


def _read_hosted(name: str, spec: Fields) -> ModelAPI | None:
    config = spec.child("serverConfig" if spec.has("serverConfig") else "hostedConfig")
    own = spec.child("container")
    image, overrides = _container(own, spec)
    for given in overrides.keys() & {"entrypoint", "command"}:
        own.skipped("command" if given == "entrypoint" else "args", "is ignored: Ollama is started so that it pulls")
        del overrides[given]
    model = config.text("model")
    if not model:
        config.wrong("model", "is missing: the model to run")
        return None
    env = config.env() | own.env()
    return ModelAPI(
        name, model=plain(model, ("ollama",)), prefixes=("ollama",), env=env, image=image, container=overrides
    )


def _read_proxy(name: str, spec: Fields) -> ModelAPI | None:
    config = spec.child("proxyConfig")
    provider, base = config.text("provider"), config.text("apiBase")
    env = config.env() | spec.child("container").env()
    key = config.child("apiKey").secret("value") or env.pop("OPENAI_API_KEY", None)
    for other in env:
        config.skipped("env", f"{other} is ignored: agents call the model directly, without a proxy")
    models = config.texts("models") + ([one] if (one := config.text("model")) else [])
    first = models[0].partition("/")[0] if models and "/" in models[0] else ""
    url = base or PROVIDERS.get(provider or first or ("openai" if key else ""))
    if url is None:
        known = ", ".join(PROVIDERS)
        config.wrong("apiBase", f"is missing, and the provider's address is unknown; known providers: {known}")
        return None
    if not is_http_url(url):
        config.wrong("apiBase", f"must be an http:// or https:// URL, not {url!r}")
        return None
    if (urlsplit(url).hostname or "").endswith((".svc", ".cluster.local")):
        config.skipped("apiBase", f"points into a cluster, which containers here cannot reach: {url}")
    prefixes = () if provider else PREFIXES  # with a provider the names are its own, whatever they look like
    url = url.rstrip("/").removesuffix("/v1")
    return ModelAPI(name, url=url, models=tuple(plain(m, prefixes) for m in models), key=key, prefixes=prefixes)


def _server(name: str, spec: Fields) -> MCPServer | None:
    container, config = spec.child("container"), spec.child("config")
    image, overrides = _container(container, spec)
    env = config.env() | container.env()
    tools = config.child("tools")
    package = tools.text("fromPackage") or config.text("mcp")
    runtime = spec.text("runtime") or spec.text("type") or ""
    params = spec.text("params") if runtime == "python-string" or image is None else None
    code = tools.text("fromString") or config.text("toolsString") or params
    if code is not None:
        env = {"MCP_TOOLS_STRING": literal(code)} | env
    elif tools.has("fromSecretKeyRef"):
        tools.wrong("fromSecretKeyRef", "cannot be translated: put the tools into fromString, or set container.image")
        return None
    if image is not None:
        return MCPServer(name, image, overrides, env)
    if code is not None:
        return MCPServer(name, TOOLS_IMAGE, overrides, env, probed=True)
    if package is None:
        spec.wrong("runtime", f"{runtime or 'nothing'} cannot be run here: set container.image")
        return None
    if not PACKAGE.match(package):
        tools.wrong("fromPackage", f"is not the name of a Python package: {package!r}")
        return None
    bare = package.partition("==")[0]
    run = f"pip install {package} && ( {bare} || python -m {bare.replace('-', '_')} )"
    return MCPServer(name, PYTHON_IMAGE, {"command": ["sh", "-c", run], **overrides}, env, probed=True)


def _agent(name: str, spec: Fields) -> AgentManifest:
    config, network, container = spec.child("config"), spec.child("agentNetwork"), spec.child("container")
    loop, memory = config.child("agenticLoop"), config.child("memory")
    image, overrides = _container(container, spec)
    instructions = "\n\n".join(filter(None, (config.text("systemPrompt"), config.text("instructions"))))
    steps = config.number("reasoningLoopMaxSteps", least=1, most=20) or loop.number("maxSteps", least=1, most=20)
    description = config.text("description") or ""
    if len(description) > MAX_DESCRIPTION:
        config.skipped("description", f"is truncated to {MAX_DESCRIPTION} characters")
    said = {
        "AGENT_NAME": name,
        "AGENT_DESCRIPTION": description[:MAX_DESCRIPTION] or None,
        "AGENT_INSTRUCTIONS": instructions or None,
        "AGENTIC_LOOP_MAX_STEPS": steps,
        "TOOL_CALL_MODE": config.text("toolCallMode"),
        "MEMORY_ENABLED": memory.text("enabled"),
        "MEMORY_CONTEXT_LIMIT": memory.number("contextLimit", least=0, most=1_000),
        "MEMORY_MAX_SESSIONS": memory.number("maxSessions", least=1, most=1_000_000),
        "MEMORY_MAX_SESSION_EVENTS": memory.number("maxSessionEvents", least=1, most=1_000_000),
    }
    if (kept := memory.text("type")) not in (None, "local"):
        memory.skipped("type", f"{kept} is ignored: an agent keeps its memory in its own volume")
    if network.flag("expose") is False:
        network.skipped("expose", "has no effect: all services in the network can reach each other")
    return AgentManifest(
        name,
        spec,
        model_api=spec.text("modelAPI"),
        model=spec.text("model"),
        env={k: literal(str(v)) for k, v in said.items() if v is not None} | config.env() | container.env(),
        servers=tuple(spec.texts("mcpServers")) if loop.flag("enableTools") is not False else (),
        peers=tuple(network.texts("access")) if loop.flag("enableDelegation") is not False else (),
        image=image,
        container=overrides,
        replicas=1 if (count := spec.number("replicas", least=0, most=100)) is None else count,
        waits=spec.flag("waitForDependencies") is not False,
    )


def _container(container: Fields, spec: Fields) -> tuple[str | None, dict[str, Any]]:
    """Image, and the rest of a container as given: Kubernetes' command is Compose's entrypoint, args its command."""
    image, command, args = container.text("image"), container.texts("command"), container.texts("args")
    found: dict[str, Any] = {}
    if command:
        found["entrypoint"] = [literal(word) for word in command]
    if args:
        found["command"] = [literal(word) for word in args]
    return (literal(image) if image else None), found | spec.limits() | container.limits()


def plain(model: str, prefixes: tuple[str, ...]) -> str:
    """A model's name without the provider that KAOS's proxy would have read from it."""
    head, slash, tail = model.partition("/")
    return tail if slash and head in prefixes else model
