"""The pages of numbers and of health."""

from __future__ import annotations

import pytest

from coordinator.console.figures.charts import HEIGHT, stack
from coordinator.console.spent import SPENT
from coordinator.journal.lookups.ends import count_ends, find_percentile
from coordinator.observers.minutes import KEPT, Minutes
from shared.agent import Context, Reply
from shared.contracts import StepRequest, Usage
from tests.coordinator.console.test_pages import HTML
from tests.support.fakes import FILE_AND_SERVER, Network, Suite, agent, eventually


@pytest.mark.parametrize(
    ("figures", "most"), [([0.3], "0.5"), ([7, 3], "10"), ([11], "20"), ([0], "0"), ([100], "100")]
)
def test_a_bar_is_as_high_as_its_share(figures: list[float], most: str) -> None:
    """Of the edge, which is the next round figure."""
    kinds = [(str(n), str(n)) for n in range(len(figures))]
    chart = stack("x", kinds, [figures], names=["now"], say=lambda f: f"{f:g}", said="")

    height = sum(piece.height for piece in chart.bars[0].pieces)
    assert chart.most == most
    assert height == pytest.approx(HEIGHT * sum(figures) / float(most) if sum(figures) else 0, abs=0.02)


def test_percentiles_are_those_of_classes() -> None:
    """Eight classes a decade, from 1 ms on: 0.1 s begins the class 16, 1 s the class 24."""
    assert find_percentile({17: 90, 25: 10}, 0.5) == pytest.approx(0.1334, abs=0.001)
    assert find_percentile({17: 90, 25: 10}, 0.95) == pytest.approx(1.334, abs=0.01)
    assert find_percentile({0: 5}, 0.5) == 0.0
    assert find_percentile({}, 0.5) is None


@FILE_AND_SERVER
async def test_ends_are_counted_where_they_were(suite: Suite) -> None:
    """By status, in the stretch in which the task ended."""
    await suite.execute()
    await suite.execute(plan=[{"id": "lost", "capability": "fly"}])
    now = suite.services.wall()

    ends = await count_ends(suite.services.store, since=now - 90, width=60, stretches=2)

    assert ends[0].statuses == {}
    assert ends[1].statuses == {"completed": 1, "failed": 1}
    assert sum(ends[1].took.values()) == sum(ends[1].waited.values()) == 2


def test_minutes_are_summed_and_forgotten() -> None:
    at = [0.0]
    minutes = Minutes(lambda: at[0])
    for at[0] in (0, 30, 60, 600):
        minutes.add(1, 10)

    assert minutes.sum_up(since=0, width=60, stretches=2) == [(2, 20), (1, 10)]
    for n in range(2 * KEPT):
        at[0] = n * 60
        minutes.add(1, 1)
    assert sum(first for first, _ in minutes.sum_up(since=0, width=1e9, stretches=1)) == KEPT


@FILE_AND_SERVER
async def test_tokens_outlive_a_restart(journal_url: str) -> None:
    """Those of the journal are counted once, those of this process once; also of a task with a large output."""

    async def spends(step: StepRequest, ctx: Context) -> Reply:
        return Reply("x" * (200_000 if step.input else 1), Usage(calls=1, input_tokens=1_000, output_tokens=200))

    async def run(suite: Suite, *inputs: int) -> str:
        await suite.add(agent("spender", "spend", spends))
        for given in inputs:
            await suite.execute(plan=[{"id": "a", "capability": "spend", "input": given}])
        await suite.client.get("/console/numbers", headers=HTML)
        spent = getattr(suite.app.state, SPENT)
        await eventually(lambda: spent.known)
        return (await suite.client.get("/console/numbers?of=day", headers=HTML)).text

    async with Suite(database_url=journal_url) as suite:
        before = await run(suite, 0, 1)
    async with Suite(database_url=journal_url) as suite:
        after = await run(suite, 0)

    assert "<dt>Tokens</dt><dd><strong>2,400</strong>" in before
    assert "<dt>Tokens</dt><dd><strong>3,600</strong>" in after


@pytest.mark.parametrize("of", ["", "?of=hour", "?of=day"])
async def test_numbers_show_what_happened(suite: Suite, of: str) -> None:
    await suite.execute()
    page = await suite.client.get(f"/console/numbers{of}", headers=HTML)

    assert "<dt>Tasks ended</dt><dd><strong>1</strong>" in page.text
    assert page.text.count("<figure") == 4


async def test_health_says_what_is_wrong(suite: Suite, network: Network) -> None:
    """As the doctor does: nothing while all is well, then the agent that cannot be reached, and a command."""
    well = await suite.client.get("/console/health", headers=HTML)
    network.unplug("reporter")
    await suite.sees("reporter", "unreachable")
    ill = await suite.client.get("/console/health", headers=HTML)

    assert "There are problems" not in well.text
    assert "reaches 3 agents" in well.text
    assert "There are problems" in ill.text
    assert "reporter" in ill.text
