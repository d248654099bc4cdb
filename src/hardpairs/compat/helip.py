"""HELIP (arXiv 2305.05208): its spellings of the mining and training flags."""

from __future__ import annotations

from hardpairs.compat.spelling import System, same

HELIP = System(
    title="HELIP (arXiv 2305.05208, github.com/haonan3/HELIP-NAACL-2025)",
    spellings={
        "mine": {
            "--dataset": same(),
            "--save_path": same(),
            "--topk": same(),
            "--mining_method": same(),
            "--approx": same(),
            "--start_tar": same(),
            "--end_tar": same(),
        },
        "embed": {"--start_tar": same(), "--end_tar": same()},
        "train": {"--use-hard": same(), "--hard-dict-dir": same()},
    },
    note="All other flags of its training are OpenCLIP's.",
)
