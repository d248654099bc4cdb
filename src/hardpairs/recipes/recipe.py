"""Recipes: named lists of settings, each written as flags of the trainer."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hardpairs.batches import BATCHES
from hardpairs.core.errors import usage, whole_number
from hardpairs.core.flags import (
    OptionGroup,
    add_flags,
    component_groups,
    given_flags,
    refuse_idle,
    refuse_unread,
)
from hardpairs.core.parser import Parser
from hardpairs.losses import LOSSES
from hardpairs.mining.options import METHODS
from hardpairs.training.config import TrainingConfig, defaults

BASE, PLAIN = "base", "plain"
"""The model without further training; and trained further with random batches and CLIP's loss."""
EMBEDDINGS = "EMBEDDINGS"
"""A word of a setting that stands for the folder of stored embeddings."""
SEPARATOR = "|"

RECIPES = {
    PLAIN: "",
    "longer": "--sample-factor 4",
    "large-batch": "--batch-factor 4",
    "large-batch-longer": "--batch-factor 4 --sample-factor 4",
    "hard-pairs": "--batching hard-pairs --hard-topk 10 | --batching hard-pairs --hard-topk 50",
    "hard-pairs-image": "--batching hard-pairs --hard-topk 10 --mined image",
    "hard-pairs-text": "--batching hard-pairs --hard-topk 10 --mined text",
    "hard-pairs-cross-modal": "--batching hard-pairs --hard-topk 10 --mined cross-modal",
    "neighborhood": "--batching neighbourhood --neighbourhood-size 8",
    "margin": "--batching hard-pairs --hard-topk 10 --margin-weight .1",
    "sanw": "--loss-fn sanw_debias",
    "hard-pairs-sanw": "--batching hard-pairs --hard-topk 10 --loss-fn sanw_debias",
    "hardness": "--hardness-weight 3 | --hardness-weight 9",
    "memory": "--memory-batches 4 | --memory-batches 16",
    "memory-matched": "--memory-batches 4 --memory-match | --memory-batches 16 --memory-match",
    "memory-of-all": "--memory-every 1",
    "hard-pairs-memory": "--batching hard-pairs --hard-topk 10 --memory-batches 16",
    "global": "--loss-fn global",
    "guided": "--guided-mask initial",
    "blended": "--blend-targets initial",
    "several-positives": "--multi-positive",
}
"""The recipes that have a name: settings, of which validation data chooses one."""
DEFAULT = (
    *(PLAIN, "longer", "large-batch", "large-batch-longer"),
    *("hard-pairs", "sanw", "hardness", "memory", "memory-matched", "global"),
)
"""The recipes that are compared where none are named."""


@dataclass(frozen=True)
class Setting:
    """A setting of a recipe.

    Attributes:
        text: Its flags as they were written.
        values: Values of the trainer's flags, by destination.
        batch_factor: Rows of a batch, to those of the plain recipe.
        sample_factor: Rows trained on, repetitions included, to those of the plain recipe.
        mined: Method of mining, where the batches follow from hard pairs.
        words: The flags that are the trainer's.
    """

    text: str
    values: Mapping[str, Any]
    batch_factor: int = 1
    sample_factor: int = 1
    mined: str = "HPM"
    words: tuple[str, ...] = ()

    @property
    def config(self) -> TrainingConfig:
        """The training configuration; batches follow from no hard pairs yet."""
        return TrainingConfig.from_values(self.values)

    @property
    def needs_hard_pairs(self) -> bool:
        """True if its batches follow from hard pairs that must be mined."""
        return bool(hasattr(self.config.batches, "hard_pairs"))

    def with_paths(self, embeddings: str, hard_pairs: str | None) -> Setting:
        """Return the setting with the files that the study has made.

        Args:
            embeddings: Folder of the stored embeddings, for the word ``EMBEDDINGS``.
            hard_pairs: Folder of the mined hard pairs.
        """
        values = {
            name: embeddings if value == EMBEDDINGS else value
            for name, value in self.values.items()
        }
        words = tuple(embeddings if word == EMBEDDINGS else word for word in self.words)
        if hard_pairs is not None:
            values["hard_dict_dir"] = hard_pairs
            words = (*words, "--hard-dict-dir", hard_pairs)
        return dataclasses.replace(self, values=values, words=words)


@dataclass(frozen=True)
class Recipe:
    """A named way to train.

    Attributes:
        name: Its name in tables.
        settings: The settings that validation data chooses among, at least one.
    """

    name: str
    settings: tuple[Setting, ...]


def read_recipes(names: Iterable[str], own: Iterable[str] = ()) -> tuple[Recipe, ...]:
    """Return recipes by name, and the user's own.

    Args:
        names: Names in ``RECIPES``. The plain recipe is always one of them: it is what the others
            are compared with.
        own: Texts ``NAME: FLAGS``, with several settings separated by ``|``.

    Raises:
        UserError: Exit 2 for an unknown name or flags that do not go together.
    """
    texts = dict.fromkeys([PLAIN, *names])
    unknown = [name for name in texts if name not in RECIPES]
    if unknown:
        raise usage(f"no recipe is called {unknown[0]}", fix=f"of {', '.join(RECIPES)}")
    written = {name: RECIPES[name] for name in texts}
    for text in own:
        name, colon, flags = text.partition(":")
        if not colon or not name.strip() or name.strip() in (*written, BASE):
            raise usage(
                f"{text!r} does not name a recipe",
                fix="NAME: FLAGS, with a name that no other recipe has",
            )
        written[name.strip()] = flags
    return tuple(
        Recipe(name, tuple(parse_setting(part.strip(), name) for part in flags.split(SEPARATOR)))
        for name, flags in written.items()
    )


def parse_setting(text: str, recipe: str = "") -> Setting:
    """Return a setting from its flags.

    Args:
        text: Flags of the trainer, and ``--batch-factor``, ``--sample-factor`` and ``--mined``.
        recipe: Name of the recipe, for messages.

    Raises:
        UserError: Exit 2 for flags that are unknown, out of range, or do not go together.
    """
    words = shlex.split(text)
    values = vars(_parser(recipe).parse_args(words))
    own, words_of_trainer = _own_flags().parse_known_args(words)
    values = {name: value for name, value in values.items() if not hasattr(own, name)}
    given = given_flags(values, _groups())
    values["loss_fn"] = (values["loss_fn"] or "clip_ce").replace("-", "_")
    if values["loss_fn"] not in LOSSES:
        raise usage(f"no loss is called {values['loss_fn']}", fix=f"of {', '.join(LOSSES)}")
    values["batching"] = values["batching"] or "random"
    chosen = {"--loss-fn": values["loss_fn"], "--batching": values["batching"]}
    refuse_unread(given, _groups(), chosen)
    config = TrainingConfig.from_values(values)
    for options, part in config.parts():
        refuse_idle(given, part, options)
    if config.needs_labels:
        raise usage(
            f"--loss-fn {config.loss_fn} compares labeled images, and a recipe trains on pairs",
            where=f"recipe {recipe}",
            fix="hardpairs compare compares losses for labels",
        )
    if own.mined and not hasattr(config.batches, "hard_pairs"):
        raise usage("--mined is given, but these batches follow from no hard pairs")
    own.mined = own.mined or "HPM"
    if "--batching" not in words_of_trainer:
        words_of_trainer += ["--batching", values["batching"]]
    values = {**defaults(), **_given(values), **dict(config.effective())}
    return Setting(text, values, **vars(own), words=tuple(words_of_trainer))


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


@functools.cache
def _groups() -> tuple[OptionGroup, ...]:
    """Return the options that a recipe can have: those of batch makers and losses."""
    return (*component_groups(BATCHES, "--batching"), *component_groups(LOSSES, "--loss-fn"))


def _parser(recipe: str) -> argparse.ArgumentParser:
    """Return the parser of a setting's flags."""
    parents = [_own_flags(), _trainer_flags()]
    return Parser(prog=f"recipe {recipe}", add_help=False, parents=parents)


def _own_flags() -> argparse.ArgumentParser:
    """Return the parser of the flags that recipes alone have."""
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--batch-factor", type=whole_number(1), default=1)
    parser.add_argument("--sample-factor", type=whole_number(1), default=1)
    parser.add_argument("--mined", choices=METHODS)
    return parser


def _trainer_flags() -> argparse.ArgumentParser:
    """Return the parser of the flags that are the trainer's."""
    parser = Parser(add_help=False)
    parser.add_argument("--loss-fn")
    parser.add_argument("--batching", choices=BATCHES)
    add_flags(parser, _groups())
    return parser
