"""Write the predictions of docs/scaling.md from the stored constants of ``benchmarks.plan``.

    python -m benchmarks.scaling

The text between the two marks is replaced. Nothing is measured.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hardpairs.core.atomic import write_text
from hardpairs.planning.cost import Cost
from hardpairs.planning.embedding_cost import embedding_cost
from hardpairs.planning.machine import Machine, machine_of
from hardpairs.planning.mining_cost import mining_cost
from hardpairs.planning.table import bytes_text, time_text
from hardpairs.planning.training_cost import Run, training_cost

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks/results/plan.json", ROOT / "docs/scaling.md"
BEGIN, END = "<!-- predictions: python -m benchmarks.scaling -->", "<!-- end of predictions -->"
DATA = {
    "CC3M": 2_900_000,
    "CC12M": 11_000_000,
    "YFCC15M": 14_800_000,
    "LAION-400M": 400_000_000,
}
WIDTHS = (512, 512)
PROCESSES = (1, 8, 128)
MEMORY = 64 << 30


def tables(report: dict[str, Any]) -> str:
    """Return the predictions, and how they compare with what was measured.

    Args:
        report: What ``benchmarks.plan`` wrote.
    """
    machine = machine_of(report["machine"])
    return "\n\n".join([_predictions(machine), _checks(report)])


def _predictions(machine: Machine) -> str:
    lines = [
        "| data | rows | processes | embed | mine, exact | its memory | sent by each "
        "| mine, ivf | train, one epoch |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    share = machine.mining.compared
    for name, rows in DATA.items():
        for processes in PROCESSES:
            limits = {"processes": processes, "max_memory": MEMORY}
            exact = mining_cost(machine, rows, WIDTHS, **limits)
            cells = [
                name,
                f"{rows / 1e6:g} million",
                str(processes),
                time_text(embedding_cost(machine, rows, processes=processes).seconds),
                time_text(exact.seconds),
                _memory(exact),
                bytes_text(exact.network),
                time_text(mining_cost(machine, rows, WIDTHS, share=share, **limits).seconds),
                time_text(training_cost(machine, rows, Run(), processes=processes).seconds),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _memory(cost: Cost) -> str:
    return bytes_text(cost.memory) + ("" if cost.fits else ", does not fit")


def _checks(report: dict[str, Any]) -> str:
    lines = [
        "| rows | processes | processor time, predicted | measured | ratio | by the clock "
        "| memory, predicted | measured | ratio |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for run in report["runs"]:
        cells = [
            f"{run['rows']:,}",
            str(run["processes"]),
            f"{run['predicted_seconds']:.1f} s",
            f"{run['processor_seconds']:.1f} s",
            f"{run['predicted_to_processor']:.2f}",
            f"{run['clock_seconds']:.1f} s",
            bytes_text(run["predicted_bytes"]),
            bytes_text(run["peak_bytes"]),
            f"{run['predicted_to_peak']:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page(text: str, report: dict[str, Any]) -> str:
    """Return a page with its predictions made anew."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin and end, "the page has no marks"
    return f"{before}{begin}\n\n{tables(report)}\n\n{end}{after}"


def main() -> None:
    """Run the command."""
    write_text(PAGE, page(PAGE.read_text(), json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
