"""PURE: when an instance gets a canary, a step that only asks whether it answers, and what it means if it does not."""

from __future__ import annotations

from collections.abc import Collection

from coordinator.agents.instance import Instance
from coordinator.agents.pace import needs_canary
from shared.contracts import AgentStatus

QUIET_SECONDS = 10.0  # without the answer to a real step, before a canary asks
AGAIN_SECONDS = 2.0  # between canaries at an instance that left one unanswered, or whose breaker is open
HELD_SECONDS = 10.0  # an open breaker waits so long for a canary; then a step is its trial, as where there is none
DEAF_AFTER = 2  # canaries in a row without an answer


def is_urgent(instance: Instance, now: float) -> bool:
    """Whether steps may be waiting for the answer."""
    return instance.unanswered > 0 or instance.canary_wanted or instance.find_breaker_state(now) == "open"


def find_due(instance: Instance, now: float) -> float | None:
    """When the next canary is due; None for an instance that takes none, or that steps would not go to anyway."""
    asked = instance.canary_at if instance.canary_at is not None else instance.registered_at
    silent = instance.lease_until is not None and now > instance.lease_until
    if not instance.takes_canaries or silent or not (instance.status is AgentStatus.HEALTHY or _is_out(instance)):
        return None
    if instance.canary_wanted or needs_canary(instance, now):
        return now
    if not is_urgent(instance, now):
        return max(asked, instance.measured_at) + QUIET_SECONDS
    if instance.unanswered:
        return asked + AGAIN_SECONDS
    return max(asked, instance.opened_at or asked) + AGAIN_SECONDS


def note_answer(instance: Instance, now: float) -> bool:
    """The next step may try an open breaker; says whether the instance was out of rotation until now."""
    was_out = _is_out(instance)
    instance.deaf, instance.unanswered = False, 0
    if instance.open_until is not None:
        instance.open_until = min(instance.open_until, now)
    return was_out


def note_silence(instance: Instance, now: float) -> None:
    """An open breaker stays open until the next canary."""
    instance.unanswered += 1
    if instance.open_until is not None:
        instance.open_until = now + HELD_SECONDS


def must_leave(instance: Instance, same: Collection[Instance], everyone: Collection[Instance]) -> bool:
    """Whether the instance, one of its name's and of all, is to be taken out of rotation.

    At most half may be out, so that a coordinator that judges wrongly does not end the service (Envoy's
    `max_ejection_percent`); where half is none, one may, as there: its callers hear within seconds that it does not
    answer, instead of at their deadline.
    """
    deaf = instance.status is AgentStatus.HEALTHY and instance.unanswered >= DEAF_AFTER
    return deaf and all(_has_room(group) for group in (same, everyone))


def _has_room(group: Collection[Instance]) -> bool:
    out = sum(_is_out(i) for i in group)
    present = out + sum(i.status is AgentStatus.HEALTHY for i in group)
    return out < max(1, present // 2)


def _is_out(instance: Instance) -> bool:
    return instance.deaf and instance.status is AgentStatus.UNREACHABLE
