"""Runs that alternate, and what is told of them: medians, and ratios with their spread."""

import sys
from collections.abc import Callable, Mapping, Sequence
from statistics import median

QUICK = "--quick" in sys.argv
Times = dict[str, list[float]]


def alternate(runs: Mapping[str, Callable[[], float]], rounds: int) -> Times:
    """What each run returns (its time, say) in each of `rounds` rounds of all of them."""
    times: Times = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(run())
    return times


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the ratios of the rounds."""
    return median(a / b for a, b in zip(above, below, strict=True))


def spread(above: Sequence[float], below: Sequence[float]) -> str:
    """The median of the ratios of the rounds, and from where to where they go."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    return f"**{median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})"


def milliseconds(seconds: Sequence[float]) -> str:
    """The median, and from where to where the rounds go."""
    middle, least, most = (short(1e3 * value) for value in (median(seconds), min(seconds), max(seconds)))
    return f"{middle} ({least} to {most})"


def short(value: float) -> str:
    """Three digits, without an exponent where that is no longer."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers and stand to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
