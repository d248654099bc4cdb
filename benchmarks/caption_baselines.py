"""What words alone find in MiniCLIP's test split, and the ceiling of its repeated captions: the
table of docs/photo-evaluation.md.

    python -m benchmarks.caption_baselines miniclip/data/captions.json --out benchmarks/results/caption_baselines.json

Takes MiniCLIP's captions.json (github.com/SoroushRaeisian/miniclip); the photographs are not
needed. Split by its rule and seed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from hardpairs.core.atomic import write_json
from hardpairs.data.opening import open_samples
from hardpairs.data.splits import PARTS, image_numbers, part_of_images
from hardpairs.evaluating.baselines import baselines, ceiling
from hardpairs.metrics.caption_queries import caption_query_bag_of_words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captions", help="MiniCLIP's captions.json")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    samples = open_samples(args.captions)
    numbers, first = image_numbers(samples)
    rows = np.flatnonzero(part_of_images(len(first))[numbers] == PARTS.index("test"))
    # By MiniCLIP's rule a caption is right for its own image alone, and not for others that have it.
    samples.texts = np.unique(
        np.stack([samples.images, samples.texts]), axis=1, return_inverse=True
    )[1]
    found = baselines(samples, rows)
    results = {
        "captions": len(rows),
        "images": len(np.unique(numbers[rows])),
        "ceiling": ceiling(samples, rows),
        **found["baselines"],
        "bag of words, caption to caption": caption_query_bag_of_words(
            [samples.caption(row) for row in rows], samples.images[rows]
        ),
    }
    for name, values in results.items():
        print(name, values)
    write_json(
        args.out,
        {
            "command": " ".join(
                ["python -m benchmarks.caption_baselines captions.json", *sys.argv[2:]]
            ),
            "results": results,
        },
    )


if __name__ == "__main__":
    main()
