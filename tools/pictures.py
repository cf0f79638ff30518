"""Makes the pictures in docs/images again: ``.venv/bin/python -m tools.pictures [FOLDER]``.

Needs a Chromium (its path in CHROMIUM; default: the one on the PATH). The display is drawn from
what the simulated controller holds after the real driver wrote to it, showing what the meter's own
code measured of a simulated socket. The pages are the real ones; the day they show is made up and
sent through the real protocol. The clock stands still, so the pictures show the same moment each
time.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import requests
from playwright.sync_api import Browser, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

from meterd import calc, config, lcd, wiring
from meterd.analyze import nominal_calibration
from meterd.model import Missed, Quantities, Screen, Status
from meterd.simulate.frontend import FrontEnd
from server import registry
from server.app import create_app
from server.db import Database, close, open_database, writing
from server.hashing import SlowHashing, slow_hash
from server.migrate import upgrade
from tools import glass, sample_day

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SENT_UTC_S = 1_778_882_403  # 15 May 2026, 15:00:03 in Hermosillo
SEEN_UTC_S = SENT_UTC_S + 9
UTC_OFFSET_S = -7 * 3600
SERIAL, USER, PASSWORD = "MX-0042", "ana", "correct horse battery"
MEASURED_S = 3.0
BATCH_LINES = 500
TIMEOUT_S = 30.0
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--disable-lcd-text",
)


def main() -> None:
    """Write lcd.svg, page.png and page-phone.png."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lcd.svg").write_text(display_svg(), encoding="utf-8")
    print(folder / "lcd.svg")
    with TemporaryDirectory() as temporary, serving(Path(temporary)) as address:
        photograph(address, folder)


def display_svg() -> str:
    """The three pages of the display, and the first once more while exporting."""
    status = Status(SERIAL, unsent=0, clock="synced", server="ok")
    registers = sample_day.START
    imported = measured("voltage=127 current=4.2 pf=0.9 i3=8 i5=4 v5=1.5")
    exported = measured("voltage=127.8 current=9.6 pf=0.99 export i3=2 v5=1.5")
    pages = [lcd.render(imported, registers, status, page) for page in ("power", "supply", "meter")]
    pages.insert(1, lcd.render(exported, registers, status, "power"))
    captions = ("importing", "exporting", "quality of supply", "the meter itself")
    return glass.draw(read_back(pages), captions, "The pages of the meter's 16x4 display")


def measured(mains: str) -> Quantities:
    """What the meter measures of a simulated socket in three seconds."""
    chosen = config.Config(
        meter=config.Meter(serial=SERIAL),
        circuits=(config.Circuit(voltage_channel=0, current_channel=1),),
        adc=config.Adc(device="simulated"),
        simulation=config.Simulation(mains=mains),
    )
    converter = wiring.open_converter(chosen, paced=False)
    read = wiring.block_reader(converter, chosen)
    end_ns = converter.clock_ns() + round(MEASURED_S * 1e9)
    blocks = []
    while converter.clock_ns() < end_ns:
        blocks.append(read())
    calibration = nominal_calibration(FrontEnd(), (1.0, 1.0))
    waveforms = (calc.align(block, (0, 1), calibration) for block in blocks)
    windows = calc.stream(waveforms, 60.0, mains_min_v=6.0)
    return calc.aggregate([window for window in windows if not isinstance(window, Missed)])


def read_back(pages: list[Screen]) -> list[Screen]:
    """Each page as the controller shows it after the driver wrote it, cell by changed cell."""
    seen: list[Screen] = []
    display = wiring.simulated_display(0x27, time.monotonic_ns, seen.append)()
    shown, read = None, []
    for page in pages:
        for row, column, text in lcd.changed_cells(shown, page):
            display.write(row, column, text)
        shown = page
        read.append(_named(seen[-1]))
    display.close()
    return read


def _named(screen: Screen) -> Screen:
    """The controller knows its own characters by number alone."""
    names = {ord(number): glyph for number, glyph in zip("⓪①", lcd.GLYPHS, strict=True)}
    first, second, third, fourth = (line.translate(names) for line in screen.lines)
    return Screen((first, second, third, fourth))


@dataclass(slots=True)
class Clock:
    """Stands still until it is turned."""

    now_utc_s: int

    def __call__(self) -> int:
        return self.now_utc_s


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Nothing: a picture is no traffic."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a server whose clock stands still and whose one meter has sent its day."""
    database = open_database(f"sqlite:///{folder / 'server.db'}", create=True)
    upgrade(database)
    code = _register(database)
    clock = Clock(SENT_UTC_S)
    application = create_app(database, clock_utc_s=clock)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        _send_the_day(address, code)
        clock.now_utc_s = SEEN_UTC_S
        yield address
    finally:
        server.shutdown()
        thread.join(TIMEOUT_S)
        server.server_close()
        close(database)


def _register(database: Database) -> str:
    hashing = SlowHashing()
    place = registry.UsagePoint(service_number="123 456 789 012", area="Norte")
    with writing(database) as connection:
        registry.create_customer(
            connection,
            name="Ana López",
            user_name=USER,
            password_hash=slow_hash(hashing, PASSWORD),
            now_utc_s=SENT_UTC_S,
        )
        registry.create_meter(
            connection, serial=SERIAL, user_name=USER, place=place, now_utc_s=SENT_UTC_S
        )
        code, _ = registry.create_claim_code(
            connection, hashing, serial=SERIAL, now_utc_s=SENT_UTC_S
        )
    return code


def _send_the_day(address: str, code: str) -> None:
    """As a meter does: claim, then batches of lines."""
    end_utc_s = SENT_UTC_S // sample_day.INTERVAL_S * sample_day.INTERVAL_S
    day = sample_day.lines(SERIAL, end_utc_s, UTC_OFFSET_S)
    with requests.Session() as session:
        session.trust_env = False
        claim = session.post(
            f"{address}/api/v1/claim", json={"code": code, "meter": SERIAL}, timeout=TIMEOUT_S
        )
        claim.raise_for_status()
        headers = {
            "Authorization": f"Bearer {claim.json()['credential']}",
            "Content-Type": "application/x-ndjson",
        }
        for first in range(0, len(day), BATCH_LINES):
            answer = session.post(
                f"{address}/api/v1/readings/{sample_day.STREAM}?first_seq={first + 1}",
                data=b"".join(line + b"\n" for line in day[first : first + BATCH_LINES]),
                headers=headers,
                timeout=TIMEOUT_S,
            )
            answer.raise_for_status()
            refused = [row for row in answer.json()["rows"] if row["result"] != "stored"]
            if refused:
                raise SystemExit(f"the server did not store {refused[0]}")


def photograph(address: str, folder: Path) -> None:
    """The customer's page on a desk and on a phone."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        raise SystemExit("no chromium: apt-get install chromium, or name one in CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=list(CHROMIUM_FLAGS), timeout=TIMEOUT_S * 1e3
        )
        try:
            _page(browser, address, folder / "page.png", width=1240, height=1170, scale=0.8)
            _page(browser, address, folder / "page-phone.png", width=390, height=760, scale=1.5)
        finally:
            browser.close()


def _page(
    browser: Browser, address: str, picture: Path, *, width: int, height: int, scale: float
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": height},
        device_scale_factor=scale,
        locale="es-MX",
        color_scheme="light",
    )
    page = context.new_page()
    page.goto(f"{address}/login")
    page.fill('[name="user_name"]', USER)
    page.fill('[name="password"]', PASSWORD)
    page.click("main button")
    page.wait_for_selector("p.big")
    page.screenshot(path=picture)
    context.close()
    print(f"{picture}: {picture.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
