"""What calls take as a rule, and how an instance that is far slower gets fewer steps, and a trial after a while."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from coordinator.agents.canary import find_due
from coordinator.agents.instance import SLOW_SECONDS, Instance
from coordinator.agents.pace import LEAST_SECONDS, TIMES, Paces, needs_canary
from coordinator.agents.registry import Registry
from shared.contracts import Registration

QUICK, SLOW = 0.2, 2.0


class Pool:
    """Instances of one name; a test says what each takes."""

    def __init__(self, count: int = 3) -> None:
        self.now = 0.0
        self.registry = Registry(now=lambda: self.now, wall=lambda: self.now, random=Random(1))
        self.taking = dict.fromkeys((f"a{n}" for n in range(count)), QUICK)
        for agent_id in self.taking:
            self.registry.register(agent_id, Registration(name="a", endpoint=f"http://{agent_id}", capabilities=["x"]))
            self.registry.record_probe(agent_id, None)

    def call(self) -> Instance:
        """One call, alone, where the registry says."""
        chosen = self.registry.choose(capability="x", agent=None)
        assert chosen is not None
        self.registry.record_start(chosen)
        self.now += self.taking[chosen.id]
        self.registry.record_end(chosen, seconds=self.taking[chosen.id], error=None, blame=False)
        return chosen

    def call_often(self, times: int) -> Counter[str]:
        return Counter(self.call().id for _ in range(times))

    def get(self, agent_id: str) -> Instance:
        found = self.registry.get(agent_id)
        assert found is not None
        return found


@pytest.fixture
def pool() -> Pool:
    return Pool()


def test_limit_needs_twenty_calls(pool: Pool) -> None:
    pool.call_often(19)
    before = pool.registry.paces.find_limit("a")
    pool.call()

    assert (before, pool.registry.paces.find_limit("a")) == (None, pytest.approx(TIMES * QUICK))


def test_limit_of_quick_calls_has_a_floor() -> None:
    paces, instance = Paces(), Pool().get("a0")
    for _ in range(20):
        paces.add(instance, 0.001)

    assert paces.find_limit("a") == LEAST_SECONDS


def test_slow_instance_has_no_say_in_the_limit() -> None:
    """Also where it was slow from the start, and has answered a third of the calls."""
    paces, pool = Paces(), Pool()
    for n in range(60):
        paces.add(pool.get(f"a{n % 3}"), SLOW if n % 3 == 2 else QUICK)

    assert paces.find_limit("a") == pytest.approx(TIMES * QUICK)


def test_all_that_become_slower_move_the_limit(pool: Pool) -> None:
    pool.call_often(40)
    pool.taking = dict.fromkeys(pool.taking, SLOW)
    pool.call_often(100)

    assert pool.registry.paces.find_limit("a") == pytest.approx(TIMES * SLOW)


def test_slow_instance_gets_no_steps_for_a_while(pool: Pool) -> None:
    """Less than one in a hundred, as long as it stays slow: each trial comes twice as late as the one before."""
    pool.call_often(60)
    pool.taking["a0"] = SLOW
    got = pool.call_often(600)

    assert 2 <= got["a0"] <= 6


def test_quick_answer_brings_it_back(pool: Pool) -> None:
    pool.call_often(60)
    pool.taking["a0"] = SLOW
    pool.call_often(20)
    pool.taking["a0"] = QUICK
    pool.now += SLOW_SECONDS[0]

    got = pool.call_often(60)

    assert pool.get("a0").slow_seconds == 0.0
    assert got["a0"] >= 10


def test_canary_comes_before_the_trial(pool: Pool) -> None:
    """One that is slow itself puts the trial off; no step is spent on it."""
    for agent_id in pool.taking:
        asks = Registration(name="a", endpoint=f"http://{agent_id}", capabilities=["x"], canary=True)
        pool.registry.register(agent_id, asks)
    pool.call_often(60)
    slow = pool.get("a0")
    pool.registry.note_slow(slow, SLOW)
    pool.now += SLOW_SECONDS[0]

    before = (pool.call_often(30)["a0"], find_due(slow, pool.now) == pool.now)
    pool.registry.record_canary(slow, None, seconds=SLOW)
    put_off = (pool.call_often(30)["a0"], needs_canary(slow, pool.now))
    pool.now = slow.slow_until
    pool.registry.record_canary(slow, None, seconds=0.01)
    after = pool.call_often(30)["a0"]

    assert (before, put_off) == ((0, True), (0, False))
    assert after >= 5


def test_slow_instance_works_where_others_are_loaded(pool: Pool) -> None:
    """It is slower, not gone: at ten times the load its turn comes."""
    pool.call_often(60)
    pool.registry.note_slow(pool.get("a0"), SLOW)
    taken: Counter[str] = Counter()
    for _ in range(40):
        chosen = pool.registry.choose(capability="x", agent=None)
        assert chosen is not None
        pool.registry.record_start(chosen)
        taken[chosen.id] += 1

    assert 1 <= taken["a0"] <= 3


def test_only_one_step_tries_it_at_a_time(pool: Pool) -> None:
    pool.call_often(60)
    slow = pool.get("a0")
    pool.registry.note_slow(slow, SLOW)
    pool.now += SLOW_SECONDS[0]
    pool.registry.record_start(slow)

    others = [pool.registry.choose(capability="x", agent=None) for _ in range(20)]

    assert slow not in others


def test_trial_that_fails_is_no_answer(pool: Pool) -> None:
    pool.call_often(60)
    slow = pool.get("a0")
    pool.registry.note_slow(slow, SLOW)
    pool.now += SLOW_SECONDS[0]
    pool.registry.record_start(slow)
    pool.registry.record_end(slow, seconds=0.1, error="It broke.", blame=True)

    assert slow.slow_until == pool.now + 2 * SLOW_SECONDS[0]
