"""Predictions as text."""

from __future__ import annotations

from collections.abc import Sequence

from hardpairs.planning.cost import Cost

HEADINGS = ("", "processes", "time", "memory", "written", "kept", "read", "sent")
UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def cost_table(costs: Sequence[Cost]) -> str:
    """Return aligned lines, one for each prediction, and notes below."""
    rows = [HEADINGS, *map(_cells, costs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if first == 0 else cell.rjust(width)
            for first, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    if not all(cost.fits for cost in costs):
        lines.append("* more than a process may take; time and the rest are as if it could")
    return "\n".join(lines)


def _cells(cost: Cost) -> tuple[str, ...]:
    memory = bytes_text(cost.memory) + ("" if cost.fits else "*")
    amounts = (cost.written, cost.kept, cost.read, cost.network)
    return (
        cost.work,
        str(cost.processes),
        time_text(cost.seconds),
        memory,
        *map(bytes_text, amounts),
    )


def time_text(seconds: float) -> str:
    """Return a time in the unit that suits it, with two digits."""
    for size, unit in ((365 * 86400, "years"), (86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{_digits(seconds / size)} {unit}"
    return f"{_digits(seconds)} s"


def bytes_text(count: int) -> str:
    """Return a number of bytes in the unit that suits it, with two digits."""
    for size, unit in UNITS:
        if count >= size:
            return f"{_digits(count / size)} {unit}"
    return f"{count} B" if count else "-"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
