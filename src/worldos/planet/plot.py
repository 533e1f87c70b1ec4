"""Small plots as SVG: lines over logarithmic or linear axes, with a legend; readable on a light page and on a dark one.

The picture brings its own ground and colours, and follows the reader's scheme (``prefers-color-scheme``). Series
differ by colour and by the shape of their points, so that they can be told apart without colour. No dependency; the
same input gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

WIDTH: Final = 760
HEIGHT: Final = 430
LEFT: Final = 84
RIGHT: Final = 24
TOP: Final = 62
BOTTOM: Final = 62
LEGEND_ROW: Final = 19
LEGEND_COLUMNS: Final = 3
TICKS: Final = 6
LIGHT: Final = ("#0b62c4", "#c2410c", "#15803d", "#9333ea", "#a16207", "#0e7490", "#be185d")
DARK: Final = ("#6cb2ff", "#ff9b62", "#5fd38a", "#c99bff", "#e6c04b", "#4fd0e6", "#ff85b8")
COLOURS: Final = len(LIGHT)


def _coloured(palette: Sequence[str]) -> str:
    return "".join(f".l.c{n}{{stroke:{c}}}.p.c{n}{{fill:{c}}}" for n, c in enumerate(palette))


STYLE: Final = (
    ".g{fill:#fff;stroke:#d8dce2}.t{fill:#1d232b}.s{fill:#55606e}.a{stroke:#8a94a1}.n{stroke:#e6e9ee}"
    f"{_coloured(LIGHT)}"
    "@media (prefers-color-scheme:dark){"
    ".g{fill:#171b21;stroke:#343b45}.t{fill:#e9edf2}.s{fill:#a7b1be}.a{stroke:#6b7684}.n{stroke:#2a3038}"
    f"{_coloured(DARK)}}}"
    ".l{fill:none;stroke-width:2.2;stroke-linejoin:round}.d{stroke-dasharray:6 5}"
    'text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;font-size:13px}'
    "text.h{font-size:16px;font-weight:600}"
)


class Series(NamedTuple):
    """A named line. ``dashed``: a target or another's line; it has no points."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


class Axis(NamedTuple):
    """A named axis from ``low`` to ``high``; logarithmic unless ``linear``."""

    name: str
    low: float
    high: float
    linear: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies, 0 at the low end and 1 at the high one."""
        if self.linear:
            return (value - self.low) / (self.high - self.low)
        return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        """Return where numbers stand: powers of ten, or round steps."""
        if self.linear:
            return _round_steps(self.low, self.high)
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        if last - first < 2:
            fine = (10.0**power * part for power in range(first - 1, last + 1) for part in (1, 2, 5))
            return [value for value in fine if self.low * 0.999 <= value <= self.high * 1.001]
        every = max(1, math.ceil((last - first) / 9))
        return [10.0**power for power in range(first, last + 1, every)]


def chart(title: str, across: Axis, up: Axis, series: Sequence[Series]) -> str:
    """Return a line chart as a whole SVG file."""
    rows = math.ceil(len(series) / LEGEND_COLUMNS)
    height = HEIGHT + rows * LEGEND_ROW
    top = TOP + rows * LEGEND_ROW
    frame = _Frame(across, up, top, height - BOTTOM)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title, quote=True)}">',
        f"<style>{STYLE}</style>",
        f'<rect class="g" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="10"/>',
        f'<text class="t h" x="{LEFT - 60}" y="30">{escape(title)}</text>',
        *_legend(series),
        *frame.lines(),
    ]
    for number, each in enumerate(series):
        parts += _line(frame, number, each)
    return "\n".join([*parts, "</svg>", ""])


class _Frame(NamedTuple):
    across: Axis
    up: Axis
    top: float
    bottom: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where a value lies in the picture."""
        left = LEFT + self.across.place(x) * (WIDTH - LEFT - RIGHT)
        return left, self.bottom - min(1.0, max(0.0, self.up.place(y))) * (self.bottom - self.top)

    def lines(self) -> list[str]:
        """Return the grid, the axes and their numbers."""
        right = WIDTH - RIGHT
        parts = []
        for value in self.up.ticks():
            _, y = self.at(self.across.low, value)
            parts.append(f'<path class="n" d="M{LEFT} {y:.1f}H{right}"/>')
            parts.append(f'<text class="s" x="{LEFT - 9}" y="{y + 4.5:.1f}" text-anchor="end">{_number(value)}</text>')
        for value in self.across.ticks():
            x, _ = self.at(value, self.up.low)
            parts.append(f'<path class="n" d="M{x:.1f} {self.top:.1f}V{self.bottom:.1f}"/>')
            parts.append(
                f'<text class="s" x="{x:.1f}" y="{self.bottom + 20:.1f}" text-anchor="middle">{_number(value)}</text>'
            )
        middle = (self.top + self.bottom) / 2
        parts += [
            f'<path class="a" fill="none" d="M{LEFT} {self.top:.1f}V{self.bottom:.1f}H{right}"/>',
            f'<text class="t" x="{(LEFT + right) / 2:.1f}" y="{self.bottom + 45:.1f}" text-anchor="middle">'
            f"{escape(self.across.name)}</text>",
            f'<text class="t" transform="translate(22 {middle:.1f}) rotate(-90)" text-anchor="middle">'
            f"{escape(self.up.name)}</text>",
        ]
        return parts


def _legend(series: Sequence[Series]) -> list[str]:
    parts = []
    wide = (WIDTH - LEFT + 36) / LEGEND_COLUMNS
    for number, each in enumerate(series):
        x = LEFT - 60 + (number % LEGEND_COLUMNS) * wide
        y = 52 + (number // LEGEND_COLUMNS) * LEGEND_ROW
        colour = f"c{number % COLOURS}"
        dashes = " d" if each.dashed else ""
        parts.append(f'<path class="l {colour}{dashes}" d="M{x:.1f} {y}h24"/>')
        if not each.dashed:
            parts.append(_mark(number, x + 12, y))
        parts.append(f'<text class="t" x="{x + 31:.1f}" y="{y + 4.5}">{escape(each.name)}</text>')
    return parts


def _line(frame: _Frame, number: int, series: Series) -> list[str]:
    places = [frame.at(x, y) for x, y in series.points]
    colour = f"c{number % COLOURS}"
    way = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    parts = [f'<path class="l {colour}{" d" if series.dashed else ""}" d="M{way}"/>']
    if not series.dashed and len(places) <= 24:
        parts += [_mark(number, x, y) for x, y in places]
    return parts


def _mark(number: int, x: float, y: float) -> str:
    colour = f'class="p c{number % COLOURS}"'
    match number % 4:
        case 0:
            return f'<circle {colour} cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        case 1:
            return f'<rect {colour} x="{x - 3.6:.1f}" y="{y - 3.6:.1f}" width="7.2" height="7.2"/>'
        case 2:
            return f'<path {colour} d="M{x:.1f} {y - 5:.1f}l4.8 8.6h-9.6z"/>'
        case _:
            return f'<path {colour} d="M{x:.1f} {y - 5.2:.1f}l5 5.2l-5 5.2l-5 -5.2z"/>'


def _round_steps(low: float, high: float) -> list[float]:
    rough = (high - low) / TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [step * number for number in range(first, math.floor(high / step + 1e-9) + 1)]


_SUPERSCRIPT: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _number(value: float) -> str:
    """Write a number as people read it on an axis."""
    if value >= 10_000 or 0 < value < 0.01:
        power = math.floor(math.log10(value) + 1e-9)
        mantissa = value / 10.0**power
        exponent = f"10{str(power).translate(_SUPERSCRIPT)}"
        return exponent if abs(mantissa - 1) < 1e-6 else f"{mantissa:g}·{exponent}"
    return f"{value:g}"
