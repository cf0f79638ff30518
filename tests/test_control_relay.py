"""The contact: the pin that moves it, and the voltages that let it close."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory

from meterd import config
from meterd.config import Config, Relay
from meterd.control.contact import Contact, Outcome, at_start
from meterd.control.relay import open_relay
from meterd.errors import ConfigError, HardwareError
from meterd.model import Missed, Quantities
from tests.windows import behind, window

MEASURED = Relay(pin=17, at_rest="disconnected", allow_remote=True, load_circuit="load")
DEAD = Relay(pin=17, at_rest="connected", allow_remote=True, dead_load=True)


def with_relay(relay: Relay | None) -> Config:
    return Config(
        meter=config.Meter(serial="MX-000001"),
        circuits=(
            config.Circuit(voltage_channel=0, current_channel=1),
            config.Circuit(voltage_channel=2, current_channel=3, role="load"),
        ),
        relay=relay,
    )


@pytest.fixture
def factory() -> Iterator[Any]:
    pins = MockFactory()
    yield pins
    pins.reset()


@pytest.mark.parametrize("active_high", [True, False])
@pytest.mark.parametrize("at_rest", ["connected", "disconnected"])
def test_the_pin_gives_the_coil_power_only_to_leave_the_state_at_rest(
    factory: Any, active_high: bool, at_rest: str
) -> None:
    chosen = Relay(pin=17, at_rest=at_rest, active_high=active_high)  # type: ignore[arg-type]
    resting = at_rest == "connected"
    relay = open_relay(chosen, connected=resting, factory=factory)
    pin = factory.pin(17)
    assert pin.function == "output"
    assert bool(pin.state) is not active_high  # no power in the coil
    relay.set_connected(not resting)
    assert bool(pin.state) is active_high
    relay.set_connected(resting)
    assert bool(pin.state) is not active_high
    relay.close()


def test_a_pin_is_opened_in_its_state_without_a_moment_in_another(factory: Any) -> None:
    pin = factory.pin(17)
    pin.clear_states()
    relay = open_relay(DEAD, connected=False, factory=factory)
    assert [bool(moment.state) for moment in pin.states][-1:] == [True]
    assert len(pin.states) <= 2  # the mock's own low level before the pin was an output
    relay.close()


def test_a_pin_that_another_program_has_is_an_error_with_advice(factory: Any) -> None:
    first = open_relay(DEAD, connected=True, factory=factory)
    with pytest.raises(HardwareError, match=r"GPIO17 .* group gpio"):
        open_relay(DEAD, connected=True, factory=factory)
    first.close()


@dataclass
class Bench:
    """A contact on a mock pin, and a clock that the test moves."""

    chosen: Config
    factory: Any
    connected: bool = True
    now_s: float = 1000.0

    def __post_init__(self) -> None:
        assert self.chosen.relay is not None
        relay = open_relay(
            self.chosen.relay,
            connected=at_start(self.chosen.relay, self.connected),
            factory=self.factory,
        )
        self.contact = Contact(self.chosen, relay, self.connected, lambda: int(self.now_s * 1e9))

    def pass_s(self, seconds: float, seen: Quantities | Missed) -> list[Outcome]:
        """So many windows of 0.2 s that look alike."""
        ended = []
        for _ in range(round(5 * seconds)):
            self.now_s += 0.2
            ended += self.contact.step(seen)
        return ended

    def is_closed(self) -> bool:
        assert self.chosen.relay is not None
        powered = bool(self.factory.pin(17).state) is self.chosen.relay.active_high
        return powered != (self.chosen.relay.at_rest == "connected")


def test_a_disconnect_opens_at_once(factory: Any) -> None:
    bench = Bench(with_relay(DEAD), factory)
    assert bench.is_closed()
    assert bench.contact.disconnect("d") == [Outcome("d", "disconnect", "done")]
    assert not bench.is_closed()


def test_a_reconnect_closes_once_after_its_delay_and_five_windows_in_step(factory: Any) -> None:
    bench = Bench(with_relay(MEASURED), factory, connected=False)
    assert bench.contact.reconnect("r") == []
    assert bench.pass_s(59.8, behind(angle_deg=5.0)) == []
    assert bench.pass_s(0.8, behind(angle_deg=5.0)) == []
    assert not bench.is_closed()
    ended = bench.pass_s(20.0, behind(angle_deg=5.0))
    assert ended == [Outcome("r", "reconnect", "done")]
    assert bench.is_closed()


@pytest.mark.parametrize(
    ("seen", "because"),
    [
        (behind(angle_deg=25.0), "Δφ"),
        (behind(angle_deg=180.0), "Δφ"),
        (behind(frequency_hz=60.4), "Δf"),
        (behind(voltage_v=141.0), "ΔV"),
        (behind(voltage_v=13.0), "ΔV"),  # more than a tenth is not dead
        (behind(voltage_v=60.0, frequency_hz=None), "no voltage"),
        (window(0.5, None, others=(window(0.5, None),)), "network has no voltage"),
        (window(0.5, None, others=(window(127.0, 60.0),)), "network has no voltage"),
        (Missed(0, 0.2, "preempted"), "preempted"),
    ],
)
def test_out_of_step_it_stays_open_and_gives_up_after_ten_minutes(
    factory: Any, seen: Quantities | Missed, because: str
) -> None:
    bench = Bench(with_relay(MEASURED), factory, connected=False)
    bench.contact.reconnect("r")
    assert bench.pass_s(659.0, seen) == []
    (ended,) = bench.pass_s(2.0, seen)
    assert (ended.id, ended.state) == ("r", "failed")
    assert because in str(ended.result)
    assert not bench.is_closed()
    assert bench.pass_s(100.0, behind()) == []
    assert not bench.is_closed()


def test_a_dead_house_may_be_connected(factory: Any) -> None:
    bench = Bench(with_relay(MEASURED), factory, connected=False)
    bench.contact.reconnect("r")
    ended = bench.pass_s(62.0, behind(voltage_v=12.6, frequency_hz=None))
    assert [outcome.state for outcome in ended] == ["done"]


def test_one_window_out_of_step_begins_the_count_anew(factory: Any) -> None:
    bench = Bench(with_relay(MEASURED), factory, connected=False)
    bench.contact.reconnect("r")
    bench.pass_s(60.0, Missed(0, 0.2, "late"))
    for _ in range(20):
        assert bench.pass_s(0.8, behind()) == []
        assert bench.pass_s(0.2, behind(angle_deg=25.0)) == []
    assert not bench.is_closed()


def test_the_owners_own_limits_are_the_ones_that_hold(factory: Any) -> None:
    strict = Relay(
        pin=17, at_rest="disconnected", allow_remote=True, load_circuit="load", phase_deg_max=4.0
    )
    bench = Bench(with_relay(strict), factory, connected=False)
    bench.contact.reconnect("r")
    assert bench.pass_s(100.0, behind(angle_deg=5.0)) == []
    assert not bench.is_closed()


def test_a_disconnect_overtakes_a_reconnection(factory: Any) -> None:
    bench = Bench(with_relay(MEASURED), factory, connected=False)
    bench.contact.reconnect("r")
    bench.pass_s(30.0, behind())
    ended = bench.contact.disconnect("d")
    assert [(outcome.id, outcome.state) for outcome in ended] == [("r", "failed"), ("d", "done")]
    assert bench.pass_s(100.0, behind()) == []
    assert not bench.is_closed()


def test_a_contact_that_is_open_at_rest_closes_after_a_start_only_in_step(factory: Any) -> None:
    bench = Bench(with_relay(MEASURED), factory, connected=True)
    assert not bench.is_closed()
    bench.pass_s(2000.0, behind(angle_deg=25.0))  # a start does not give up
    assert not bench.is_closed()
    assert bench.pass_s(1.0, behind()) == []
    assert bench.is_closed()


def test_nobody_closes_it_while_the_side_behind_is_neither_measured_nor_dead(factory: Any) -> None:
    blind = Relay(pin=17, at_rest="connected", allow_remote=True)
    bench = Bench(with_relay(blind), factory, connected=False)
    assert set(bench.contact.refusals()) == {"reconnect"}
    assert "load_circuit" in bench.contact.refusals()["reconnect"]


def test_without_the_owners_word_neither_command_is_done(factory: Any) -> None:
    bench = Bench(with_relay(Relay(pin=17, at_rest="connected", dead_load=True)), factory)
    assert set(bench.contact.refusals()) == {"disconnect", "reconnect"}
    without = Contact(with_relay(None), None, True, lambda: 0)
    assert set(without.refusals()) == {"disconnect", "reconnect"}


METER = '[meter]\nserial = "M"\n[[circuit]]\nvoltage_channel = 0\ncurrent_channel = 1\n'


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('at_rest = "connected"', "pin"),
        ("pin = 17", "at_rest"),
        ('pin = 8\nat_rest = "connected"', "pin = 8"),
        ('pin = 28\nat_rest = "connected"', "pin = 28"),
        ('pin = 17\nat_rest = "connected"\nload_circuit = "load"', "load_circuit"),
        ('pin = 17\nat_rest = "disconnected"', "dead_load"),
    ],
)
def test_a_relay_that_cannot_work_is_refused_by_its_key(
    tmp_path: Path, table: str, said: str
) -> None:
    path = tmp_path / "meterd.toml"
    path.write_text(f"{METER}[relay]\n{table}\n")
    with pytest.raises(ConfigError, match=said):
        config.load(path)


def test_a_relay_is_off_unless_the_file_has_the_table(tmp_path: Path) -> None:
    path = tmp_path / "meterd.toml"
    path.write_text(METER)
    assert config.load(path).relay is None
    path.write_text(f'{METER}[relay]\npin = 17\nat_rest = "connected"\n')
    relay = config.load(path).relay
    assert relay is not None
    assert not relay.allow_remote
