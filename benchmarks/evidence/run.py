"""Fetch a real data set and a start model, compare the recipes on it, and open the test data.

    python -m benchmarks.evidence.run openclipart --work /tmp/evidence --jobs 2

Writes benchmarks/evidence/results/NAME.json and .md. ``STUDIES`` is the list of comparisons; it was
in the repository before any test data was opened (README.md beside this file says when that was).
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import describe_machine
from hardpairs.data.manifest import NAME
from hardpairs.models.model_folder import CONFIG

RESULTS = Path(__file__).parent / "results"
MODEL = "lite0-minilm"
RECIPES = (
    *("plain", "longer", "large-batch", "large-batch-longer"),
    *("hard-pairs", "hard-pairs-text", "neighborhood", "sanw", "hardness"),
    *("memory", "hard-pairs-memory", "global", "guided", "blended"),
)
"""The recipes of every study; plain is the reference, and the first four have no hard pairs."""


@dataclass(frozen=True)
class EvidenceStudy:
    """A study: the data set and how much is trained.

    Attributes:
        data: Words after ``hardpairs data get``; the first one names the folders.
        splits: Random splits by thing.
        seeds: Runs of each recipe and split.
        epochs: Epochs of the plain recipe.
        batch_size: Rows of its batches.
        recipes: The recipes that are compared: names, or ``NAME: FLAGS``; plain is one of them.
        rates: Learning rates that validation chooses among.
        image_size: Pixels of the start model's input.
        context: Tokens of its captions.
        whole: Flags of the trainer for runs that train the whole model; empty: heads are trained.
    """

    data: tuple[str, ...]
    splits: int = 5
    seeds: int = 2
    epochs: int = 5
    batch_size: int = 64
    recipes: tuple[str, ...] = RECIPES
    rates: tuple[str, ...] = ("1e-4", "1e-3")
    image_size: int = 224
    context: int = 32
    whole: tuple[str, ...] = ()


EMOJI = ("emoji", "--limit", "4000")
ICONS = ("icons", "--limit", "12000")
FEW_ICONS = ("icons", "--limit", "3000")
MAP_RECIPES = ("plain", "large-batch", "large-batch-longer", "hard-pairs", "memory")
"""The recipes whose difference is shown over sizes of data and batch."""


def map_studies(
    name: str, data: tuple[str, ...], sizes: tuple[int, ...]
) -> dict[str, EvidenceStudy]:
    """Return one study per batch size, named like ``icons-32``."""
    return {
        f"{name}-{size}": EvidenceStudy(
            data, splits=3, seeds=1, batch_size=size, recipes=MAP_RECIPES
        )
        for size in sizes
    }


def matched_studies() -> dict[str, EvidenceStudy]:
    """Return studies of a memory whose past batches have the moments of the present one."""
    recipes = ("plain", "memory", "memory-matched")
    sets = {
        "tuxpaint": (("tuxpaint",), 5, 64),
        "openclipart": (("openclipart",), 5, 128),
        "emoji": (EMOJI, 3, 128),
        "few-icons": (FEW_ICONS, 3, 128),
        "icons": (ICONS, 3, 128),
    }
    return {
        f"{name}-matched": EvidenceStudy(
            data, splits=splits, seeds=1, batch_size=batch_size, recipes=recipes
        )
        for name, (data, splits, batch_size) in sets.items()
    }


GRID_BATCHES = {
    "random": "",
    "image": "--batching hard-pairs --hard-topk 10 --mined image",
    "text": "--batching hard-pairs --hard-topk 10 --mined text",
    "HPM": "--batching hard-pairs --hard-topk 10 --mined HPM",
    "cross-modal": "--batching hard-pairs --hard-topk 10 --mined cross-modal",
    "neighborhood": "--batching neighbourhood --neighbourhood-size 8",
}
GRID_LOSSES = {
    "clip": "",
    "sanw": "--loss-fn sanw_debias",
    "margin": "--margin-weight .1",
    "memory": "--memory-batches 4",
    "global": "--loss-fn global",
}


def grid_recipes() -> tuple[str, ...]:
    """Return each way to make batches with each loss; the margin needs hard pairs of the batch."""
    return tuple(
        f"{batches}+{loss}: {how} {weights}"
        for batches, how in GRID_BATCHES.items()
        for loss, weights in GRID_LOSSES.items()
        if (batches, loss) != ("random", "clip") and (loss != "margin" or "hard-pairs" in how)
    )


def grid(data: tuple[str, ...], batch_size: int, splits: int = 5) -> EvidenceStudy:
    """Return a study of ``grid_recipes``; random batches with CLIP's loss are its plain recipe."""
    recipes = ("plain", *grid_recipes())
    return EvidenceStudy(data, splits, seeds=1, batch_size=batch_size, recipes=recipes)


WHOLE_RECIPES = (
    *("plain", "hard-pairs: --batching hard-pairs --hard-topk 50"),
    *("memory: --memory-batches 16", "global"),
)
"""Plain, hard pairs, and the best two of the heads' studies."""
MATCHED = "memory-matched: --memory-batches 16 --memory-match"


def whole_models(
    data: tuple[str, ...], splits: int, epochs: int, recipes: tuple[str, ...] = WHOLE_RECIPES
) -> EvidenceStudy:
    """Return a study of all weights.

    Images and captions are as small as these drawings and names allow, for two cores.
    """
    return EvidenceStudy(
        data,
        splits=splits,
        seeds=1,
        epochs=epochs,
        recipes=recipes,
        rates=("1e-4",),
        image_size=64,
        context=12,
        whole=("--precision", "fp32", "--workers", "1", "--freeze-bn-stats"),
    )


STUDIES = {
    "tuxpaint": EvidenceStudy(("tuxpaint",)),
    "openclipart": EvidenceStudy(("openclipart",), seeds=1, batch_size=128),
    "emoji": EvidenceStudy(EMOJI, splits=3, seeds=1, batch_size=128),
    "icons": EvidenceStudy(ICONS, splits=3, seeds=1, batch_size=128),
    **map_studies("emoji", EMOJI, (32, 512)),
    **map_studies("icons", ICONS, (32, 512, 2048)),
    **map_studies("few-icons", FEW_ICONS, (32, 128, 512)),
    "tuxpaint-grid": grid(("tuxpaint",), batch_size=64),
    "openclipart-grid": grid(("openclipart",), batch_size=128),
    "emoji-grid": grid(EMOJI, batch_size=128, splits=3),
    "icons-whole": whole_models(ICONS, splits=2, epochs=1),
    "icons-whole-matched": whole_models(ICONS, splits=2, epochs=1, recipes=("plain", MATCHED)),
    "emoji-whole": whole_models(EMOJI, splits=3, epochs=2, recipes=(*WHOLE_RECIPES, MATCHED)),
    "openclipart-whole": whole_models(
        ("openclipart",), splits=3, epochs=2, recipes=(*WHOLE_RECIPES[:2], MATCHED)
    ),
    "tuxpaint-whole": whole_models(
        ("tuxpaint",), splits=3, epochs=4, recipes=(*WHOLE_RECIPES[:3], MATCHED)
    ),
    **matched_studies(),
}


def main() -> None:
    """Run one study."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=STUDIES)
    parser.add_argument("--work", type=Path, required=True, help="folder for data and study")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    args = parser.parse_args()
    study, work = STUDIES[args.name], args.work
    data, model = work / data_name(study), work / f"{MODEL}-{study.image_size}-{study.context}"
    embeddings, out = work / f"{data.name}-by-{model.name}", work / f"{args.name}-study"
    run("data", "get", *study.data, "--out", data)
    run("models", "get", MODEL, "--out", work / MODEL)
    write_sized(work / MODEL, model, study.image_size, study.context)
    table = join_parts(data)
    run(
        *("embed", "--csv", table, "--model", f"local-dir:{model}", "--without-projection"),
        *("--out", embeddings),
    )
    named = [recipe for recipe in study.recipes if ":" not in recipe]
    flags = [word for recipe in study.recipes if ":" in recipe for word in ("--recipe", recipe)]
    whole = ("--full", "--model", f"local-dir:{model}", "--", *study.whole) if study.whole else ()
    run(
        *("compare", "recipes", table, "--embeddings", embeddings, "--out", out),
        *("--split-key", "thing", "--recipes", ",".join(named), *flags, "--lr", *study.rates),
        *("--splits", study.splits, "--seeds", study.seeds, "--epochs", study.epochs),
        *("--batch-size", study.batch_size, "--jobs", args.jobs, *whole),
    )
    run("compare", "open-test", out)
    record = json.loads((out / "recipes.json").read_text())
    for name in ("data", "embeddings"):
        record["plan"][name] = Path(record["plan"][name]).name
    for name in ("model", "pretrained") if record["plan"]["whole"] else ():
        record["plan"]["whole"][name] = Path(record["plan"]["whole"][name]).name
    command = f"python -m benchmarks.evidence.run {args.name} --work WORK"
    result = {"command": command, "machine": describe_machine(), **record}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{args.name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / f"{args.name}.md").write_text((out / "recipes.md").read_text())


def data_name(study: EvidenceStudy) -> str:
    """Return the name of a study's data set."""
    return "few-icons" if study.data == FEW_ICONS else study.data[0]


def run(*words: object) -> None:
    """Run a command of ours, which keeps what is finished."""
    subprocess.run([sys.executable, "-m", "hardpairs.cli", *map(str, words)], check=True)


def write_sized(start: Path, model: Path, image_size: int, context: int) -> None:
    """Copy a start model, with other pixels and tokens of its input."""
    shutil.copytree(start, model, dirs_exist_ok=True, ignore=shutil.ignore_patterns(NAME))
    config = json.loads((start / CONFIG).read_text(encoding="utf-8"))
    config["model_cfg"]["vision_cfg"]["image_size"] = image_size
    config["preprocess_cfg"]["size"] = image_size
    config["model_cfg"]["text_cfg"]["context_length"] = context
    (model / CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")


def join_parts(folder: Path) -> Path:
    """Join the tables of a data set's parts: the study makes splits of its own."""
    out = folder / "all.csv"
    parts = [
        list(csv.reader((folder / f"{part}.csv").open(encoding="utf-8", newline="")))
        for part in ("train", "val", "test")
    ]
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(parts[0][0])
        writer.writerows(row for part in parts for row in part[1:])
    return out


if __name__ == "__main__":
    main()
