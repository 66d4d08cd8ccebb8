"""The score card: a figure beside its demand, and an exit code that says whether all were met."""

from __future__ import annotations

import json

import pytest

from load.chaos.card import Card
from load.chaos.elsewhere import ELSEWHERE
from load.chaos.fault import at_least, at_most


def test_met_demands_end_with_zero(capsys: pytest.CaptureFixture[str]) -> None:
    card = Card("docker-compose.yml")
    card.add(1, "kill -9", [at_most("serves again", 2.5, 8, "s")], 10.0)

    assert card.show(as_json=False, as_markdown=True) == 0
    assert "| 1 | kill -9 | serves again | 2.5 s | ≤ 8 s | met |" in capsys.readouterr().out


def test_missed_demand_is_marked_and_ends_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    card = Card("docker-compose.yml")
    card.add(1, "kill -9", [at_least("completed", 90, 99.5, "%"), at_most("lost", 0, 0)], 10.0)

    assert card.show(as_json=False, as_markdown=True) == 1
    assert "| 90 % | ≥ 99.5 % | **missed** |" in capsys.readouterr().out


@pytest.mark.parametrize("as_json", [True, False])
def test_every_fault_that_is_not_played_is_named(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    """With the reason, whether this host cannot play it or chaos never does."""
    card = Card("docker-compose.yml")
    card.cannot_play(6, "a worker that cannot be called", "root on Docker's machine: no iptables")

    assert card.show(as_json=as_json, as_markdown=not as_json) == 0
    said = capsys.readouterr().out
    assert "6 a worker that cannot be called: cannot be played here: root on Docker's machine: no iptables" in said
    assert all(other.where in said for other in ELSEWHERE.values())
    assert not as_json or json.loads(said)["figures"] == []
