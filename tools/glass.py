"""The 16x4 display as a drawing: what the controller's memory holds, dot by dot, as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from meterd.display.pages import GLYPHS
from meterd.model import Screen

COLUMNS = 16
DOT = 3.0
"""From one dot to the next; a dot itself is a little smaller."""
LIT = 2.6
CELL = (5 * DOT + 3.5, 8 * DOT + 4.5)
BEZEL = 26.0
CAPTION = 34.0
GAP = 28.0

# The shapes of ROM A00 (HD44780U data sheet, table 4) that the meter's words need: five columns
# from the left, the lowest bit on top.
ROM = {
    " ": "0000000000", "!": "00005F0000", "%": "2313086462", "-": "0808080808",
    ".": "0060600000", ">": "0041221408", "<": "0814224100",
    "0": "3E5149453E", "1": "00427F4000", "2": "4261514946", "3": "2141454B31",
    "4": "1814127F10", "5": "2745454539", "6": "3C4A494930", "7": "0171090503",
    "8": "3649494936", "9": "064949291E",
    "B": "7F49494936", "K": "7F08142241", ":": "0036360000", "/": "2010080402",
    "A": "7E1111117E", "C": "3E41414122", "E": "7F49494941", "F": "7F09090901",
    "D": "7F4141221C", "G": "3E4149497A", "H": "7F0808087F", "I": "00417F4100",
    "M": "7F020C027F", "P": "7F09090906", "R": "7F09192946", "S": "4649494931",
    "T": "01017F0101", "U": "3F4040403F", "V": "1F2040201F", "W": "3F4038403F",
    "X": "6314081463", "L": "7F40404040", "N": "7F0408107F", "O": "3E4141413E",
    "a": "2054545478", "b": "7F48444438", "c": "3844444420", "d": "384444487F",
    "e": "3854545418", "f": "087E090102", "g": "0C5252523E", "h": "7F08040478",
    "i": "00447D4000", "j": "2040443D00", "k": "7F10284400", "l": "00417F4000",
    "m": "7C04180478", "n": "7C08040478", "o": "3844444438", "p": "7C14141408",
    "q": "081414187C", "r": "7C08040408", "s": "4854545420", "t": "043F444020",
    "u": "3C4040207C", "v": "1C2040201C", "w": "3C4030403C", "x": "4428102844",
    "y": "0C5050503C", "z": "4464544C44", "→": "08082A1C08", "←": "081C2A0808",
    "°": "0007050700",
}  # fmt: skip


def dots(character: str) -> Iterator[tuple[int, int]]:
    """The lit dots of a character as (column, row), 5 by 8."""
    if character in GLYPHS:
        for row, bits in enumerate(GLYPHS[character]):
            yield from ((column, row) for column in range(5) if bits >> (4 - column) & 1)
        return
    for column, bits in enumerate(bytes.fromhex(ROM[character])):
        yield from ((column, row) for row in range(8) if bits >> row & 1)


def draw(screens: Sequence[Screen], captions: Sequence[str], title: str) -> str:
    """Displays in two columns, each with its caption below, as one SVG document."""
    glass_w, glass_h = COLUMNS * CELL[0] + 14, 4 * CELL[1] + 12
    panel_w, panel_h = glass_w + 2 * BEZEL, glass_h + 2 * BEZEL
    width = 2 * panel_w + GAP
    height = -(-len(screens) // 2) * (panel_h + CAPTION)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img">',
        f"<title>{title}</title>",
        '<defs><linearGradient id="glass" x1="0" y1="0" x2="1" y2="1">'
        '<stop offset="0" stop-color="#b6d433"/><stop offset="1" stop-color="#9cbd1e"/>'
        "</linearGradient>"
        f'<pattern id="dots" width="{DOT:g}" height="{DOT:g}" patternUnits="userSpaceOnUse">'
        f'<rect width="{LIT:g}" height="{LIT:g}" fill="#5a7a00" fill-opacity="0.13"/></pattern>'
        "</defs>",
    ]
    for place, (screen, caption) in enumerate(zip(screens, captions, strict=True)):
        left, top = place % 2 * (panel_w + GAP), place // 2 * (panel_h + CAPTION)
        parts.append(f'<g transform="translate({left:g} {top:g})">')
        parts.append(
            f'<rect width="{panel_w:g}" height="{panel_h:g}" rx="10" fill="#1d2b24"/>'
            f'<rect x="{BEZEL - 9:g}" y="{BEZEL - 9:g}" width="{glass_w + 18:g}" '
            f'height="{glass_h + 18:g}" rx="6" fill="#0b100d"/>'
            f'<rect x="{BEZEL:g}" y="{BEZEL:g}" width="{glass_w:g}" height="{glass_h:g}" rx="3" '
            'fill="url(#glass)"/>'
        )
        parts.append(_characters(screen, BEZEL + 7, BEZEL + 6))
        parts.append(
            f'<text x="{panel_w / 2:g}" y="{panel_h + 23:g}" text-anchor="middle" '
            f'font-family="system-ui, sans-serif" font-size="15" fill="#6b7a72">'
            f"{caption}</text></g>"
        )
    return "\n".join([*parts, "</svg>\n"])


def _characters(screen: Screen, left: float, top: float) -> str:
    cells: list[str] = []
    lit: list[str] = []
    for row, line in enumerate(screen.lines):
        for column, character in enumerate(line):
            x, y = left + column * CELL[0] + 1.75, top + row * CELL[1] + 2.25
            cells.append(
                f'<rect transform="translate({x:g} {y:g})" width="{5 * DOT:g}" '
                f'height="{8 * DOT:g}" fill="url(#dots)"/>'
            )
            lit.extend(
                f"M{x + across * DOT:g} {y + down * DOT:g}h{LIT}v{LIT}h-{LIT}z"
                for across, down in dots(character)
            )
    return "".join(cells) + f'<path fill="#1c2b00" d="{"".join(lit)}"/>'
