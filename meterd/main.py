"""The program meterd: the real parts around :func:`meterd.daemon.run`; owns clock and signals."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

import meterd_journal
from meterd import command_link, config, daemon, realtime, startup, store, wiring
from meterd.acquire import Acquisition
from meterd.calibration import history
from meterd.command_link import LastBlock
from meterd.config import Config
from meterd.control.controller import Controller
from meterd.daemon import Counted, Meter
from meterd.errors import HardwareError, StoreDamagedError, StoreError
from meterd.model import Calibration, Quantities, Screen
from meterd.panel import Panel
from meterd.record.keys import key_folder, load_or_create
from meterd.recorder import SAID_CHARACTERS_MAX, Recorder
from meterd.startup import Start
from meterd.store import Store
from meterd.supervision import Supervision
from meterd.timekeeping import Clocks, ServerTime, Timekeeper, kernel_state

log = logging.getLogger(__name__)

STOP_S = 5.0


def main(configuration: Path, on_screen: Callable[[Screen], None] | None = None) -> None:
    """Run the meter of a configuration until SIGTERM or SIGINT; ``on_screen`` sees the display.

    Raises:
        ConfigError, HardwareError, KeyUnusableError, StoreError: with a sentence for whoever
            starts it.
    """
    supervision = Supervision(os.environ, time.monotonic_ns)
    chosen = config.load(configuration)
    meterd_journal.always(METER=chosen.meter.serial)
    place = config.calibration_path(configuration)
    calibrations = _calibrations(chosen, place)
    with ExitStack() as opened:
        converter = wiring.open_converter(chosen)
        opened.callback(converter.close)
        chosen.meter.state_dir.mkdir(parents=True, exist_ok=True)
        keys = load_or_create(key_folder(chosen.meter.state_dir, place.parent, os.environ))
        kept = startup.open_record(chosen, now_utc_s=int(converter.utc_s()))
        opened.callback(store.close, kept.store)
        timekeeper = _keep_time(chosen, converter, kept.store)
        recorder = startup.new_recorder(
            kept, chosen, keys[-1], timekeeper, partial(acknowledged_seq, chosen, kept.store.stream)
        )
        start = Start(chosen, calibrations, history.read(place).changes)
        startup.record_start(kept, recorder, keys, start, store.read_boot_id())
        recorder.tidy()
        panel = _panel(chosen, kept.store, converter, timekeeper, keys[-1].public.fingerprint)
        opened.callback(panel.stop, STOP_S)
        panel.start(on_screen)
        last = LastBlock()
        controller = command_link.connect(
            command_link.Around(chosen, converter, recorder, timekeeper, panel, last), opened
        )
        read = wiring.block_reader(converter, chosen)
        acquisition = Acquisition(read if chosen.simulation else realtime.preferred(read))
        _stop_on_signals(acquisition, supervision)
        acquisition.start()
        log.info("meter %s measures; stream %s", kept.store.meter, kept.store.stream)
        front = Front(panel, controller, recorder, supervision)
        meter = _meter(controller.config, calibrations, recorder, timekeeper, converter, front)
        with _faults_told(meter):
            daemon.run(meter, last.watched(acquisition))
            stop(meter)


class Front:
    """What follows each window: the display, the word that the loop went round, the server's."""

    def __init__(
        self, panel: Panel, controller: Controller, recorder: Recorder, supervision: Supervision
    ) -> None:
        self._panel, self._recorder, self._supervision = panel, recorder, supervision
        self.controller = controller
        self._display_fault: str | None = None

    def show(self, window: Quantities | None, counted: Counted) -> None:
        """Put the window on the display, and tell systemd that the loop goes on."""
        alarms = (*self.controller.alarms, *["disk"] * self._recorder.full)
        self._panel.follow(self.controller.config, self.controller.messages, alarms, counted.demand)
        self._panel.show(window, counted.registers)
        self._tell_display()
        self._supervision.measured()

    def _tell_display(self) -> None:
        """A display that fails, and works again, is in the record."""
        fault = self._panel.failing
        if (fault is None) == (self._display_fault is None):
            return
        self._display_fault = fault
        if fault is None:
            self._recorder.tell("fault_over", {"part": "display"})
        else:
            said = {"part": "display", "said": fault[:SAID_CHARACTERS_MAX]}
            self._recorder.tell("fault", said)


def stop(meter: Meter) -> None:
    """The last rows: that the meter was asked to stop, and the signature of all before."""
    registers = store.load_registers(meter.recorder.store)
    meter.recorder.tell("stop", {"import_j": registers.import_j, "export_j": registers.export_j})
    meter.recorder.tidy()


def acknowledged_seq(chosen: Config, stream: str) -> int:
    """Up to which row the server holds this stream, as the synchronisation was last told."""
    try:
        sync = store.read_sync_status(chosen.meter.sync_path, stream)
    except StoreError as error:
        log.warning("%s: no row counts as acknowledged meanwhile", error)
        return 0
    return sync.hwm if sync is not None and sync.stream == stream else 0


def _calibrations(chosen: Config, place: Path) -> tuple[Calibration, ...]:
    return tuple(config.load_calibration(place, circuit.role) for circuit in chosen.in_order)


def _meter(
    chosen: Config,
    calibrations: tuple[Calibration, ...],
    recorder: Recorder,
    timekeeper: Timekeeper,
    converter: wiring.Converter,
    front: Front,
) -> Meter:
    return Meter(
        config=chosen,
        calibrations=calibrations,
        recorder=recorder,
        time=timekeeper,
        clock_ns=converter.clock_ns,
        show=front.show,
        control=front.controller.step,
    )


def _panel(
    chosen: Config,
    kept: Store,
    converter: wiring.Converter,
    timekeeper: Timekeeper,
    fingerprint: str,
) -> Panel:
    return Panel(
        chosen,
        kept.stream,
        converter.clock_ns,
        timekeeper.utc_s,
        lambda: timekeeper.stamp().clock,
        lambda: store.next_seq(kept) - 1,
        fingerprint,
    )


def _keep_time(chosen: Config, converter: wiring.Converter, kept: Store) -> Timekeeper:
    boot_id = store.read_boot_id()
    clocks = Clocks(
        converter.boottime_s,
        converter.utc_s,
        kernel_state,
        partial(_server_time, chosen, boot_id),
    )
    return startup.keep_time(kept, clocks, startup.boot_number(kept, boot_id))


def _server_time(chosen: Config, boot_id: str) -> ServerTime | None:
    """What the server last said, if it was since this start of the machine."""
    try:
        downlink = store.read_downlink(chosen.meter.sync_path)
    except StoreError:
        return None  # meterctl status tells of it; the date is not the place
    if downlink is None or downlink.time is None or downlink.time.boot_id != boot_id:
        return None
    told = downlink.time
    # The server's whole second was cut, and its word was under way for a round trip at most.
    uncertainty_s = 0.5 + told.round_trip_ns / 2e9
    return ServerTime(told.server_utc_s + 0.5, told.boottime_ns / 1e9, uncertainty_s)


@contextmanager
def _faults_told(meter: Meter) -> Iterator[None]:
    """What ends the meter is in its record, if the record can still be written."""
    try:
        yield
    except HardwareError as error:
        meter.recorder.tell("fault", {"part": "adc", "said": str(error)[:SAID_CHARACTERS_MAX]})
        raise
    except StoreDamagedError:
        # Looked at as a whole at the next start.
        store.suspect(meter.recorder.store.path).touch()
        raise


def _stop_on_signals(acquisition: Acquisition, supervision: Supervision) -> None:
    def stop(number: int, _frame: FrameType | None) -> None:
        supervision.notifier.stopping()
        log.info("stopping on %s", signal.Signals(number).name)
        acquisition.request_stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
