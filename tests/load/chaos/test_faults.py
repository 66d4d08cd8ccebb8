"""The list of faults is whole: each is played or says where it is tried."""

from __future__ import annotations

from pathlib import Path

from load.chaos.elsewhere import ELSEWHERE
from load.chaos.faults import PLAYED

ROOT = Path(__file__).parents[3]


def test_every_fault_is_played_or_named() -> None:
    assert sorted([*PLAYED, *ELSEWHERE]) == list(range(1, 49))


def test_named_tests_are_there() -> None:
    assert [test for _, test in ELSEWHERE.values() if test and not (ROOT / test).is_file()] == []
