"""What in the settings of `quickstart --offline` makes the gain: continuations of its base, judged on its
validation photographs.

    bash scripts/quickstart.sh --offline && python -m benchmarks.quality --out benchmarks/results/quality.json
    python -m benchmarks.quality --seeds 3 --only "hard, 3 partners of 20" "hard, 3 of 20, SANW delta .6" \\
        "hard, 3 of 20, SANW delta .6, partners exempt" --out benchmarks/results/exempt.json

Each variant changes one thing of the quickstart's continuation and is trained with the same number
of pairs seen. The test photographs are not looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.machine import describe_machine
from hardpairs.core.atomic import write_json

MODEL = "hardpairs-small"
PAIRS_SEEN = 16_000
METRICS = (
    "image_to_text_R@1",
    "text_to_image_R@1",
    "image_to_text_beats_hard_pairs",
    "text_to_image_beats_hard_pairs",
)


def _plain(batch: int = 32, *flags: str) -> tuple[int, tuple[str, ...]]:
    return batch, ("--batching", "random", "--freeze-bn-stats", *flags)


def _hard(
    partners: int = 3, depth: int = 20, *flags: str, batch: int = 32
) -> tuple[int, tuple[str, ...]]:
    mined = (
        "--use-hard",
        "--hard-dict-dir",
        "PAIRS",
        "--hard-per-target",
        str(partners),
        "--hard-topk",
        str(depth),
    )
    return batch, (*mined, "--freeze-bn-stats", *flags)


def _moving_norms(variant: tuple[int, tuple[str, ...]]) -> tuple[int, tuple[str, ...]]:
    return variant[0], tuple(flag for flag in variant[1] if flag != "--freeze-bn-stats")


VARIANTS = {
    "plain": _plain(),
    "hard, 3 partners of 20": _hard(),
    "hard, 1 partner of 50": _hard(1, 50),
    "plain, batch 128": _plain(128),
    "hard, 3 of 20, batch 128": _hard(batch=128),
    "plain, moving batch norms": _moving_norms(_plain()),
    "hard, 3 of 20, moving batch norms": _moving_norms(_hard()),
    "hard, 3 of 20, SANW delta .6": _hard(3, 20, "--loss-fn", "sanw_debias", "--sanw-delta", "0.6"),
    "hard, 3 of 20, SANW delta .6, partners exempt": _hard(
        3, 20, "--loss-fn", "sanw_debias", "--sanw-delta", "0.6", "--sanw-exempt-partners"
    ),
    "hard, 3 of 20, margin .3": _hard(3, 20, "--margin-weight", "0.3"),
}


def command(*parts: str) -> None:
    done = subprocess.run(
        parts, capture_output=True, text=True, env={**os.environ, "PROCESSES": "2"}
    )
    if done.returncode:
        sys.exit(f"{' '.join(parts)}\n{done.stderr[-2000:]}")


def prepare(runs: Path, data: Path, work: Path) -> None:
    """The validation photographs' hard pairs by the base model: what "beats its hard pairs" is
    measured on.
    """
    base = str(runs / "base/checkpoints/epoch_1.pt")
    command(
        sys.executable,
        "-m",
        "mining.embed",
        "--csv",
        f"{data}/val.csv",
        "--model",
        MODEL,
        "--pretrained",
        base,
        "--out",
        f"{work}/embeddings",
    )
    command(
        sys.executable,
        "-m",
        "mining.hard_pair_mining",
        "--dataset",
        "val",
        "--save_path",
        str(work),
        "--embeddings",
        f"{work}/embeddings",
    )


def evaluate(checkpoint: Path, data: Path, work: Path, name: str) -> dict[str, float]:
    out = work / name
    command(
        *(
            sys.executable,
            "-m",
            "tools.evaluate",
            "--model",
            MODEL,
            "--pretrained",
            str(checkpoint),
            "--data",
            f"{data}/val.csv",
        ),
        *("--hard-pairs", f"{work}/val_hard_sample.csv", "--method", name, "--out", str(out)),
    )
    record = json.loads((out / "evaluation.json").read_text())
    return {metric: record[metric] for metric in METRICS}


def run_variant(name: str, runs: Path, data: Path, work: Path, seed: int) -> dict[str, float]:
    """Trains one variant in two processes and evaluates it; a run that is there is used."""
    batch, flags = VARIANTS[name]
    run = f"{name} seed {seed}".replace(" ", "_").replace(",", "")
    checkpoint = work / run / "checkpoints/epoch_1.pt"
    if not checkpoint.exists():
        flags = tuple(
            str(runs / "mined/train_hard_sample.csv") if flag == "PAIRS" else flag for flag in flags
        )
        command(
            *(
                "bash",
                "scripts/train_node.sh",
                "--train-data",
                f"{data}/train.csv",
                "--csv-separator",
                ",",
                "--model",
                MODEL,
            ),
            *(
                "--pretrained",
                str(runs / "base/checkpoints/epoch_1.pt"),
                "--precision",
                "fp32",
                "--device",
                "cpu",
                "--workers",
                "1",
            ),
            *(
                "--batch-size",
                str(batch // 2),
                "--max-steps",
                str(PAIRS_SEEN // batch),
                "--lr",
                "2e-4",
                "--warmup",
                "10",
            ),
            *("--seed", str(seed), "--logs", str(work), "--name", run, *flags),
        )
    return evaluate(checkpoint, data, work, run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/quickstart-offline"))
    parser.add_argument("--data", type=Path, default=Path("data/quickstart-offline"))
    parser.add_argument("--work", type=Path, default=Path("runs/quality"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument(
        "--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    prepare(args.runs, args.data, args.work)
    results = {
        "base": [evaluate(args.runs / "base/checkpoints/epoch_1.pt", args.data, args.work, "base")]
    }
    print("| variant | " + " | ".join(METRICS) + " |\n|---|" + "---|" * len(METRICS))
    for name in ("base", *args.only):
        if name not in results:
            results[name] = [
                run_variant(name, args.runs, args.data, args.work, seed)
                for seed in range(args.seeds)
            ]
        means = (sum(r[metric] for r in results[name]) / len(results[name]) for metric in METRICS)
        print(f"| {name} | " + " | ".join(f"{100 * mean:.1f}" for mean in means) + " |", flush=True)
        write_json(
            args.out,
            {
                "command": " ".join(["python -m benchmarks.quality", *sys.argv[1:]]),
                "machine": describe_machine(),
                "split": "val",
                "results": results,
            },
        )


if __name__ == "__main__":
    main()
