"""A task as admission knows it: whose it is, whether it holds a place, and the agents that its steps are at."""

from __future__ import annotations

from dataclasses import dataclass, field

from coordinator.tasks.lane import Lane

Target = tuple[str | None, str | None]  # what a step asks for: a capability, an agent


@dataclass(eq=False, slots=True)
class Seat:
    """`at` has the agent of every step at work, "" for one that no agent is known for; `names` counts them.

    `active` counts the steps at work but for those that wait for what they have delegated (`children`, by step);
    `waiting` counts the steps that wait for an agent's share. A guest has a place beyond the limit.
    """

    lane: Lane
    priority: int
    order: int
    has_place: bool = False
    is_guest: bool = False
    queued: bool = False
    charged: bool = False
    active: int = 0
    waiting: int = 0
    at: dict[str, str] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    children: dict[str, int] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Wait:
    """A task that waits for a place, or a step of it that waits for a share of its agent's; `gone`: not any more."""

    seat: Seat
    targets: tuple[Target, ...]
    gone: bool = False
