"""The whole meter on the real drivers: from the pins of the ADC to the glass of the display."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from meterd.simulate.frontend import FrontEnd, Wiring
from meterd.simulate.mains import parse, synthetic
from meterd.simulate.mcp3008 import Mcp3008

from .board import VREF_V, Board
from .kernel import PublishedClock

CONFIGURATION = """
[meter]
serial = "MX-000001"
state_dir = "state"
interval_s = 5
[[circuit]]
voltage_channel = 0
current_channel = 1
[display]
page_s = 60
"""
START_NS = 1_000_000_000_000
MEASURED_S = 12

# daemon.run with the parts that meterd.main gives it, but dated by the board's own clock and
# without the thread that acquires: no block is lost on a busy test machine.
RUN = """
import json, mmap, sys, threading
from dataclasses import asdict
from pathlib import Path
from meterd import acquire, config, daemon, panel, startup, store, wiring
from meterd.record.keys import load_or_create
from meterd.timekeeping import Clocks

folder, measured_s = Path(sys.argv[1]), float(sys.argv[2])
with (folder / "clock").open("rb") as file:
    published = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
clock_ns = lambda: int.from_bytes(published[:], sys.byteorder)
utc_s = lambda: 1.7e9 + clock_ns() / 1e9
chosen = config.load(folder / "meter.toml")
adc = acquire.open_spidev(0, 0, 1_350_000)
boottime_s = lambda: clock_ns() / 1e9
converter = wiring.Converter(adc, clock_ns, utc_s, boottime_s, adc.batch_size, adc.close)
chosen.meter.state_dir.mkdir()
kept = startup.open_record(chosen, now_utc_s=int(utc_s()))
record = kept.store
keys = load_or_create(chosen.meter.state_dir / "keys")
clocks = Clocks(lambda: clock_ns() / 1e9, utc_s, lambda: "synced")
time = startup.keep_time(record, clocks, 1, built_utc_s=0)
recorder = startup.new_recorder(kept, chosen, keys[-1], time, lambda: 0)
shown = panel.Panel(chosen, record.stream, clock_ns, utc_s, lambda: "synced", lambda: 0)
shown.start()
read = wiring.block_reader(converter, chosen)
began_ns = clock_ns()
end_ns = began_ns + measured_s * 1e9
blocks = iter(lambda: read() if clock_ns() < end_ns else None, None)
calibration = config.load_calibration(folder / "calibration.toml")
meter = daemon.Meter(
    config=chosen, calibrations=(calibration,), recorder=recorder, time=time,
    clock_ns=clock_ns,
    show=lambda window, counted: shown.show(window, counted.registers),
)
daemon.run(meter, blocks)
read_s = (clock_ns() - began_ns) / 1e9  # the last block is read whole
ended = shown.stop(10)
registers = store.load_registers(record)
store.close(record)
converter.close()
print(json.dumps([registers.import_j, registers.export_j, not ended, read_s]))
"""


@pytest.fixture
def folder(board: Board, tmp_path: Path) -> Iterator[Path]:
    """A socket with 127 V and a load of 4.2 A, power factor 0.9, that has fed 480.06 W back."""
    mains = synthetic(parse("voltage=127 current=4.2 pf=0.9 export"))
    board.spi.chip = Mcp3008(Wiring(mains, FrontEnd(), (0, 1)), vref_v=VREF_V, rng=None)
    board.spi.bufsiz = 65536
    (tmp_path / "meter.toml").write_text(CONFIGURATION)
    clock = PublishedClock(tmp_path / "clock", START_NS)
    board.spi.clock = clock
    yield tmp_path
    clock.close()


def test_what_hangs_on_the_socket_is_counted_and_read_from_the_glass(
    board: Board, folder: Path
) -> None:
    child = board.run([board.python, "-c", RUN, str(folder), str(MEASURED_S)])
    assert child.returncode == 0, child.stderr
    import_j, export_j, still_alive, read_s = json.loads(child.stdout)
    # 127 V · 4.2 A · 0.9 = 480.06 W; ten bits allow 0.5 % and finding the mains costs moments.
    assert (import_j, still_alive) == (0, False)
    assert export_j == pytest.approx(480.06 * read_s, rel=0.01)
    direction, power, _, exported = board.display.text()
    assert direction == "Casa → red      "
    watts = re.fullmatch(r"P +(\d+\.\d) W", power)
    assert watts is not None
    assert float(watts[1]) == pytest.approx(480.06, rel=0.005)
    assert exported == "Sal     0.00 kWh"  # 5.8 kJ are not yet 0.01 kWh
    assert max(board.spi.message_sizes) == 510
    assert not board.spi.selected


def test_a_meter_without_its_display_counts_the_same_and_says_so_once(
    board: Board, folder: Path
) -> None:
    board.bus.unplug()
    child = board.run([board.python, "-c", RUN, str(folder), str(MEASURED_S)])
    assert child.returncode == 0, child.stderr
    _, export_j, _, read_s = json.loads(child.stdout)
    assert export_j == pytest.approx(480.06 * read_s, rel=0.01)
    assert child.stderr.count("the display at 0x27 on /dev/i2c-1 does not answer") == 1


CHECK = "import sys\nfrom meterd.cli import meterctl\nmeterctl(sys.argv[1:])\n"


def check(board: Board, folder: Path) -> tuple[int, dict[str, tuple[bool, str]]]:
    """What ``meterctl check --json`` exits with and finds."""
    path = str(folder / "meter.toml")
    child = board.run([board.python, "-c", CHECK, "check", "--json", "--config", path])
    assert child.stdout, child.stderr
    found = {
        finding["what"]: (finding["ok"], finding["said"]) for finding in json.loads(child.stdout)
    }
    return child.returncode, found


def test_meterctl_check_finds_both_devices_and_writes_the_serial_on_the_glass(
    board: Board, folder: Path
) -> None:
    returncode, found = check(board, folder)
    assert (returncode, found["ADC"][0], found["display"][0]) == (0, True, True)
    assert board.display.text()[0] == "MX-000001       "


def test_meterctl_check_names_the_device_that_is_absent(board: Board, folder: Path) -> None:
    board.missing.add("/dev/spidev0.0")
    board.bus.unplug()
    returncode, found = check(board, folder)
    assert returncode == 1
    assert not found["ADC"][0]
    assert "/dev/spidev0.0" in found["ADC"][1]
    assert not found["display"][0]
    assert "errno 121" in found["display"][1]
