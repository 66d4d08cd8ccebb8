"""What admission promises: nobody is refused without a measured reason, nobody is accepted only to fail."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from coordinator.admission.admission import Admission
from coordinator.admission.seat import Seat
from coordinator.admission.turns import Turn
from coordinator.tasks.lane import NO_LANE
from coordinator.tasks.task import Step, Task
from shared.contracts import Status
from shared.errors import Overloaded


class Desk:
    """An Admission with a clock that is moved by hand, and tasks that hold its places."""

    def __init__(self, *, places: int = 1, queued: int = 100) -> None:
        self.now = 1_000.0
        self.admission = Admission(
            max_running=places,
            max_queued=queued,
            names_of=lambda capability, agent: (),
            weight_of=lambda key: 1.0,
            told_apart=lambda: False,
            now=lambda: self.now,
            waited=lambda seconds: None,
        )
        self.places = places
        self.open: list[Turn] = []
        self.seats: dict[int, Seat] = {}
        self.begun: list[Turn] = []

    def ask(self, agent: str = "chat", *, seconds: float = 30.0, priority: int = 5) -> Turn:
        turn = self.admission.admit(make_task(agent, seconds, priority), len(self.open))
        self.open.append(turn)
        return turn

    def begin(self, turn: Turn) -> Turn:
        self.seats[id(turn)] = seat = self.admission.places.make_seat(NO_LANE, turn.priority)
        assert self.admission.try_enter(seat, [])
        self.admission.turns.begin(turn, until=self.now + 1_000)
        self.begun.append(turn)
        return turn

    def end(self, turn: Turn, status: Status = Status.COMPLETED) -> None:
        self.admission.turns.end(turn, status)
        if (seat := self.seats.pop(id(turn), None)) is not None:
            self.admission.leave(seat)
        self.admission.forget(turn)
        self.open.remove(turn)

    def have_done(self, agent: str, seconds: float, *, times: int = 20, status: Status = Status.COMPLETED) -> None:
        """So many tasks have ended one after the other, each after so long."""
        for _ in range(times):
            turn = self.begin(self.ask(agent))
            self.now += seconds
            self.end(turn, status)

    def fill(self, agent: str, times: int, *, seconds: float = 3_600.0) -> list[Turn]:
        return [self.ask(agent, seconds=seconds) for _ in range(times)]


def make_task(agent: str, seconds: float = 30.0, priority: int = 5) -> Task:
    steps = (Step(id="a", agent=agent),)
    return Task("1", "How do the tides work?", 0.0, deadline=seconds, steps=steps, priority=priority)


def test_cold_start_accepts_until_the_queue_is_full():
    desk = Desk(places=2, queued=3)
    for turn in desk.fill("chat", 2):
        desk.begin(turn)
    desk.now += 20

    for _ in range(3):
        desk.ask(seconds=1)
    with pytest.raises(Overloaded, match="3 tasks are waiting"):
        desk.ask()


def test_task_is_refused_when_its_time_is_too_short():
    """Ten wait for one place, ten seconds each."""
    desk = Desk()
    desk.have_done("chat", 10)
    desk.begin(desk.ask(seconds=3_600))
    desk.fill("chat", 9)

    with pytest.raises(Overloaded, match=r"would wait 100\.0 s, too long for its 60 s"):
        desk.ask(seconds=60)
    desk.ask(seconds=300)


def test_waiting_includes_what_is_left_of_running_tasks():
    desk = Desk()
    desk.have_done("chat", 10)
    desk.begin(desk.ask(seconds=3_600))

    with pytest.raises(Overloaded):
        desk.ask(seconds=20)
    desk.now += 9
    desk.ask(seconds=20)


@pytest.mark.parametrize("idle", [5, 100])
def test_idle_coordinator_accepts_whatever_was_before(idle: float):
    desk = Desk()
    desk.have_done("chat", 20)
    desk.now += idle

    assert desk.ask(seconds=1) in desk.open


def test_old_measurements_refuse_nobody():
    """A place is taken, by a task of which nothing new is known."""
    desk = Desk()
    desk.have_done("chat", 5)
    desk.now += 120
    desk.begin(desk.ask())

    assert desk.ask(seconds=1) in desk.open


def test_long_tasks_before_a_short_one_count_as_long():
    """The last ends were of short tasks: their rate says nothing about what waits."""
    desk = Desk(places=2)
    desk.have_done("report", 60)
    desk.have_done("chat", 0.1)
    for turn in desk.fill("report", 10)[:2]:
        desk.begin(turn)
    desk.now += 1

    with pytest.raises(Overloaded):
        desk.ask("chat", seconds=200)
    desk.ask("chat", seconds=600)


def test_short_tasks_before_a_short_one_count_as_short():
    """Long tasks hold most places, and the last ends were rare."""
    desk = Desk(places=10)
    desk.have_done("chat", 0.1)
    desk.have_done("report", 60, times=1)
    for turn in [*desk.fill("report", 9), desk.ask("chat")]:
        desk.begin(turn)
    desk.fill("chat", 80)

    assert desk.ask("chat", seconds=2) in desk.open


def test_higher_priority_sees_only_what_is_before_it():
    desk = Desk()
    desk.have_done("chat", 10)
    desk.begin(desk.ask(seconds=3_600))
    desk.fill("chat", 9)

    with pytest.raises(Overloaded):
        desk.ask(seconds=60)
    desk.ask(seconds=60, priority=9)


def test_quick_failures_are_no_drain_rate():
    """All agents are down: once they are back, tasks take as long as before."""
    desk = Desk()
    desk.have_done("chat", 10)
    desk.have_done("chat", 0.01, times=100, status=Status.FAILED)
    desk.begin(desk.ask(seconds=3_600))
    desk.fill("chat", 9)

    with pytest.raises(Overloaded):
        desk.ask(seconds=60)


def test_slow_failures_count_as_time_in_a_place():
    desk = Desk()
    desk.have_done("chat", 0.1)
    desk.have_done("chat", 10, times=30, status=Status.FAILED)
    desk.begin(desk.ask(seconds=3_600))

    desk.fill("chat", 9)
    with pytest.raises(Overloaded):
        desk.ask(seconds=60)


def test_hung_agent_is_noticed_before_its_tasks_end():
    """A task that is late is expected to take as long again as it is late."""
    desk = Desk()
    desk.have_done("chat", 0.1)
    desk.begin(desk.ask(seconds=3_600))
    desk.now += 20

    with pytest.raises(Overloaded):
        desk.ask(seconds=15)
    desk.ask(seconds=60)


def test_huge_timeouts_wait_for_as_long_as_it_takes():
    desk = Desk(queued=1_000)
    desk.have_done("chat", 60)
    desk.begin(desk.ask(seconds=86_400))
    desk.fill("chat", 900, seconds=86_400)

    desk.ask(seconds=86_400)


def test_tasks_that_were_never_begun_take_nobodys_time():
    desk = Desk()
    desk.have_done("chat", 10)
    desk.begin(desk.ask(seconds=3_600))
    for turn in desk.fill("chat", 9):
        desk.admission.turns.give_up(turn)
        desk.admission.turns.give_up(turn)
        desk.open.remove(turn)

    assert desk.ask(seconds=60) in desk.open


# --- what is given up


def test_task_with_too_little_time_is_given_up():
    desk = Desk()
    desk.have_done("chat", 2)
    turn = desk.ask()

    assert not desk.admission.can_be_done(turn, 1.5)
    assert desk.admission.can_be_done(turn, 2.5)


@pytest.mark.parametrize(
    ("seconds", "times", "status"),
    [(2, 3, Status.COMPLETED), (2, 20, Status.PARTIAL), (2, 20, Status.FAILED), (900, 20, Status.COMPLETED)],
    ids=["few", "partial", "failed", "hurried"],
)
def test_uncertain_task_is_never_given_up(seconds: float, times: int, status: Status):
    """Few have completed, or all took what time they were given: less might do as well."""
    desk = Desk()
    desk.have_done("chat", seconds, times=times, status=status)

    assert desk.admission.can_be_done(desk.ask(), 0.5)


def test_unknown_kind_is_never_given_up():
    desk = Desk()
    desk.have_done("chat", 2)

    assert desk.admission.can_be_done(desk.ask("other"), 0.1)


# --- when refused callers come back


def told(desk: Desk, times: int) -> Iterable[int]:
    for _ in range(times):
        with pytest.raises(Overloaded) as refused:
            desk.ask()
        yield int(refused.value.headers["Retry-After"])


def test_retry_after_is_as_long_as_the_queue_is_too_long():
    """Twenty tasks of ten seconds are before a task that has thirty; all but one of them must go."""
    desk = Desk()
    desk.have_done("chat", 10)
    desk.begin(desk.ask(seconds=3_600))
    desk.fill("chat", 19)

    [seconds] = told(desk, 1)

    assert 180 <= seconds <= 200


def test_refused_callers_come_back_one_after_another():
    """Ten tasks a second end; of a hundred callers about ten come back in each second."""
    desk = Desk(places=1, queued=500)
    desk.have_done("chat", 0.1)
    desk.begin(desk.ask(seconds=3_600))
    desk.fill("chat", 500)

    seconds = list(told(desk, 100))

    assert seconds[0] <= 31
    assert max(seconds.count(second) for second in set(seconds)) <= 11


def test_thousands_of_refused_callers_are_spread_evenly():
    desk = Desk(places=10, queued=90)
    desk.have_done("chat", 1)
    for turn in desk.fill("chat", 100)[:10]:
        desk.begin(turn)

    seconds = list(told(desk, 3_000))

    assert max(seconds) <= 15
    assert all(seconds.count(second) <= 3_000 / 9 for second in set(seconds))


def test_retry_after_before_anything_has_ended_is_seconds():
    desk = Desk(places=1, queued=0)
    desk.begin(desk.ask())

    assert all(5 <= seconds <= 15 for seconds in told(desk, 500))


def test_earlier_overload_makes_nobody_wait_later():
    desk = Desk(places=1, queued=0)
    desk.have_done("chat", 0.5)
    desk.begin(desk.ask())
    list(told(desk, 1_000))
    desk.now += 30

    assert max(told(desk, 1)) <= 2
