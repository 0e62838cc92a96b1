"""Plots as small SVG files, which read well on light and on dark pages: lines over logarithmic axes, and bars.

Written by hand: two kinds of plot take a hundred lines, a plotting library takes more megabytes than the service, and
its files change in every line at every run.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from benchmarks.rounds import QUICK, short

FOLDER = Path(__file__).parent.parent / "docs" / "benchmarks"
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c564b")
"""Okabe and Ito's, which people who see fewer colors can tell apart, and two more."""
INK = "#7f7f7f"
WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 40, 60
Points = Sequence[tuple[float, float]]


def lines(name: str, title: str, x_label: str, series: Mapping[str, Points]) -> str:
    """Draws `docs/benchmarks/<name>.svg`, a line with dots for each series of milliseconds; returns the Markdown that
    shows it.

    Short runs do not draw.
    """
    xs, ys = ([point[i] for points in series.values() for point in points] for i in (0, 1))
    x_scale, y_scale = Scale(xs, LEFT, WIDTH - RIGHT), Scale(ys, HEIGHT - BOTTOM, TOP)
    parts = []
    for value in x_scale.ticks():
        x = x_scale(value)
        parts.append(line(x, TOP, x, HEIGHT - BOTTOM, 0.3))
        parts.append(text(x, HEIGHT - BOTTOM + 18, short(value), "middle"))
    for value in y_scale.ticks():
        y = y_scale(value)
        parts.append(line(LEFT, y, WIDTH - RIGHT, y, 0.3))
        parts.append(text(LEFT - 8, y + 4, short(value), "end"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, x_label, "middle"))
    parts.append(text(16, (TOP + HEIGHT - BOTTOM) / 2, "ms", "middle", f"rotate(-90 16 {(TOP + HEIGHT - BOTTOM) / 2})"))
    for i, (label, points) in enumerate(series.items()):
        color = COLORS[i % len(COLORS)]
        places = [(x_scale(x), y_scale(y)) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places]
        parts.append(text(LEFT + 12, TOP + 16 + 17 * i, label, "start", color=color))
    return save(name, title, parts, HEIGHT)


def bars(name: str, title: str, values: Mapping[str, float]) -> str:
    """Draws `docs/benchmarks/<name>.svg`, a bar with its number for each value; returns the Markdown that shows it."""
    left, step = 230, 30
    widest = max(values.values())
    parts = []
    for i, (label, value) in enumerate(values.items()):
        y = TOP + 8 + step * i
        length = (WIDTH - left - 110) * value / widest
        parts.append(text(left - 10, y + 15, label, "end"))
        color = COLORS[i % len(COLORS)]
        parts.append(f'<rect x="{left}" y="{y}" width="{max(length, 1):.1f}" height="{step - 9}" fill="{color}"/>')
        parts.append(text(left + length + 8, y + 15, short(value), "start"))
    return save(name, title, parts, TOP + 16 + step * len(values))


class Scale:
    """From numbers to places between two ends of the picture, by their logarithms."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.low, self.high = min(values) / 1.15, max(values) * 1.15
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        value, low, high = math.log(value), math.log(self.low), math.log(self.high)
        return self.start + (self.end - self.start) * (value - low) / (high - low)

    def ticks(self) -> list[float]:
        """Round numbers in the range: powers of ten and, where those are few, 2 and 5 times them."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        factors = (1.0,) if len(powers) > 4 else (1.0, 2.0, 5.0)
        candidates = [factor * 10.0**power for power in powers for factor in factors]
        return [value for value in candidates if self.low <= value <= self.high]


def line(x1: float, y1: float, x2: float, y2: float, opacity: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{INK}" stroke-opacity="{opacity}"/>'


def text(x: float, y: float, content: str, anchor: str, transform: str = "", color: str = INK) -> str:
    turned = f' transform="{transform}"' if transform else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}"{turned}>{escape(content)}</text>'


def save(name: str, title: str, parts: Sequence[str], height: float) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12" role="img">'
    )
    heading = f'<text x="{LEFT}" y="22" fill="{INK}" font-size="15">{escape(title)}</text>'
    content = "\n".join([head, f"<title>{escape(title)}</title>", heading, *parts, "</svg>"])
    if not QUICK:
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / f"{name}.svg").write_text(content + "\n")
    return f"![{title}](benchmarks/{name}.svg)"
