"""The study: bases, hard pairs and runs of all recipes, in a folder that a killed study goes on in.

OUT/study.json                      what is compared, fixed before the test data is opened
OUT/split-S/base.pt, base.json      heads trained until validation stops rising
OUT/split-S/mined-METHOD_hard_pairs/
OUT/split-S/runs/NAME.json, .pt     one run: its validation curve, its heads
OUT/validation.json                 the setting that validation chose of each recipe
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hardpairs.batches.sources import open_stored_embeddings
from hardpairs.core.atomic import write_json
from hardpairs.core.errors import Exit, UserError, usage
from hardpairs.core.interrupts import goes_on
from hardpairs.core.progress import check_recipe
from hardpairs.data.embeddings import Embeddings
from hardpairs.data.manifest import stable_ids
from hardpairs.data.opening import open_samples
from hardpairs.data.samples import Samples
from hardpairs.data.tables import is_table, read_table
from hardpairs.mining.dataset import mine_dataset, write_mined
from hardpairs.mining.options import CROSS_MODAL, MiningOptions
from hardpairs.models.checkpoint import load_checkpoint
from hardpairs.models.weight_files import save_checkpoint
from hardpairs.recipes.features import Features, Fold, load_features
from hardpairs.recipes.heads import Heads
from hardpairs.recipes.plan import Plan, RunName
from hardpairs.recipes.recipe import Recipe, Setting, parse_setting
from hardpairs.recipes.training import CHOICE, Budget, Trained, measure_queries, train
from hardpairs.recipes.whole_models import WholeModel, measure_model, start_model, train_model
from hardpairs.recipes.workers import Workers

DEPTH = 50
"""Hard pairs of each row that are mined."""
BASE_EPOCHS, BASE_PATIENCE = 200, 5
"""Epochs of a base, at most, and those without a better validation after which it ends."""


class Study:
    """A study in its folder.

    Args:
        out: The folder; ``study.json`` is there.
        plan: What is compared.
    """

    def __init__(self, out: Path, plan: Plan) -> None:
        self.out, self.plan = out, plan
        self.recipes = tuple(
            Recipe(name, tuple(parse_setting(text, name) for text in texts))
            for name, texts in plan.recipes.items()
        )

    @classmethod
    def begin(cls, out: Path, plan: Plan) -> Study:
        """Begin a study, or go on with the one of the folder.

        Raises:
            UserError: Exit 4, the folder holds a study of something else.
        """
        if not check_recipe(out / "study.json", asdict(plan), kind="a study"):
            write_json(out / "study.json", asdict(plan))
        return cls(out, plan)

    @functools.cached_property
    def samples(self) -> Samples:
        """The data set."""
        return open_samples(self.plan.data, **self.plan.sample_options)

    @functools.cached_property
    def features(self) -> Features:
        """The stored embeddings of the data set."""
        embeddings = open_stored_embeddings(self.plan.embeddings, self.samples)
        return load_features(self.samples, embeddings, self._things())

    def _things(self) -> np.ndarray | None:
        """Return an id of each row's value in the column ``split_key``."""
        key = self.plan.split_key
        if key is None:
            return None
        if not is_table(self.plan.data):
            raise usage("`split_key` is a column of a table", where=self.plan.data)
        separator = self.plan.sample_options["separator"]
        columns = read_table(
            self.plan.data, separator, required=(key,), parameters={key: "split_key"}
        )
        return stable_ids(columns[key])

    @functools.cache  # noqa: B019  (a study lives as long as its process)
    def fold(self, split: int) -> Fold:
        """Return the rows of a split's parts."""
        return Fold.of(self.features, seed=split)

    def folder(self, split: int) -> Path:
        """Return the folder of a split."""
        return self.out / f"split-{split}"

    def new_heads(self, split: int) -> Heads:
        """Return untrained heads."""
        widths = self.features.image.shape[1], self.features.text.shape[1]
        return Heads(*widths, self.plan.width, seed=split)

    def base(self, split: int) -> Heads:
        """Return the base of a split: heads trained until validation stopped rising."""
        return self.load(split, self.folder(split) / "base.pt")

    def load(self, split: int, path: Path) -> Heads:
        """Return stored heads."""
        heads = self.new_heads(split)
        heads.load_state_dict(load_checkpoint(path))
        return heads

    def steps(self, split: int, setting: Setting) -> int:
        """Return the optimizer steps of a run."""
        plain = self.plan.epochs * math.ceil(len(self.fold(split).train) / self.plan.batch_size)
        return max(1, plain * setting.sample_factor // setting.batch_factor)

    @functools.cached_property
    def whole(self) -> WholeModel | None:
        """The model whose weights are trained; ``None``: heads over the embeddings are."""
        return None if self.plan.whole is None else WholeModel(**self.plan.whole)

    @property
    def has_heads(self) -> bool:
        """Tell whether the runs of a split start from heads over the embeddings."""
        return self.whole is None or self.whole.on_heads

    def measure(
        self, split: int, path: Path | None, rows: np.ndarray
    ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Return the retrieval metrics of some rows, and the ranks by query.

        Args:
            split: The split.
            path: What a run has stored; ``None``: what all runs of the split start from.
            rows: (M,) row numbers, ascending.
        """
        if self.whole is not None:
            return measure_model(
                self, path or start_model(self, split, self.whole), rows, self.whole
            )
        heads = self.base(split) if path is None else self.load(split, path)
        return measure_queries(heads, self.features, rows)

    def make_base(self, split: int) -> None:
        """Train the base of a split, at the highest rate: the others are for a gentle end."""
        fold, folder = self.fold(split), self.folder(split)
        if not self.has_heads or (folder / "base.json").is_file():
            return
        per_epoch = math.ceil(len(fold.train) / self.plan.batch_size)
        budget = Budget(
            self.plan.batch_size,
            BASE_EPOCHS * per_epoch,
            BASE_EPOCHS,
            max(self.plan.rates),
            seed=split,
            patience=BASE_PATIENCE,
        )
        start, plain = self.new_heads(split), parse_setting("")
        run = train(start, self.features, plain, fold.train, fold.val, budget)
        _save(folder, "base", run, {"rate": budget.rate, "epochs": run.steps / per_epoch})

    def mine(self, split: int, method: str) -> None:
        """Mine the hard pairs of a split's training rows in the stored embeddings.

        Images are compared with captions in the space of the base's heads, which training goes on
        from: the stored features of two towers may be of no common space.
        """
        folder = self.mined(split, method)
        if (folder / "manifest.json").is_file():
            return
        embeddings = open_stored_embeddings(self.plan.embeddings, self.samples)
        if method == CROSS_MODAL and self.has_heads:
            embeddings = self._by_base(split, embeddings)
        others = np.setdiff1d(np.arange(len(self.samples)), self.fold(split).train)
        reject = dict.fromkeys(others.tolist(), "another_part")
        options = MiningOptions(top_k=min(DEPTH, len(self.fold(split).train) - 1), method=method)
        mined = mine_dataset(embeddings, options, reject=reject)
        assert mined is not None
        write_mined(folder.parent, f"mined-{method}", mined, embeddings, options)

    def _by_base(self, split: int, embeddings: Embeddings) -> Embeddings:
        """Return the embeddings of the same rows by a split's base."""
        rows = np.array(embeddings.rows)  # writable, which PyTorch asks for
        with torch.no_grad():
            image, text, _ = self.base(split)(self.features.image[rows], self.features.text[rows])
        manifest = {**embeddings.manifest, "one_space": True}
        return replace(embeddings, image=image.numpy(), text=text.numpy(), manifest=manifest)

    def mined(self, split: int, method: str) -> Path:
        """Return the folder of a split's hard pairs."""
        return self.folder(split) / f"mined-{method}_hard_pairs"

    def setting(self, run: RunName) -> Setting:
        """Return the setting of a run, with the files that it reads."""
        recipe = next(recipe for recipe in self.recipes if recipe.name == run.recipe)
        setting = recipe.settings[run.setting]
        mined = self.mined(run.split, setting.mined) if setting.needs_hard_pairs else None
        return setting.with_paths(self.plan.embeddings, None if mined is None else str(mined))

    def make_run(self, run: RunName) -> None:
        """Make a run. One whose loss is not finite is recorded as such."""
        folder = self.folder(run.split) / "runs"
        if (folder / f"{run.stem}.json").is_file():
            return
        setting, fold = self.setting(run), self.fold(run.split)
        if self.whole is not None:
            train_model(self, run, setting, self.whole)
            return
        budget = Budget(
            self.plan.batch_size * setting.batch_factor,
            self.steps(run.split, setting),
            self.plan.epochs,
            run.rate,
            run.seed,
        )
        facts = {"setting": setting.text, "rows": budget.rows, "rate": run.rate}
        try:
            trained = train(
                self.base(run.split), self.features, setting, fold.train, fold.val, budget
            )
        except UserError as error:
            if error.code != Exit.NON_FINITE:
                raise
            write_json(folder / f"{run.stem}.json", {**facts, "diverged": str(error)})
            return
        _save(folder, run.stem, trained, facts)

    def record(self, run: RunName) -> dict[str, Any]:
        """Return the record of a finished run."""
        path = self.folder(run.split) / f"runs/{run.stem}.json"
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return record

    def candidates(self, recipe: Recipe, split: int) -> list[RunName]:
        """Return the runs that validation chooses among: each setting at each rate."""
        return [
            RunName(split, recipe.name, setting, rate, 0)
            for setting in range(len(recipe.settings))
            for rate in self.plan.rates
        ]

    def chosen(self, recipe: Recipe, split: int) -> list[RunName]:
        """Return the runs of the setting and rate that a split's validation data chose, by seed."""
        best = max(self.candidates(recipe, split), key=lambda run: _value(self.record(run)))
        return [
            RunName(split, recipe.name, best.setting, best.rate, seed)
            for seed in range(self.plan.seeds)
        ]


def run_study(study: Study, jobs: int = 1) -> dict[str, Any]:
    """Make all runs that are missing, and write ``validation.json``.

    Args:
        study: The study.
        jobs: Processes, each of which makes one run at a time.

    Returns:
        For each recipe and split: setting, rate, and metrics of the validation data by seed.
    """
    splits = range(study.plan.splits)
    methods = {
        setting.mined
        for recipe in study.recipes
        for setting in recipe.settings
        if setting.needs_hard_pairs
    }
    with Workers(study, jobs, open_study, study.out) as workers:
        workers.run("bases", "make_base", list(splits))
        for split in splits:
            for method in sorted(methods):
                study.mine(split, method)
        candidates = (study.candidates(r, split) for split in splits for r in study.recipes)
        workers.run("settings", "make_run", [run for runs in candidates for run in runs])
        chosen = {
            recipe.name: [study.chosen(recipe, split) for split in splits]
            for recipe in study.recipes
        }
        seeds = [run for by_split in chosen.values() for runs in by_split for run in runs]
        workers.run("seeds", "make_run", seeds)
    result = {
        name: [_summary(study, runs) for runs in by_split] for name, by_split in chosen.items()
    }
    write_json(study.out / "validation.json", result)
    return result


def chosen_runs(study: Study) -> dict[str, list[list[RunName]]]:
    """Return the chosen runs by recipe, split and seed.

    Raises:
        UserError: Exit 3 when the study is not finished.
    """
    try:
        return {
            recipe.name: [study.chosen(recipe, split) for split in range(study.plan.splits)]
            for recipe in study.recipes
        }
    except FileNotFoundError as error:
        raise UserError(
            Exit.BAD_INPUT,
            "the study is not finished",
            where=str(error.filename),
            fix="start it again with the same command; it goes on",
        ) from None


def open_study(out: Path) -> Study:
    """Return the study of a folder.

    Raises:
        UserError: Exit 3 when the folder holds none.
    """
    return Study(out, Plan.read(out))


def _summary(study: Study, runs: list[RunName]) -> dict[str, Any]:
    """Return what validation says of the chosen setting of a split."""
    records = [study.record(run) for run in runs]
    return {
        "setting": records[0]["setting"],
        "rate": runs[0].rate,
        "rows": records[0]["rows"],
        "R@1": [record.get("metrics", {}).get("mean_R@1") for record in records],
        "MRR": [record.get("metrics", {}).get("mean_MRR") for record in records],
        "seconds": [record.get("seconds") for record in records],
        "diverged": sum("diverged" in record for record in records),
    }


def _value(record: dict[str, Any]) -> float:
    return float(record["metrics"][CHOICE]) if "metrics" in record else -math.inf


def _save(folder: Path, stem: str, trained: Trained, facts: dict[str, Any]) -> None:
    """Write the heads, then the record, which says that the run is finished."""
    save_checkpoint(trained.state, folder / f"{stem}.pt")
    record = asdict(trained)
    del record["state"]
    write_json(folder / f"{stem}.json", {**facts, **record})
    goes_on()
