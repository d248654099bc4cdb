"""Commands that are killed, on little data: what is run again, and where its output is."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from hardpairs.cli import embed, list_shards, photos, split
from hardpairs.data.hard_pairs import open_hard_pairs
from hardpairs.models.create import create_model_and_transforms
from hardpairs.models.model_config import register_configs
from hardpairs.models.weight_files import save_checkpoint
from tests.helpers import picture, sample, write_tar
from tests.kills.operations import Main

NUMBER = "0123456789"


@dataclass(frozen=True)
class Scenario:
    """A command with its data.

    Attributes:
        main: Runs it; the same again after a kill.
        out: The folder that it writes.
        renamed: Returns the name under which a file is compared; empty: it is not.
        reset: Brings back what was there before the first run.
    """

    main: Main
    out: Path
    renamed: Callable[[str], str] = str
    reset: Callable[[], None] = lambda: None


def checkpoint(folder: Path) -> Scenario:
    """Three checkpoints of a run, the second one written anew."""
    out = folder / "out"

    def main() -> None:
        for name, epoch in (("epoch_1.pt", 1), ("best.pt", 1), ("epoch_2.pt", 2), ("best.pt", 2)):
            save_checkpoint({"epoch": epoch, "state_dict": {"a": torch.arange(400.0)}}, out / name)

    return Scenario(main, out)


def _table(folder: Path, count: int) -> Path:
    (folder / "images").mkdir(parents=True)
    with open(folder / "pairs.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "title"])
        for i in range(count):
            (folder / f"images/{i}.jpg").write_bytes(picture(i))
            writer.writerow([folder / f"images/{i}.jpg", f"picture number {i}"])
    return folder / "pairs.csv"


def embedding(folder: Path) -> Scenario:
    """Embed a table in three parts."""
    table, out = _table(folder / "data", 12), folder / "out"
    line = f"--csv {table} --model hardpairs-test --pretrained none --out {out} --part-rows 4"
    words = [*line.split(), "--batch-size", "4", "--workers", "0", "--device", "cpu"]
    return Scenario(lambda: embed.main(words), out)


def index(folder: Path) -> Scenario:
    """Index twelve photos, and again after three are new and one is gone."""
    _table(folder / "data", 12)
    out, images, later = folder / "out", folder / "data/images", folder / "later"
    later.mkdir()
    for i in range(9, 12):
        (images / f"{i}.jpg").rename(later / f"{i}.jpg")
    register_configs()
    torch.manual_seed(0)
    model = create_model_and_transforms("hardpairs-test")[0]
    words = [f"word{i}" for i in range(20)]
    save_checkpoint({"state_dict": model.state_dict(), "vocabulary": words}, folder / "model.pt")
    line = f"index {images} --out {out} --model hardpairs-test --pretrained {folder}/model.pt"
    words = [*line.split(), "--workers", "0", "--batch-size", "4", "--device", "cpu"]

    def main() -> int:
        for path in later.iterdir():
            if (images / path.name).exists():
                (images / path.name).unlink()
        if not (out / "manifest.json").exists():
            photos.main(words)
        for path in later.iterdir():
            shutil.copy2(path, images / path.name)
        return photos.main(words)

    def reset() -> None:
        for path in later.iterdir():
            (images / path.name).unlink(missing_ok=True)

    # The number of a generation counts how often it was tried.
    return Scenario(main, out, lambda name: name.translate({ord(i): None for i in NUMBER}), reset)


def splitting(folder: Path) -> Scenario:
    """Split a table into three."""
    table, out = _table(folder / "data", 24), folder / "out"
    return Scenario(lambda: split.main(["--data", str(table), "--out", str(out)]), out)


def listing(folder: Path) -> Scenario:
    """List the samples of two shards, and copy their images."""
    out = folder / "out"
    for shard in range(2):
        samples = {f"{i:04d}": sample(4 * shard + i) for i in range(4)}
        write_tar(folder / f"shards/{shard:05d}.tar", samples)
    line = ["--shards", str(folder / "shards"), "--out", str(out / "t.csv")]
    words = [*line, "--extract", str(out / "images")]
    return Scenario(lambda: list_shards.main(words), out)


def conversion(folder: Path) -> Scenario:
    """Convert HELIP's CSV, which training does when it opens one."""
    out = folder / "out"
    rows = "".join(f"{i},{(i + 1) % 40},{(i + 2) % 40}\n" for i in range(40))

    def reset() -> None:
        out.mkdir(exist_ok=True)
        (out / "h.csv").write_text(rows)
        os.utime(out / "h.csv", (1, 1))

    reset()
    return Scenario(
        lambda: open_hard_pairs(out / "h.csv", num_samples=40, verify=True) and 0, out, reset=reset
    )


SCENARIOS: dict[str, Callable[[Path], Scenario]] = {
    "checkpoint": checkpoint,
    "conversion": conversion,
    "split": splitting,
    "list-shards": listing,
    "index": index,
    "embed": embedding,
}
