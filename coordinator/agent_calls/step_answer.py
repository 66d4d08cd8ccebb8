"""PURE: what an agent answered to one attempt of a step."""

from __future__ import annotations

from dataclasses import dataclass

from shared.contracts import StepResult


@dataclass(frozen=True)
class Answer:
    """A completed step, and when its first byte came (Unix seconds)."""

    result: StepResult
    first_byte_at: float
