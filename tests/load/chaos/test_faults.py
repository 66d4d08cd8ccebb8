"""The list of faults is whole: each is played or says where it is tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from load.chaos.__main__ import SHORT
from load.chaos.elsewhere import ELSEWHERE
from load.chaos.played import PLAYED

ROOT = Path(__file__).parents[3]


def test_every_fault_is_played_or_named() -> None:
    assert sorted([*PLAYED, *ELSEWHERE]) == list(range(1, 51))
    assert set(SHORT) <= set(PLAYED)


@pytest.mark.parametrize("where", [other.where for other in ELSEWHERE.values()])
def test_named_tests_are_there(where: str) -> None:
    path, _, name = where.partition("::")
    assert (ROOT / path).is_file()
    assert not name or f"def {name}(" in (ROOT / path).read_text()
