"""Limits that are taken away again: Docker has no option for that where `--cpus` was given."""

from __future__ import annotations

import pytest

from load.chaos.limits import limit_cores, restore

NO_LIMIT = {"NanoCpus": 0, "CpuPeriod": 0, "CpuQuota": 0, "Memory": 0, "MemorySwap": 0}


@pytest.mark.parametrize(
    ("before", "limited", "restored"),
    [
        (NO_LIMIT, ["--cpu-period", "100000", "--cpu-quota", "10000"], ["--cpu-period", "100000", "--cpu-quota", "-1"]),
        (NO_LIMIT | {"NanoCpus": 2_000_000_000}, ["--cpus", "0.1"], ["--cpus", "2.0"]),
        (
            NO_LIMIT | {"CpuPeriod": 50_000, "CpuQuota": 25_000},
            ["--cpu-period", "100000", "--cpu-quota", "10000"],
            ["--cpu-period", "50000", "--cpu-quota", "25000"],
        ),
    ],
)
def test_what_was_is_brought_back(before: dict[str, int], limited: list[str], restored: list[str]) -> None:
    assert limit_cores(0.1, before) == limited
    assert restore(before) == restored


def test_memory_comes_back_with_its_swap() -> None:
    assert restore(NO_LIMIT | {"Memory": 512, "MemorySwap": 1024})[-4:] == ["--memory", "512", "--memory-swap", "1024"]
