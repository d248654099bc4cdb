"""What a study compares: fixed before its first run, and stored beside its results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hardpairs.batches.sources import identity, open_stored_embeddings
from hardpairs.core.errors import Exit, UserError, usage
from hardpairs.core.parse import parse_json
from hardpairs.core.remote import is_url
from hardpairs.data.samples import Samples
from hardpairs.mining.options import CROSS_MODAL
from hardpairs.recipes.recipe import Recipe
from hardpairs.recipes.start_model import are_features_of
from hardpairs.recipes.whole_models import WholeModel

OTHER_WIDTH = 256
"""Length of the joint embedding where images and captions have embeddings of different lengths."""


@dataclass(frozen=True)
class Plan:
    """The recipes, data and sizes of a study.

    Attributes:
        data: Source of the data set.
        sample_options: How its rows are read: arguments of ``open_samples``.
        fingerprint: Identity of the data set.
        embeddings: Folder of its embeddings.
        embeddings_identity: SHA-256 of the embeddings.
        recipes: Settings by name of the recipe, as text.
        splits: Number of splits.
        seeds: Runs of the chosen setting of each recipe, per split.
        epochs: Epochs of the plain recipe.
        batch_size: Rows of its batches.
        rates: Learning rates that validation chooses among.
        width: Length of the joint embedding.
        split_key: Column of the table whose equal values stay in one part, beside groups.
        whole: Fields of ``WholeModel``: its weights are trained, instead of heads over the
            embeddings. ``None``: heads.
    """

    data: str
    sample_options: dict[str, Any]
    fingerprint: str
    embeddings: str
    embeddings_identity: str
    recipes: dict[str, list[str]]
    splits: int
    seeds: int
    epochs: int
    batch_size: int
    rates: list[float]
    width: int
    split_key: str | None = None
    whole: dict[str, Any] | None = None

    @classmethod
    def read(cls, out: Path) -> Plan:
        """Return the plan of a study's folder.

        Raises:
            UserError: Exit 3 when the folder holds none.
        """
        try:
            return cls(**parse_json((out / "study.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                Exit.BAD_INPUT,
                "the folder holds no study",
                where=str(out),
                why=str(error),
                fix="the --out of hardpairs compare recipes",
            ) from None


def plan_study(
    samples: Samples,
    sample_options: dict[str, Any],
    embeddings: str,
    recipes: Sequence[Recipe],
    *,
    splits: int,
    seeds: int,
    epochs: int,
    batch_size: int,
    rates: Sequence[float],
    width: int | None = None,
    split_key: str | None = None,
    whole: WholeModel | None = None,
) -> Plan:
    """Return the plan of a study.

    Args:
        samples: The data set.
        sample_options: The arguments that it was opened with.
        embeddings: Folder of its embeddings.
        recipes: What is compared.
        splits: As in ``Plan``.
        seeds: As in ``Plan``.
        epochs: As in ``Plan``.
        batch_size: As in ``Plan``.
        rates: As in ``Plan``.
        width: Length of the joint embedding; by default that of the embeddings, or
            ``OTHER_WIDTH`` where images and captions have different ones.
        split_key: As in ``Plan``.
        whole: The model whose weights are trained, in place of heads.

    Raises:
        UserError: Exit 3 or 4 for embeddings that are missing or of other data.
    """
    stored = open_stored_embeddings(embeddings, samples)
    widths = {stored.image.shape[1], stored.text.shape[1]}
    methods = {setting.mined for recipe in recipes for setting in recipe.settings}
    if whole is not None:
        whole = replace(whole, on_heads=are_features_of(stored, whole.weights))
    if whole and not whole.on_heads and CROSS_MODAL in methods and not stored.one_space:
        raise usage(
            f"--mined {CROSS_MODAL} compares images with captions, and these embeddings are not of "
            "one space",
            where=embeddings,
            fix="embed with the CLIP model that the runs start from",
        )
    return Plan(
        data=samples.source if is_url(samples.source) else os.path.abspath(samples.source),
        sample_options=sample_options,
        fingerprint=samples.fingerprint,
        embeddings=embeddings,
        embeddings_identity=identity(stored, embeddings),
        recipes={recipe.name: [s.text for s in recipe.settings] for recipe in recipes},
        splits=splits,
        seeds=seeds,
        epochs=epochs,
        batch_size=batch_size,
        rates=list(rates),
        width=width or (widths.pop() if len(widths) == 1 else OTHER_WIDTH),
        split_key=split_key,
        whole=None if whole is None else asdict(whole),
    )


@dataclass(frozen=True)
class RunName:
    """Identity of a run: split, recipe, number of the setting, learning rate, seed."""

    split: int
    recipe: str
    setting: int
    rate: float
    seed: int

    @property
    def stem(self) -> str:
        """The name of its files."""
        return f"{self.recipe}-{self.setting}-lr{self.rate:g}-seed{self.seed}"
