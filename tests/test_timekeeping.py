"""The date of a machine that has no clock of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from meterd import BUILT_UTC_S
from meterd.timekeeping import Clocks, Known, ServerTime, Timekeeper, kernel_state

NOON = BUILT_UTC_S + 100 * 86_400
DAY_S = 86_400.0


@dataclass
class Machine:
    """Clocks that tests turn: the system's date is the time since the start and an error."""

    boottime_s: float = 20.0
    error_s: float = 0.0
    state: str = "unsynced"
    said: ServerTime | None = None
    started_utc_s: float = field(default=NOON - 20.0)

    @property
    def true_utc_s(self) -> float:
        return self.started_utc_s + self.boottime_s

    def clocks(self) -> Clocks:
        return Clocks(
            lambda: self.boottime_s,
            lambda: self.true_utc_s + self.error_s,
            lambda: self.state,
            lambda: self.said,
        )

    def keep(self, **known: int) -> Timekeeper:
        return Timekeeper(self.clocks(), Known(1, **known))


def test_a_machine_that_boots_in_1970_goes_on_from_its_last_sign_of_life() -> None:
    machine = Machine()
    machine.error_s = -machine.true_utc_s
    time = machine.keep(last_utc_s=NOON - 3600)
    assert time.stamp().clock == "unknown"
    assert time.utc_s() == NOON - 3600
    machine.boottime_s += 60
    assert time.follow() == []
    assert time.utc_s() == NOON - 3540


def test_a_date_before_the_program_was_made_is_no_date() -> None:
    machine = Machine(error_s=-(NOON - BUILT_UTC_S) - 1.0)
    assert machine.keep().stamp().clock == "unknown"
    assert Machine(error_s=-(NOON - BUILT_UTC_S) + 1.0).keep().stamp().clock == "informative"


def test_from_1970_to_now_is_one_anchor_and_a_sure_date() -> None:
    machine = Machine()
    machine.error_s = -machine.true_utc_s
    time = machine.keep()
    machine.boottime_s += 30
    machine.error_s, machine.state = 0.0, "synced"
    ((event, detail),) = time.follow()
    assert event == "anchor"
    assert detail["utc_ms"] == 1000 * (NOON + 30)
    assert detail["boottime_ms"] == 50_000
    assert detail["source"] == "kernel"
    assert (time.stamp().clock, time.utc_s()) == ("synced", NOON + 30)


def test_an_anchor_is_told_each_hour_while_the_clock_is_held_and_not_more_often() -> None:
    machine = Machine(state="synced")
    time = machine.keep()
    anchors = []
    for _ in range(3 * 3600 + 1):
        anchors += time.follow()
        machine.boottime_s += 1
    assert len(anchors) == 4


def test_a_clock_that_lost_its_source_runs_on_by_itself_and_says_so() -> None:
    machine = Machine(state="synced")
    time = machine.keep()
    time.follow()
    machine.state, machine.boottime_s = "unsynced", machine.boottime_s + 600
    time.follow()
    assert time.stamp().clock == "relative"
    machine.error_s = 3600.0  # somebody sets the system's clock by hand
    assert time.follow() == []
    assert time.utc_s() == machine.true_utc_s


@pytest.mark.parametrize("step_s", [-3600.0, -400 * DAY_S])
def test_a_source_that_goes_back_behind_what_is_signed_is_refused_and_told_once(
    step_s: float,
) -> None:
    machine = Machine(state="synced")
    time = machine.keep()
    time.follow()
    machine.error_s = step_s
    told = []
    for _ in range(100):
        machine.boottime_s += 1
        told += time.follow()
    assert [event for event, _ in told] == ["clock_refused"]
    assert time.utc_s() == machine.true_utc_s
    assert time.stamp().clock == "relative"


def test_a_date_before_the_last_sure_row_is_refused_after_a_restart_too() -> None:
    machine = Machine(state="synced", error_s=-2 * DAY_S)
    time = machine.keep(last_sure_utc_s=NOON - 86_400, last_utc_s=NOON - 86_400)
    assert time.stamp().clock == "unknown"
    assert [event for event, _ in time.follow()] == ["clock_refused"]
    assert time.utc_s() == NOON - 86_400


@pytest.mark.parametrize("step_s", [1.5, 3600.0, 400 * DAY_S])
def test_a_step_forward_is_taken_with_an_anchor_that_tells_its_size(step_s: float) -> None:
    machine = Machine(state="synced")
    time = machine.keep()
    time.follow()
    machine.error_s = step_s
    ((event, detail),) = time.follow()
    assert event == "anchor"
    assert detail["stepped_ms"] == round(1000 * step_s)
    assert time.utc_s() == machine.true_utc_s + step_s


def test_a_clock_that_is_steered_makes_no_row() -> None:
    machine = Machine(state="synced")
    time = machine.keep()
    time.follow()
    for _ in range(600):  # 500 ppm, the most that adjtimex slews
        machine.boottime_s += 1
        machine.error_s += 500e-6
        assert time.follow() == []
    assert time.utc_s() == pytest.approx(machine.true_utc_s + 0.3)


def test_the_server_gives_the_date_to_a_machine_without_a_source() -> None:
    machine = Machine(error_s=-40 * DAY_S)
    time = machine.keep()
    machine.said = ServerTime(machine.true_utc_s, machine.boottime_s, 0.5)
    machine.boottime_s += 10
    ((event, detail),) = time.follow()
    assert (event, detail["source"], detail["uncertainty_ms"]) == ("anchor", "server", 500)
    assert time.utc_s() == machine.true_utc_s
    assert time.stamp().clock == "relative"
    assert time.follow() == []  # the same word is not news


def test_a_server_that_says_1970_is_refused() -> None:
    machine = Machine()
    time = machine.keep()
    machine.said = ServerTime(0.0, machine.boottime_s, 0.5)
    assert [event for event, _ in time.follow()] == ["clock_refused"]
    assert time.utc_s() == machine.true_utc_s


def test_the_kernel_says_one_of_three_things() -> None:
    assert kernel_state() in ("synced", "unsynced", "unknown")
