"""Commands that are killed, on little data: what is run again, and where its output is.

What imports PyTorch is imported by the scenarios that need it.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hardpairs.cli import (
    embed,
    evaluate,
    export,
    format_news,
    link,
    list_shards,
    mine,
    photos,
    report,
    retrieve,
    split,
    train,
)
from hardpairs.data.hard_pairs import open_hard_pairs, write_table
from hardpairs.data.url_index import rows_by_old_number, write_url_index
from tests.helpers import picture, sample, write_tar
from tests.kills.operations import Main
from tests.linking.test_label_studio import task, written

NUMBER = "0123456789"


@dataclass(frozen=True)
class Scenario:
    """A command with its data.

    Attributes:
        main: Runs it; the same again after a kill.
        out: The folder that it writes.
        renamed: Returns the name under which a file is compared.
        content: Returns what is compared of a file, ``None`` for nothing.
        reset: Brings back what was there before the first run.
        processes: Numbers of processes that each start chooses from.
        is_pure: Whether this process can run it, to fill its own caches, and stays as it was.
    """

    main: Main
    out: Path
    renamed: Callable[[str], str] = str
    content: Callable[[Path], bytes | None] = Path.read_bytes
    reset: Callable[[], None] = lambda: None
    processes: tuple[int, ...] = (1,)
    is_pure: bool = True


RANKS = (1, 2, 3)


def checkpoint(folder: Path) -> Scenario:
    """Three checkpoints of a run, the second one written anew."""
    import torch

    from hardpairs.models.weight_files import save_checkpoint

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


def _model(folder: Path) -> str:
    """Save a small model, and return the flags that name it."""
    import torch

    from hardpairs.models.create import create_model_and_transforms
    from hardpairs.models.model_config import register_configs
    from hardpairs.models.weight_files import save_checkpoint

    register_configs()
    torch.manual_seed(0)
    model = create_model_and_transforms("hardpairs-test")[0]
    words = [f"word{i}" for i in range(20)]
    save_checkpoint({"state_dict": model.state_dict(), "vocabulary": words}, folder / "model.pt")
    return f"--model hardpairs-test --pretrained {folder}/model.pt"


def index(folder: Path) -> Scenario:
    """Index twelve photos, and again after three are new."""
    _table(folder / "data", 12)
    out, images, later = folder / "out", folder / "data/images", folder / "later"
    later.mkdir()
    for i in range(9, 12):
        (images / f"{i}.jpg").rename(later / f"{i}.jpg")
    line = f"index {images} --out {out} {_model(folder)}"
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

    def content(path: Path) -> bytes | None:
        return None if path.name == "manifest.json" else path.read_bytes()  # main verifies it

    # The number of a generation counts how often it was tried.
    renamed = str.maketrans("", "", NUMBER)
    return Scenario(main, out, lambda name: name.translate(renamed), content, reset)


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


def url_index(folder: Path) -> Scenario:
    """Write an index of URLs, and convert by it hard pairs of a download that had other rows."""
    out = folder / "out"

    def reset() -> None:
        out.mkdir(exist_ok=True)
        (out / "h.csv").write_text(
            "".join(f"{i},{(i + 1) % 40},{(i + 2) % 40}\n" for i in range(40))
        )
        os.utime(out / "h.csv", (1, 1))

    def main() -> None:
        index = write_url_index(out, "x", ((f"http://x/{i}.jpg", i) for i in range(40)))
        rows = rows_by_old_number(index, [f"http://x/{i}.jpg" for i in range(49, 9, -1)])
        open_hard_pairs(out / "h.csv", num_samples=40, renumber=rows, verify=True)

    reset()
    return Scenario(main, out, reset=reset)


def news(folder: Path) -> Scenario:
    """Make CLIPPINGS' tables of labeled pairs that contradict each other."""
    tasks = [task(f"{i}a.jpg", f"{i}b.jpg", "Same") for i in range(12)]
    for one, other, said in (("0b", "1a", "Same"), ("0a", "1b", "Different")):
        tasks.append(task(f"{one}.jpg", f"{other}.jpg", said))
    pairs = written(folder, tasks)
    words = [str(pairs), "--out", str(folder / "out")]
    return Scenario(lambda: format_news.main(words), folder / "out")


def importing(folder: Path) -> Scenario:
    """Make a checkpoint of ours from one of MiniCLIP's."""
    import torch

    from hardpairs.cli import import_miniclip
    from tests.compat.test_miniclip_checkpoint import Lstm, Model, cnn, save

    torch.manual_seed(0)
    theirs = save(folder, Model(Lstm, encoder=cnn))
    line = f"{theirs} --captions-json {folder}/captions.json --out {folder}/out/model.pt"
    return Scenario(lambda: import_miniclip.main(line.split()), folder / "out")


def tables(folder: Path) -> Scenario:
    """Write a table of hard pairs, and another one of the same shape in its place."""
    out, indices = folder / "out", (np.arange(40)[:, None] + np.arange(1, 5)) % 40

    def main() -> None:
        for score in (1.0, 0.5):
            write_table(out / "x_hard_pairs", indices, np.full((40, 4), score), {"score": score})

    return Scenario(main, out)


def exporting(folder: Path) -> Scenario:
    """Write hard pairs for FlagEmbedding."""
    table, out = _table(folder / "data", 12), folder / "out"
    indices = (np.arange(12)[:, None] + np.arange(1, 5)) % 12
    write_table(folder / "pairs", indices, np.ones((12, 4)), {})
    line = f"{folder}/pairs --to fe-jsonl --data {table} --out {out}/train.jsonl"
    return Scenario(lambda: export.main(line.split()), out)


def linking(folder: Path) -> Scenario:
    """Link rows whose threshold is chosen by labels, with a page."""
    from tests.linking.stories import flags, write_news

    write_news(folder)
    out, words = folder / "out", flags(folder)
    return Scenario(lambda: link.main(words), out)


def evaluation(folder: Path) -> Scenario:
    """Evaluate a model by pairs, and search by it among their images."""
    data, out = _table(folder / "data", 12), folder / "out"
    line = f"{_model(folder)} --workers 0 --device cpu"
    measured = f"{line} --data {data} --baselines --results-dir {out} --out {out}/run".split()
    searched = f"{line} --query {data} --gallery {data} --out {out}/search".split()

    def main() -> int:
        return evaluate.main(measured) or retrieve.main(searched)

    def content(path: Path) -> bytes:
        if path.name == "run_registry.csv":  # an evaluation that is repeated has another line
            return b"".join(sorted({*path.read_bytes().splitlines()}))
        return path.read_bytes()

    return Scenario(main, out, content=content)


def reporting(folder: Path) -> Scenario:
    """Make the page of a run, and its numbers as JSON."""
    from tests.reporting.runs import write_data, write_run

    run, out = write_run(write_data(folder), "base", trained=False), folder / "out"
    words = [str(run), "--out", f"{out}/report.html", "--summary", f"{out}/summary.json"]
    return Scenario(lambda: report.main(words), out)


def mining(folder: Path, more: str = "") -> Scenario:
    """Mine embeddings, with a commit after each step."""
    rng, rows = np.random.default_rng(0), 600
    centers, near = rng.normal(size=(2, 20, 16)), rng.integers(0, 20, rows)
    for side in range(2):
        noise = 0.6 * rng.normal(size=(rows, 16))
        np.save(folder / f"{side}.npy", (centers[side][near] + noise).astype(np.float32))
    line = f"--image-embeddings {folder}/0.npy --text-embeddings {folder}/1.npy --dataset x"
    more += f" --topk 8 --commit-seconds 0 --device cpu --save-path {folder}/out"
    words = (line + more).split()
    return Scenario(lambda: mine.main([*words]), folder / "out")


def mining_in_a_ring(folder: Path) -> Scenario:
    """Mine embeddings on processes that keep a share of them each."""
    return mining(folder, " --rows ring")


def training(folder: Path, processes: int = 1) -> Scenario:
    """Train for two epochs of three steps, with a state after each, and keep the best epoch."""
    table, out = _table(folder / "data", 24), folder / "out"
    line = (
        "--model hardpairs-test --device cpu --precision fp32 --workers 0 --warmup 1 "
        "--csv-separator , --csv-img-key filepath --csv-caption-key title --batching random "
        f"--train-data {table} --batch-size {8 // processes} --epochs 2 --log-every-n-steps 1 --logs {out} "
        f"--name r --resume latest --save-every-steps 1 --val-data {table} --val-frequency 1 "
        "--save-best mean_R@1"
    )

    def content(path: Path) -> bytes | None:
        if path.suffix == ".pt":
            import torch

            return _fingerprint(torch.load(path, weights_only=True)).encode()
        if path.name == "results.jsonl":
            return path.read_bytes()
        if path.name == "metrics.csv":
            return str(_losses(path)).encode()
        return None

    return Scenario(
        lambda: train.main(line.split()),
        out,
        content=content,
        processes=(processes,),
        is_pure=False,
    )


def _losses(path: Path) -> dict[str, str]:
    """Return the loss of each step; a step that was trained again has two lines."""
    with open(path, newline="") as file:
        return {row["step"]: row["loss"] for row in csv.DictReader(file)}


def _fingerprint(value: Any) -> str:
    """Return a text that tells nested plain data and tensors apart by their bits."""
    import torch

    if isinstance(value, torch.Tensor):
        data = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return f"{value.dtype}{tuple(value.shape)}{hashlib.sha256(data).hexdigest()}"
    if isinstance(value, dict):
        return str(sorted((str(name), _fingerprint(part)) for name, part in value.items()))
    if isinstance(value, list | tuple):
        return str([_fingerprint(part) for part in value])
    return repr(value)


def on_ranks(make: Callable[[Path], Scenario]) -> Callable[[Path], Scenario]:
    """Return the maker of a scenario that each start runs on another number of processes."""
    return lambda folder: dataclasses.replace(make(folder), processes=RANKS)


SCENARIOS: dict[str, Callable[[Path], Scenario]] = {
    "checkpoint": checkpoint,
    "conversion": conversion,
    "url-index": url_index,
    "format-news": news,
    "import-miniclip": importing,
    "table": tables,
    "split": splitting,
    "list-shards": listing,
    "export": exporting,
    "link": linking,
    "evaluate and retrieve": evaluation,
    "report": reporting,
    "index": index,
    "embed": embedding,
    "mine": mining,
    "mine on 1 to 3 processes": on_ranks(mining),
    "mine in a ring": on_ranks(mining_in_a_ring),
    "embed on 1 to 3 processes": on_ranks(embedding),
    "train": training,
    "train on 2 processes": functools.partial(training, processes=2),
}
