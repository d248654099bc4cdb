"""Brute-force peers of the search on one device: seconds of each for a sample of targets.

    python -m benchmarks.mining_peers --pairs 2900000 --targets 16384 --out peers.json
    python -m benchmarks.mining_peers --device cpu --pairs 4000 --targets 500 --out peers.json

``torch``: for a block of targets two dense products in float16 with sums in float32, their product,
and ``topk``: what a person writes first. ``torch float32``: the same in float32.
``cuVS``: its brute-force search for the nearest of the concatenated vectors, by inner product, where
its package is installed; it knows no product of two similarities, so its lists are other ones.

A peer's time grows with the number of targets: the time for all pairs is that of the sample, times
pairs / targets. Our search finds all lists; its seconds are those of ``benchmarks.mining_gpu``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import describe_machine
from benchmarks.mining_gpu import TOP_K, device_seconds, themed
from hardpairs.core.atomic import write_json
from hardpairs.core.vectors import unit_rows

BLOCK_BYTES = 8 << 30
"""Bytes of a block's scores, at most."""


def dense_lists(
    image: torch.Tensor, text: torch.Tensor, targets: torch.Tensor, block: int
) -> torch.Tensor:
    """Return the rows of highest score of each target, by dense products.

    Args:
        image: (N, D_image) unit rows.
        text: (N, D_text) unit rows.
        targets: (T,) int64 row numbers.
        block: Targets at a time.

    Returns:
        (T, TOP_K) int64. Near duplicates are not excluded: that is not what takes the time.
    """
    lists = []
    for part in targets.split(block):
        scores = (image[part] @ image.T).clamp_(min=0).mul_((text[part] @ text.T).clamp_(min=0))
        scores[torch.arange(len(part), device=scores.device), part] = 0
        lists.append(scores.topk(TOP_K).indices)
    return torch.cat(lists)


def cuvs_search(both: torch.Tensor, targets: torch.Tensor) -> Callable[[], object] | None:
    """Return a search by cuVS for the nearest of concatenated vectors; ``None`` without cuVS."""
    try:
        from cuvs.neighbors import brute_force
    except ImportError:
        return None
    index = brute_force.build(both, metric="inner_product")
    queries = both[targets].contiguous()
    return lambda: brute_force.search(index, queries, TOP_K)


def measure(pairs: int, targets: int, device: str) -> dict[str, dict[str, float]]:
    """Return seconds of each peer, for the sample and for all pairs."""
    image, text = (
        torch.from_numpy(np.asarray(unit_rows(side))).to(device) for side in themed(pairs, device)
    )
    sample = torch.arange(pairs, device=device)[:: max(1, pairs // targets)][:targets]
    block = max(1, min(targets, BLOCK_BYTES // (8 * pairs)))
    searches: dict[str, Callable[[], object] | None] = {
        "torch float32": lambda: dense_lists(image, text, sample, block)
    }
    if device != "cpu":
        half = image.half(), text.half()
        searches["torch"] = lambda: dense_lists(*half, sample, block)
        searches["cuVS"] = cuvs_search(torch.cat([image, text], dim=1), sample)
    figures = {}
    for name, search in searches.items():
        if search is not None:
            seconds = device_seconds(search, 3)
            figures[name] = {"seconds": seconds, "all_pairs": seconds * pairs / len(sample)}
            print(name, figures[name], flush=True)
    return figures


def main() -> None:
    """Measure the peers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=2_900_000)
    parser.add_argument("--targets", type=int, default=16_384)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    write_json(
        args.out,
        {
            "command": " ".join(["python -m benchmarks.mining_peers", *sys.argv[1:]]),
            "machine": describe_machine(),
            "pairs": args.pairs,
            "targets": args.targets,
            "peers": measure(args.pairs, args.targets, args.device),
        },
    )


if __name__ == "__main__":
    main()
