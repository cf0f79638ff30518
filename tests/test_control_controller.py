"""The server's word in the meter's loop: recorded first, done once, answered always."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory

from meterd.config import Config
from meterd.control.contact import at_start
from meterd.control.controller import Controller, World
from meterd.control.recorded import Recalled, recall
from meterd.control.relay import open_relay
from meterd.database.downlink import Downlink, ServerTime, SignedCommand, SignedSettings
from meterd.errors import HardwareError, StoreError
from meterd.record.signing import PublicKey
from tests import signed_texts
from tests.signed_texts import NOW_UTC_S, SERVER
from tests.test_control_relay import DEAD, with_relay
from tests.windows import window

ONE, TWO, THREE = ("0" * 31 + digit for digit in "123")


@dataclass
class Site:
    """A meter's controller with all around it in memory."""

    config: Config = field(default_factory=lambda: with_relay(DEAD))
    key: PublicKey | None = SERVER.public
    events: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    commands: list[SignedCommand] = field(default_factory=list)
    settings: SignedSettings | None = None
    time: ServerTime | None = None
    sure_utc_s: float | None = NOW_UTC_S
    now_s: float = 50.0
    tests_run: int = 0
    disk_error: str = ""
    database_error: str = ""
    refuse_state: str = ""
    factory: Any = field(default_factory=MockFactory)

    def start(self) -> None:
        """A start of the program: it knows what is recorded, and nothing else."""
        recalled = recall(self.events)
        self.factory.reset()
        relay = None
        if self.config.relay is not None:
            connected = at_start(self.config.relay, recalled.connected)
            relay = open_relay(self.config.relay, connected=connected, factory=self.factory)
        self.world = World(
            record=self.record,
            read_downlink=self.read,
            self_test=self.self_test,
            sure_utc_s=lambda: self.sure_utc_s,
            clock_ns=lambda: int(self.now_s * 1e9),
            boottime_ns=lambda: int(self.now_s * 1e9),
            boot_id="this",
        )
        self.controller = Controller(self.config, self.key, relay, recalled, self.world)

    def record(self, event: str, detail: Mapping[str, Any]) -> None:
        if self.disk_error or detail.get("state", "setting") == self.refuse_state:
            raise StoreError(self.disk_error or "full")
        self.events.append((event, dict(detail)))

    def read(self) -> Downlink | None:
        if self.database_error:
            raise StoreError(self.database_error)
        return Downlink({}, self.settings, tuple(self.commands), self.time, {})

    def self_test(self) -> dict[str, object]:
        self.tests_run += 1
        return {"fine": True}

    def run(self, seconds: float = 12.0) -> None:
        for _ in range(round(5 * seconds)):
            self.now_s += 0.2
            self.controller.step(window(others=(window(),)))

    @property
    def states(self) -> list[tuple[str, str]]:
        return [
            (detail["id"][-1], detail["state"])
            for event, detail in self.events
            if event == "command"
        ]

    def is_closed(self) -> bool:
        return not self.factory.pin(17).state


@pytest.fixture
def site() -> Site:
    made = Site()
    made.start()
    return made


def test_a_command_is_recorded_done_and_recorded_again(site: Site) -> None:
    site.commands = [signed_texts.command("self_test")]
    site.run()
    first, second = (detail for _, detail in site.events)
    assert first == {"id": ONE, "command": "self_test", "state": "accepted", "result": None}
    assert second == {
        "id": ONE,
        "command": "self_test",
        "state": "done",
        "result": {"fine": True},
    }


def test_the_same_command_again_and_again_and_after_a_restart_is_done_once(site: Site) -> None:
    site.commands = [signed_texts.command("self_test")]
    site.run(100.0)
    site.start()
    site.run(100.0)
    assert site.tests_run == 1
    assert site.states == [("1", "accepted"), ("1", "done")]


def test_a_power_cut_in_the_middle_is_told_and_not_tried_again(site: Site) -> None:
    site.commands = [signed_texts.command("self_test")]
    site.refuse_state = "done"  # the cut comes before the result is on the disk
    site.run()
    site.refuse_state = ""
    site.start()
    site.run()
    assert site.tests_run == 1
    assert site.states == [("1", "accepted"), ("1", "interrupted")]


def test_a_result_that_the_disk_refused_is_recorded_when_it_takes_it(site: Site) -> None:
    site.commands = [signed_texts.command("self_test")]
    site.refuse_state = "done"
    site.run()
    site.refuse_state = ""
    site.run()
    assert site.tests_run == 1
    assert site.states == [("1", "accepted"), ("1", "done")]


def test_what_cannot_be_recorded_is_not_done_until_it_can(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.commands = [signed_texts.command("disconnect")]
    site.disk_error = "the disk is full"
    site.run(60.0)
    assert site.is_closed()
    assert caplog.text.count("the disk is full") == 1
    site.disk_error = ""
    site.run()
    assert not site.is_closed()
    assert site.states == [("1", "accepted"), ("1", "done")]


def test_a_disconnect_stays_through_a_restart_until_a_reconnect(site: Site) -> None:
    site.commands = [signed_texts.command("disconnect")]
    site.run()
    assert not site.is_closed()
    site.start()
    assert not site.is_closed()
    site.run(200.0)
    assert not site.is_closed()
    site.commands.append(signed_texts.command("reconnect", id=TWO))
    site.run(50.0)
    assert not site.is_closed()
    site.run(30.0)
    assert site.is_closed()
    assert site.states[2:] == [("2", "accepted"), ("2", "done")]
    site.start()
    assert site.is_closed()


def test_a_disconnect_that_a_power_cut_interrupted_counts_as_done(site: Site) -> None:
    site.commands = [signed_texts.command("disconnect")]
    site.refuse_state = "done"
    site.run()
    site.refuse_state = ""
    for _ in range(2):
        site.start()
        assert not site.is_closed()
    assert site.states == [("1", "accepted"), ("1", "interrupted")]


def test_two_commands_are_done_in_their_order(site: Site) -> None:
    site.commands = [
        signed_texts.command("reconnect"),
        signed_texts.command("disconnect", id=TWO),
    ]
    site.run()
    assert [state for state in site.states if state[1] == "done"] == [("1", "done"), ("2", "done")]
    assert not site.is_closed()


def test_expired_and_refused_commands_are_answered_alone(site: Site) -> None:
    site.commands = [
        signed_texts.command("disconnect", expires_utc_s=NOW_UTC_S - 1),
        signed_texts.command("explode", id=TWO),
    ]
    site.run()
    assert site.states == [("1", "expired"), ("2", "refused")]
    assert site.is_closed()


def test_without_a_clock_of_its_own_the_servers_time_decides(site: Site) -> None:
    site.sure_utc_s = None
    site.commands = [signed_texts.command("disconnect", expires_utc_s=NOW_UTC_S + 5)]
    site.run()
    assert site.states == []
    site.time = ServerTime(NOW_UTC_S, int(site.now_s * 1e9), 0, "another start")
    site.run()
    assert site.states == []
    site.time = ServerTime(NOW_UTC_S, int((site.now_s - 10.0) * 1e9), 0, "this")
    site.run()
    assert site.states == [("1", "expired")]


def test_what_the_server_has_not_signed_is_logged_once_and_leaves_no_row(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.commands = [
        signed_texts.command("disconnect", key=signed_texts.STRANGER),
        signed_texts.command("disconnect", id=TWO, meter="MX-000002"),
    ]
    site.run(60.0)
    assert site.events == []
    assert site.is_closed()
    assert caplog.text.count("ignored") == 2
    site.commands = [signed_texts.command("disconnect")]  # the true one has the same id
    site.run()
    assert not site.is_closed()


def test_without_the_servers_key_nothing_is_believed(caplog: pytest.LogCaptureFixture) -> None:
    site = Site(key=None, commands=[signed_texts.command("disconnect")])
    site.settings = signed_texts.settings(1, {"interval_s": 900})
    site.start()
    site.run()
    assert (site.events, site.is_closed()) == ([], True)
    assert "claim it again" in caplog.text
    assert site.controller.config is site.config


def test_a_message_is_shown_for_its_minutes(site: Site) -> None:
    arguments = {"text": "Hola", "minutes": 2}
    site.commands = [signed_texts.command("message", arguments=arguments)]
    site.run(10.0)
    assert [message.text for message in site.controller.messages] == ["Hola"]
    site.run(100.0)
    assert site.controller.messages
    site.run(20.0)
    assert not site.controller.messages


def test_settings_come_into_effect_once_and_stay_through_a_restart(site: Site) -> None:
    site.settings = signed_texts.settings(3, {"interval_s": 900, "tariff_text": "1C"})
    site.run(60.0)
    assert site.controller.config.meter.interval_s == 900
    assert site.events == [
        (
            "setting",
            {
                "version": 3,
                "key": SERVER.public.fingerprint,
                "old": {},
                "new": {"interval_s": 900, "tariff_text": "1C"},
            },
        )
    ]
    site.settings = None  # meterd-sync's database was lost
    site.start()
    assert site.controller.config.meter.interval_s == 900
    assert site.controller.config.display.tariff_text == "1C"


@pytest.mark.parametrize("version", [1, 2, 3])
def test_settings_that_are_not_newer_are_ignored(site: Site, version: int) -> None:
    site.settings = signed_texts.settings(3, {"interval_s": 900})
    site.run()
    site.settings = signed_texts.settings(version, {"interval_s": 5})
    site.run()
    assert site.controller.config.meter.interval_s == 900
    assert len(site.events) == 1


def test_settings_that_cannot_be_are_refused_once_and_change_nothing(site: Site) -> None:
    site.settings = signed_texts.settings(3, {"interval_s": 900})
    site.run()
    site.settings = signed_texts.settings(4, {"interval_s": 7})
    site.run()
    site.start()
    site.run()
    assert [detail.get("refused", "")[:20] for _, detail in site.events][1:] == [
        "the setting interval"
    ]
    assert site.controller.config.meter.interval_s == 900


def test_settings_that_cannot_be_recorded_do_not_come_into_effect(site: Site) -> None:
    site.settings = signed_texts.settings(3, {"interval_s": 900})
    site.disk_error = "full"
    site.run()
    assert site.controller.config is site.config
    site.disk_error = ""
    site.run()
    assert site.controller.config.meter.interval_s == 900


def test_another_server_counts_its_versions_anew(site: Site) -> None:
    site.settings = signed_texts.settings(9, {"interval_s": 900})
    site.run()
    site.key = signed_texts.STRANGER.public
    site.settings = signed_texts.settings(1, {"interval_s": 300}, key=signed_texts.STRANGER)
    site.start()
    assert site.controller.config == site.config
    site.run()
    assert site.controller.config.meter.interval_s == 300


def test_a_database_that_cannot_be_read_is_told_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.database_error = "it is damaged"
    site.run(60.0)
    assert caplog.text.count("it is damaged") == 1
    site.database_error = ""
    site.commands = [signed_texts.command()]
    site.run()
    assert site.tests_run == 1


def test_a_relay_that_fails_is_a_failed_command_and_metering_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        calls = 0

        def set_connected(self, connected: bool, /) -> None:
            self.calls += 1
            if self.calls > 1:
                raise HardwareError("the pin is gone")

    site = Site()
    site.start()
    site.controller = Controller(site.config, site.key, Broken(), Recalled(), site.world)
    site.commands = [signed_texts.command("disconnect")]
    with caplog.at_level(logging.ERROR):
        site.run()
    assert [detail["result"] for _, detail in site.events] == [None, "the pin is gone"]
    assert site.states[-1] == ("1", "failed")
    assert site.controller.alarms == ("relay",)
