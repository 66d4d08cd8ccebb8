"""Room for the outputs of open tasks: in one task, and in all together, no more than memory holds."""

from __future__ import annotations

from collections import Counter

from shared.contracts import MAX_RESULT_BYTES
from shared.errors import OutputTooLarge

MOST_OF_TASK = 2 * MAX_RESULT_BYTES  # as JSON; as objects they take about five times as much
MOST_OF_ALL = 100_000_000  # as JSON: with what callers sent, what a container of 1 GB can hold
SMALL_BYTES = 65_536  # always fits beside the others: one agent's flood does not take it from the rest


class OutputRoom:
    """Counts bytes of step outputs by task, from their arrival until the task has ended."""

    def __init__(self) -> None:
        self._used: Counter[str] = Counter()
        self._total = 0

    def take(self, task_id: str, size: int) -> None:
        """Makes room for an output of so many bytes; raises `OutputTooLarge` where there is none."""
        used = self._used[task_id] + size
        if used > MOST_OF_TASK:
            raise OutputTooLarge(
                f"This output of {size:,} bytes does not fit: the outputs of one task may total {MOST_OF_TASK:,} bytes."
            )
        if size > SMALL_BYTES and self._total + size > MOST_OF_ALL:
            raise OutputTooLarge(
                f"This output of {size:,} bytes does not fit: all open tasks may total {MOST_OF_ALL:,} bytes."
            )
        self.add(task_id, size)

    def add(self, task_id: str, size: int) -> None:
        """Counts an output that is there already."""
        self._used[task_id] += size
        self._total += size

    def give_back(self, task_id: str) -> None:
        """Forgets a task that has ended."""
        self._total -= self._used.pop(task_id, 0)
