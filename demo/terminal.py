"""What the terminal shows: the display as a frame, and how each program is doing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.box import HEAVY
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from demo.programs import Program

ROWS = 4
COLUMNS = 16
SCREEN_MARK = "LCD"
BLANK = (" " * COLUMNS,) * ROWS
FRAME_TITLE = "16x4 LCD"
NAME_COLUMNS = 15
LOOKS_STILL = 3
GLYPHS = str.maketrans("⓪①", "φó")
"""Characters that the controller lacks and meterd draws for it, read back by their numbers."""


@dataclass(frozen=True, slots=True)
class State:
    """How one program is doing."""

    name: str
    running: bool
    last_line: str


@dataclass(slots=True)
class Glass:
    """The screen to draw: the last one that stood still.

    The display's controller takes a screen in several writes, and each is reported; drawing all
    of them would show halves.
    """

    shown: tuple[str, ...] = BLANK
    coming: tuple[str, ...] = BLANK
    looks: int = field(default=0)

    def look(self, screen: tuple[str, ...]) -> bool:
        """Note what the controller shows now; True when there is another screen to draw."""
        if screen != self.coming:
            self.coming, self.looks = screen, 0
            return False
        self.looks += 1
        if self.looks < LOOKS_STILL or screen == self.shown:
            return False
        self.shown = screen
        return True


def screen_of(line: str) -> tuple[str, ...] | None:
    """The four lines in a line such as ``LCD|Red → casa ...|...|...|...`` of meterd; else None.

    Taken by place, for the display can show a | of its own.
    """
    step = COLUMNS + 1
    if not line.startswith(f"{SCREEN_MARK}|") or len(line) != len(SCREEN_MARK) + ROWS * step:
        return None
    begin, line = len(SCREEN_MARK) + 1, line.translate(GLYPHS)
    return tuple(line[begin + row * step : begin + row * step + COLUMNS] for row in range(ROWS))


def states_of(programs: Sequence[Program]) -> tuple[State, ...]:
    """How the programs are doing now."""
    return tuple(
        State(
            program.name,
            program.process.poll() is None,
            next((line for line in reversed(tuple(program.log)) if line.strip()), ""),
        )
        for program in programs
    )


def frame(screen: Sequence[str]) -> Panel:
    """The display as it looks on the wall."""
    text = Text("\n".join(screen), style="bold bright_white on blue", no_wrap=True)
    return Panel(text, box=HEAVY, title=FRAME_TITLE, width=COLUMNS + 4, border_style="blue")


def drawing(screen: Sequence[str], states: Sequence[State]) -> Group:
    """The display, and a line for each program below it."""
    lines = [
        Text.assemble(
            (f"{state.name:{NAME_COLUMNS}}", "bold"),
            ("running  ", "green") if state.running else ("ended    ", "red"),
            (state.last_line, "dim"),
            no_wrap=True,
            overflow="ellipsis",
        )
        for state in states
    ]
    return Group(frame(screen), *lines, Text("Ctrl-C ends it", "dim"))


@dataclass(slots=True)
class Redrawn:
    """Draws in place, in a terminal; what is said appears above."""

    live: Live
    drawn: tuple[Sequence[str], Sequence[State]] | None = None

    def draw(self, screen: Sequence[str], states: Sequence[State]) -> None:
        """Draw what changed."""
        if self.drawn != (screen, states):
            self.drawn = (screen, states)
            self.live.update(drawing(screen, states), refresh=True)


@dataclass(slots=True)
class Appended:
    """Writes frames and log lines one below the other, where there is no terminal to draw in."""

    console: Console
    screen: Sequence[str] = BLANK
    states: Sequence[State] = ()

    def draw(self, screen: Sequence[str], states: Sequence[State]) -> None:
        """Write what changed."""
        if screen != self.screen:
            self.screen = screen
            self.console.print(frame(screen))
        for state in states:
            if state not in self.states and state.last_line:
                self.console.print(
                    f"{state.name}: {state.last_line}",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
        self.states = states
