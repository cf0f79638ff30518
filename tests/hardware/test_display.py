"""The unmodified RPLCD and smbus2, and our display on them, against an emulated /dev/i2c-1."""

from __future__ import annotations

import errno

from meterd.lcd import GLYPHS

from .board import Board

OPEN = """
import sys
from meterd import lcd
from meterd.errors import HardwareError
from meterd.model import Screen
screen = Screen(("Red → casa      ", "P      1234.5 W ", "φ 12.5°  ñ ó    ", "last line      4"))
"""
SHOW = OPEN + "shown = lcd.step(lcd.Shown(), screen, lambda: lcd.open_display(1, 0x27), now_ns=0)\n"
LINES = ("Red → casa      ", "P      1234.5 W ", "φ 12.5°  ñ ó    ", "last line      4")


def test_the_four_lines_read_back_from_the_glass(board: Board) -> None:
    child = board.run(SHOW + "shown.display.close()")
    assert child.returncode == 0, child.stderr
    assert board.display.text() == LINES
    assert bytes(board.display.cgram[:16]) == bytes(sum(GLYPHS.values(), ()))
    assert board.display.violations == []
    assert board.expander.backlight
    assert not board.display.cursor_visible


def test_rplcd_alone_reads_back_as_well(board: Board) -> None:
    child = board.run(
        "import sys\nsys.modules['smbus'] = None\n"
        "from RPLCD.i2c import CharLCD\n"
        "display = CharLCD('PCF8574', 0x27, port=1, cols=16, rows=4, charmap='A00')\n"
        "display.write_string('0123456789abcdef' * 4)\n"
        "display.bus.close()\n"
    )
    assert child.returncode == 0, child.stderr
    assert board.display.text() == ("0123456789abcdef",) * 4


def test_an_absent_display_reaches_the_caller_as_a_clear_sentence(board: Board) -> None:
    board.bus.unplug()
    child = board.run(OPEN + "lcd.open_display(1, 0x27)")
    assert (
        "HardwareError: the display at 0x27 on /dev/i2c-1 does not answer: Remote I/O error "
        "(errno 121); check its four wires"
    ) in child.stderr


def test_an_input_output_error_reaches_the_caller_as_a_clear_sentence(board: Board) -> None:
    board.i2c.faults.append(errno.EIO)
    child = board.run(OPEN + "lcd.open_display(1, 0x27)")
    assert "HardwareError: the display at 0x27 on /dev/i2c-1 does not answer" in child.stderr
    assert "Input/output error (errno 5)" in child.stderr


def test_a_display_that_never_answers_costs_no_open_files(board: Board) -> None:
    board.bus.unplug()
    child = board.run(
        OPEN
        + """
import os
counts = []
for attempt in range(3):
    try:
        lcd.open_display(1, 0x27)
    except HardwareError:
        counts.append(len(os.listdir("/proc/self/fd")))
print(*counts)
"""
    )
    first, second, third = child.stdout.split()
    assert first == second == third


def test_a_bus_that_is_not_enabled_is_named_with_what_to_do(board: Board) -> None:
    board.missing.add("/dev/i2c-1")
    child = board.run(OPEN + "lcd.open_display(1, 0x27)")
    assert "HardwareError: cannot open /dev/i2c-1 for the display: No such file" in child.stderr
    assert "raspi-config" in child.stderr


STEP = SHOW + (
    "print(flush=True)\n"
    "for line in sys.stdin:\n"
    "    screen = Screen((line.rstrip('\\n').ljust(16), *screen.lines[1:]))\n"
    "    shown = lcd.step(shown, screen, None, now_ns=0)\n"
    "    print(flush=True)\n"
    "shown.display.close()\n"
)


def test_an_unchanged_frame_costs_nothing_and_one_cell_sixteen_transactions(board: Board) -> None:
    def cost(line: str) -> int:
        assert child.stdin is not None
        assert child.stdout is not None
        before = board.bus.transactions
        child.stdin.write(line + "\n")
        child.stdin.flush()
        child.stdout.readline()
        return board.bus.transactions - before

    with board.start(STEP) as child:
        assert child.stdout is not None
        child.stdout.readline()
        costs = [cost(line) for line in (LINES[0], LINES[0], "Red → casa     !", "0" * 16)]
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(10) == 0
    # A byte is eight transactions: cursor and character; cursor and sixteen characters.
    assert costs == [0, 0, 16, 136]
    assert board.display.text()[0] == "0" * 16


THREAD = (
    OPEN
    + """
import threading
wanted, stop = lcd.LatestScreen(), threading.Event()
wanted.put(screen)
thread = lcd.start_display(
    lambda: lcd.open_display(1, 0x27), wanted, stop, retry_s=0.05, period_s=0.01
)
for line in sys.stdin:
    wanted.put(Screen((line.rstrip("\\n").ljust(16), *screen.lines[1:])))
stop.set()
thread.join(5)
sys.exit(thread.is_alive())
"""
)


def test_a_display_unplugged_and_put_back_is_redrawn_by_the_running_program(board: Board) -> None:
    with board.start(THREAD) as child:
        assert board.wait_until(lambda: board.display.text() == LINES)
        board.bus.unplug()
        assert child.stdin is not None
        child.stdin.write("changed meanwhil\n")
        child.stdin.flush()
        tried = board.bus.transactions
        assert board.wait_until(lambda: board.bus.transactions > tried + 2)
        board.bus.plug()
        expected = ("changed meanwhil", *LINES[1:])
        assert board.wait_until(lambda: board.display.text() == expected)
        child.stdin.close()
        assert child.wait(10) == 0
