"""The journal of a replay: in memory, there for every life of its coordinator, and deaf once that is killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from shared.db.database import Function, Rows, Statement
from shared.db.memory import MemoryDatabase


class KeptJournal(MemoryDatabase):
    """Kept when it is closed; while `killed`, nothing is written."""

    killed = False

    async def open(self, migrations: Sequence[str], functions: Mapping[str, Function] | None = None) -> None:
        await super().open(migrations, functions)

    async def close(self) -> None:
        """The next life opens it again."""

    async def write(self, name: str, *statements: Statement) -> Rows | None:
        return None if self.killed else await super().write(name, *statements)

    def post(self, name: str, *statements: Statement, then: Callable[[Rows], None] | None = None) -> None:
        if not self.killed:
            super().post(name, *statements, then=then)
