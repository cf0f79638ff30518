"""Memory of meterd and meterd-sync over a week, and how soon meterd measures.

    python bench/bench_memory.py [DAYS]

meterd: `daemon.run` with store and panel, on clocks that go as fast as the computer. Ten seconds go
through converter, alignment and FFT; their windows are then repeated, 0.2 s each, for as many days
as asked. So the mathematics of samples runs for seconds and all that keeps something, registers,
intervals, events, database, display, for the whole time. meterd-sync: one run a minute for the same
time, each sending the reading of its minute to a server that keeps everything; the database's
writer is in the same process. The programs' own start is timed as systemd sees it, to READY=1.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from meterd.model import Missed, Quantities
from meterd.uplink.exchange import Answer

EXAMPLE = Path(__file__).parents[1] / "tests" / "wire" / "readings.ndjson"
DAY_S = 86_400
DAYS_QUICK = 0.1
"""For `make bench`; a week takes a quarter of an hour."""
REAL_S = 10
STARTS = 5
SETTLE_S = 5.0
CONFIGURATION = """
[meter]
serial = "MX-000001"
state_dir = "{folder}/state"
[adc]
device = "simulated"
[display]
device = "simulated"
[[circuit]]
voltage_channel = 0
current_channel = 1
[simulation]
mains = "voltage=127 current=4.2 pf=0.9"
[sync]
server = "http://127.0.0.1:1"
"""


def resident_mib(pid: int | str = "self") -> float:
    """What a process has in memory now."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no VmRSS of {pid}")


def measure_week(folder: Path, days: float) -> None:
    """The meter's loop; prints its memory as it goes."""
    from meterd import calc, config, daemon, startup, store, wiring
    from meterd.panel import Panel
    from meterd.record.keys import load_or_create
    from meterd.timekeeping import Clocks

    chosen = config.load(folder / "meter.toml")
    chosen.meter.state_dir.mkdir(exist_ok=True)
    converter = wiring.open_converter(chosen, paced=False)
    read = wiring.block_reader(converter, chosen)
    began_ns, now = converter.clock_ns(), [converter.clock_ns()]
    began_utc_s = converter.utc_s()

    def clock_ns() -> int:
        return now[0]

    def utc_s() -> float:
        return began_utc_s + (now[0] - began_ns) / 1e9

    calc.stream = repeating(calc.stream, now, days)
    keys = load_or_create(chosen.meter.state_dir / "keys")
    kept = startup.open_record(chosen, now_utc_s=int(utc_s()))
    clocks = Clocks(lambda: clock_ns() / 1e9, utc_s, lambda: "synced")
    time = startup.keep_time(kept.store, clocks, 1)
    recorder = startup.new_recorder(kept, chosen, keys[-1], time, lambda: 0)
    panel = Panel(chosen, kept.store.stream, clock_ns, utc_s, lambda: "synced", lambda: 0)
    panel.start()
    calibrations = (config.load_calibration(config.calibration_path(folder / "meter.toml")),)
    startup.record_start(kept, recorder, keys, startup.Start(chosen, calibrations), "bench")
    meter = daemon.Meter(chosen, calibrations, recorder, time, clock_ns, panel.show)
    daemon.run(meter, iter(read, None))
    panel.stop(5)
    print(f"  at the end, {store.next_seq(kept.store) - 1:5d} rows      {resident_mib():6.1f} MiB")
    store.close(kept.store)


def repeating(
    real_stream: Callable[..., Iterator[Quantities | Missed]], now: list[int], days: float
) -> Callable[..., Iterator[Quantities | Missed]]:
    """``calc.stream`` for the first seconds, and then what it found, day after day."""

    def stream(*given: object, **named: object) -> Iterator[Quantities | Missed]:
        began_ns, seen = now[0], []
        for window in real_stream(*given, **named):
            now[0] = max(now[0], window.end_ns)
            if not isinstance(window, Missed):
                seen.append(window)
            yield window
            if window.end_ns - began_ns > REAL_S * 1e9:
                break
        print(f"  after {REAL_S} s of samples       {resident_mib():6.1f} MiB", flush=True)
        yield from repeated(seen, now, began_ns, days)

    return stream


def repeated(
    seen: list[Quantities], now: list[int], began_ns: int, days: float
) -> Iterator[Quantities]:
    """The windows again and again, each dated one window after the last."""
    step_ns = round(seen[-1].end_ns - seen[-2].end_ns)
    told_day = 0
    while now[0] - began_ns < days * DAY_S * 1e9:
        for window in seen:
            now[0] += step_ns
            yield replace(window, end_ns=now[0], half_cycles=None)
        day = int((now[0] - began_ns) / 1e9 // DAY_S)
        if day > told_day:
            told_day = day
            print(f"  after day {day:2d}                {resident_mib():6.1f} MiB", flush=True)


class MarkingServer:
    """Answers as docs/protocol.md says and keeps the mark alone: its memory is not the meter's."""

    def __init__(self) -> None:
        self.mark = 0

    def __call__(
        self, method: str, path: str, body: bytes | None = None, media_type: str | None = None
    ) -> Answer:
        seqs = [json.loads(line)["seq"] for line in (body or b"").splitlines()]
        self.mark = max([self.mark, *seqs])
        stream = path.partition("?")[0].rpartition("/")[2]
        said = {"schema": "1.0", "stream": stream, "epoch": "e", "hwm": self.mark}
        rows = [{"seq": seq, "result": "stored"} for seq in seqs]
        return Answer(200, json.dumps(said | {"server_utc_s": 1, "rows": rows}).encode())


def send_week(folder: Path, days: float) -> None:
    """The sender's runs, each with the reading of its minute."""
    from meterd import store, sync, wire
    from meterd.model import Registers

    example = wire.decode(EXAMPLE.read_bytes().splitlines()[0])
    kept = store.open_store(folder / "readings.db", meter=example.meter, now_utc_s=0)
    acknowledged = store.open_acknowledged(folder / "sync.db")
    server, runs = MarkingServer(), round(days * DAY_S / 60)
    for run in range(1, runs + 1):
        reading = replace(example, stream=kept.stream, seq=run, import_j=1000 * run, export_j=0)
        row = store.reading_row(wire.encode(reading), reading)
        store.append(kept, [row], store.Saved(Registers(1000 * run, 0), 60 * run))
        sync.attempt(kept.path, acknowledged, server, every_s=60.0)
        if server.mark != run:
            raise ValueError(f"reading {run} did not arrive")
        if run in (60, runs):
            print(f"  after {run:5d} runs            {resident_mib():6.1f} MiB", flush=True)


def time_starts(folder: Path) -> None:
    """From the command to the first window, of the real program."""
    program = [
        str(Path(sys.executable).with_name("meterd")),
        "--config",
        str(folder / "meter.toml"),
    ]
    for attempt in range(STARTS):
        address = folder / f"notify-{attempt}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(address))
            manager.settimeout(60)
            began_s = time.monotonic()
            environment = {**os.environ, "NOTIFY_SOCKET": str(address)}
            meter = subprocess.Popen(program, env=environment, stderr=subprocess.DEVNULL)
            manager.recv(100)
            took_s = time.monotonic() - began_s
            time.sleep(SETTLE_S)
            print(f"  first window after {took_s:.2f} s, then {resident_mib(meter.pid):.1f} MiB")
            meter.send_signal(signal.SIGTERM)
            meter.wait()


def main(days: float) -> None:
    """Each part in a process of its own, on a file system in memory where there is one."""
    memory = Path("/dev/shm")
    for part in ("start", "meterd", "meterd-sync"):
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
            Path(folder, "meter.toml").write_text(CONFIGURATION.format(folder=folder))
            print(part if part == "start" else f"{part}, {days:g} days")
            began_s = time.monotonic()
            subprocess.run([sys.executable, __file__, part, folder, str(days)], check=True)
            print(f"  took {time.monotonic() - began_s:.0f} s")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        parts = {
            "start": lambda folder, days: time_starts(folder),
            "meterd": measure_week,
            "meterd-sync": send_week,
        }
        parts[sys.argv[1]](Path(sys.argv[2]), float(sys.argv[3]))
    else:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else DAYS_QUICK)
