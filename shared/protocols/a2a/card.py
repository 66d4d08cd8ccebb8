"""The agent card: what a service says about itself to A2A clients of 1.0 and 0.3."""

from __future__ import annotations

from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    HTTPAuthSecurityScheme,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)

from shared.conversation import Face
from shared.protocols.a2a.http import REST_PREFIX

INPUT_MODES = ("text/plain", "application/json")
OUTPUT_MODES = ("text/markdown", "text/plain", "application/json")
RPC = "/a2a"


def make_card(face: Face, *, base: str, secured: bool, old: bool) -> AgentCard:
    """The card of a service that is reached at `base` (a URL without a path); `secured`: callers need a bearer key.

    The shape is `AgentCard` of a2a.proto 1.0; `old` adds the interface of 0.3, for which the SDK then adds the old
    top-level fields, that strict readers of 1.0 refuse.
    """
    base = base.rstrip("/")
    interfaces = [
        AgentInterface(url=base + RPC, protocol_binding="JSONRPC", protocol_version="1.0"),
        AgentInterface(url=base + REST_PREFIX, protocol_binding="HTTP+JSON", protocol_version="1.0"),
    ]
    if old:
        interfaces.append(AgentInterface(url=base + RPC, protocol_binding="JSONRPC", protocol_version="0.3"))
    scheme = SecurityScheme(http_auth_security_scheme=HTTPAuthSecurityScheme(scheme="bearer"))
    return AgentCard(
        name=face.name,
        description=face.description,
        version=face.version,
        supported_interfaces=interfaces,
        capabilities=AgentCapabilities(streaming=True, push_notifications=True, extended_agent_card=False),
        security_schemes={"bearer": scheme} if secured else {},
        security_requirements=[SecurityRequirement(schemes={"bearer": StringList()})] if secured else [],
        default_input_modes=INPUT_MODES,
        default_output_modes=OUTPUT_MODES,
        skills=[
            AgentSkill(id=s.id, name=s.name, description=s.description or s.name, tags=s.tags or (s.id,))
            for s in face.skills()
        ],
    )
