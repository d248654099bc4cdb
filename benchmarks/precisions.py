"""What a wider error bound costs beside the products: more pairs that may belong to a list.

    python -m benchmarks.precisions --out benchmarks/results/precisions.json
    python -m benchmarks.precisions --embeddings DIR/icons-by-lite0-minilm-224-32

The same search three times in turns, with the error bounds of float32, bfloat16 and int8 products.
The products themselves are float32 ones each time: what a processor saves there is its own matter,
and a short test at the start of a search tells. Processor seconds of everything but the products;
one thread. The lists are compared. A precision is worth its bound where it saves more of the
products, which grow with the square of the rows, than it adds to the rest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks.machine import describe_machine
from benchmarks.mining import isotropic, themed
from hardpairs.core.atomic import write_json
from hardpairs.data.embeddings import open_embeddings
from hardpairs.mining.api import Execution, search
from hardpairs.mining.engine import cpu
from hardpairs.mining.low_precision import FLOAT32, KINDS, PRECISIONS, stored_width
from hardpairs.mining.options import MiningOptions
from hardpairs.mining.unit_vectors import round_vectors, write_unit_vectors
from hardpairs.planning.measure_mining import TimedProducts

DATA = {"themed": themed, "isotropic": isotropic}


def bounds(rows: list[np.ndarray], precision: str) -> list[float]:
    """Return how far rows of a precision are from their unit vectors at most, by modality."""
    if precision == FLOAT32:
        return [0.0 for _ in rows]
    errors, kind = [], KINDS[precision]
    for side in rows:
        unit = np.empty(side.shape, np.float32)
        write_unit_vectors(side, np.arange(len(side)), "made", unit)
        low = np.empty((len(side), stored_width(side.shape[1], kind)), kind)
        errors.append(round_vectors(unit, low))
    return errors


def measure(rows: list[np.ndarray], errors: list[float]) -> tuple[float, float, np.ndarray]:
    """Return processor seconds of products and of everything else, and the lists."""
    made: list[TimedProducts] = []

    def products(multiplied: Any, _: Any, block: int, **__: Any) -> TimedProducts:
        made.append(TimedProducts(multiplied, errors, block))
        return made[-1]

    start = time.process_time()
    with mock.patch("hardpairs.mining.engine.cpu.Products", products):
        execution = Execution(precision=FLOAT32)
        result = search(*rows, MiningOptions(top_k=50), execution=execution)
    total = time.process_time() - start
    assert result is not None
    return made[0].seconds, total - made[0].seconds, result.indices


def made(kind: str, count: int) -> list[np.ndarray]:
    """Return rows of a kind, or the first ones of a folder of embeddings."""
    if kind in DATA:
        return DATA[kind](count)
    embeddings = open_embeddings(kind)
    return [np.asarray(side[:count]) for side in (embeddings.image, embeddings.text)]


def compare(kind: str, count: int, repeats: int) -> list[dict[str, Any]]:
    """Return a line for each error bound: medians over turns."""
    rows = made(kind, count)
    errors = {precision: bounds(rows, precision) for precision in PRECISIONS}
    seconds: dict[str, list[tuple[float, float]]] = {precision: [] for precision in PRECISIONS}
    lists = {}
    for _ in range(repeats):
        for precision, found in seconds.items():
            *times, lists[precision] = measure(rows, errors[precision])
            found.append((times[0], times[1]))
            assert np.array_equal(lists[precision], lists[FLOAT32]), precision
    lines = []
    for precision, found in seconds.items():
        of_products, others = (statistics.median(side) for side in zip(*found, strict=True))
        line = {
            "data": kind,
            "rows": len(rows[0]),
            "bound of": precision,
            "input errors": errors[precision],
            "float32 products": of_products,
            "others": others,
        }
        lines.append(line)
        print(json.dumps(line), flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[6_000, 12_000, 24_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data", nargs="*", choices=DATA, default=list(DATA))
    parser.add_argument(
        "--embeddings", nargs="*", default=[], help="folders, of which the first rows are taken"
    )
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    measure(themed(2048), [0.0, 0.0])  # compiles, and warms up
    results = {
        "command": " ".join(["python -m benchmarks.precisions", *sys.argv[1:]]),
        "machine": describe_machine(),
        "chosen_here": cpu.choose_precision(512),
        "lines": [
            line
            for kind in [*args.data, *args.embeddings]
            for count in args.rows
            for line in compare(kind, count, args.repeats)
        ],
    }
    if args.out:
        write_json(args.out, results)


if __name__ == "__main__":
    main()
