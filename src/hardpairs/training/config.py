"""The configuration of a training run: frozen dataclasses with checked options, and their flags.

``TrainingConfig`` is built once from the command line. The options of the loss and of the batch
maker are those of the components that it names; the others stand here. Nothing here imports
PyTorch, because ``--help`` needs the declarations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hardpairs.batches import BATCHES
from hardpairs.core.atomic import write_json
from hardpairs.core.components import OptionDeclaration, Options, Registry, option
from hardpairs.core.flags import (
    OptionGroup,
    build_options,
    component_groups,
    destination,
    effective_values,
    options_of,
)
from hardpairs.data.split_parts import PARTS as SPLIT_PARTS
from hardpairs.losses import LOSSES
from hardpairs.metrics import all_values

VALIDATION_LOSS = "clip_val_loss"
"""OpenCLIP's own metric; all others are components of ``hardpairs.metrics``."""


@dataclass(frozen=True)
class DataOptions(Options):
    """The rows that a run reads, and the number of its steps."""

    max_steps: int | None = option(
        None, "optimizer steps, cut into --epochs equal parts", minimum=1
    )
    reject: str | None = option(None, "rows to leave out, of inspect pairs' page", metavar="FILE")
    max_bad_fraction: float = option(0.01, "largest unreadable share", minimum=0, maximum=1)
    csv_group_key: str = option(
        "group", "column whose equal values are known positives, or one label", metavar="COLUMN"
    )
    unlabelled: tuple[str, ...] = option((), "values of that column that mean no label")
    captions_json: str | None = option(
        None,
        "captions.json, split by image in LOGS/split",
        metavar="FILE",
    )
    results_dir: str | None = option(
        None,
        "folder of the test part's numbers and figures",
        metavar="FOLDER",
    )
    image_root: str | None = option(
        None,
        "folder of the images of a table or a list",
        metavar="FOLDER",
    )
    caption_template: str | None = option(
        None,
        "caption of class folders, with {} as class",
        metavar="TEXT",
    )
    split: str | None = option(None, "part of --train-data", choices=SPLIT_PARTS)
    val_split: str | None = option(None, "part of --val-data", choices=SPLIT_PARTS)
    allow_remote: bool = option(False, "read data behind URLs")
    advice: bool = option(True, "say what hard pairs tell")


@dataclass(frozen=True)
class TrainedOptions(Options):
    """The trained parameters, and what they start from."""

    augment: str | None = option(
        None,
        "random changes in place of OpenCLIP's crop",
        choices=("none", "scanned-document", "retrieval", "miniclip"),
    )
    freeze_bn_stats: bool = option(False, "batch norms keep the start model's statistics")
    freeze_backbone: bool = option(
        False,
        "train projections and head alone (towers: --lock-image, --lock-text)",
    )
    freeze_epochs: int | None = option(
        None, "epochs after which frozen parts are trained", minimum=1
    )
    head_lr: float | None = option(None, "rate of the head; --lr is the backbone's", above=0)
    warmup_epochs: float | None = option(None, "--warmup in epochs", minimum=0)
    recover_steps: int | None = option(None, "first steps, of Adam's statistics alone", minimum=1)
    ema: float | None = option(
        None,
        "average of the weights, kept in ema.pt",
        above=0,
        below=1,
        metavar="DECAY",
    )
    image_weights: str | None = option(
        None,
        "image weights of a miniclip model: a file, torchvision (fetched if need be), or none "
        "(default: torchvision's cache)",
        metavar="FILE|NAME",
    )
    vocabulary_from: str | None = option(
        None,
        "captions with a word tokenizer's words: train (default), all, or a file's",
        metavar="FILE|NAME",
    )


@dataclass(frozen=True)
class ValidationOptions(Options):
    """Measurements, the choice of the best epoch, and early ends."""

    save_best: str | None = option(
        None,
        "metric of --val-data that chooses best.pt",
        choices=lambda: (*all_values(), VALIDATION_LOSS),
    )
    patience: int | None = option(None, "epochs without a better one that end the run", minimum=1)
    watch: str | None = option(None, "second data set that validation measures", metavar="DATA")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patience is not None and self.save_best is None:
            raise ValueError("`patience` needs `save_best`, the metric that it counts by")


@dataclass(frozen=True)
class SavingOptions(Options):
    """States that are saved within an epoch, and what a resumed run may change."""

    save_every_steps: int | None = option(None, "save a state every N steps", minimum=1)
    save_every_minutes: float | None = option(None, "or every X minutes", above=0)
    resume_changes: str | None = option(
        None, "what may differ then, as batch_size,lr", metavar="NAMES"
    )
    keep_checkpoints: int | None = option(None, "newest epoch_N.pt that are kept", minimum=1)
    peer_timeout: float = option(600.0, "seconds to wait for a process", above=0)


@dataclass(frozen=True)
class HeadOptions(Options):
    """The embedding that losses for labels compare."""

    embed: str = option("image", "what is compared", choices=("image", "text", "pooled", "mlp"))
    im_wt: float = option(
        0.5, "pooled: weight of the image", needs={"embed": ("pooled",)}, minimum=0, maximum=1
    )
    learn_im_wt: bool = option(False, "pooled: learn that weight", needs={"embed": ("pooled",)})
    mlp_layers: int = option(2, "mlp: linear layers", needs={"embed": ("mlp",)}, minimum=1)
    projection: int = option(0, "width of a last layer; 0: none", minimum=0)
    head_dropout: float = option(
        0.1,
        "dropout before the last layers",
        needs={"embed": ("mlp",), "projection": ()},
        minimum=0,
        below=1,
    )


@dataclass(frozen=True)
class RemineOptions(Options):
    """The time at which hard pairs or embeddings are made anew."""

    remine_every: int | None = option(None, "make hard pairs anew every N epochs", minimum=1)


CAPTIONS_JSON = "captions-json"
"""Our value of OpenCLIP's ``--dataset-type``."""
REMINING = ("class-neighbours", "hard-pairs", "neighbourhood", "topical")
"""Batch makers that follow from hard pairs or embeddings."""
STORED_FEATURES = {
    "similarity_features": "sanw_embeddings",
    "duplicate_features": "false_negative_embeddings",
    "guide_features": "guided_mask",
    "start_features": "blend_targets",
    "reference_features": "global_reference",
}
"""Field of ``BatchInfo`` -> the loss's option with the folder of its stored embeddings."""
START_FEATURES = {
    "similarity_features": "sanw_source",
    "guide_features": "guided_mask",
    "start_features": "blend_targets",
}
"""Field of ``BatchInfo`` -> the loss's option that is ``initial`` if the start model fills it."""
EMBEDS_FIRST = ("class-neighbours", "topical")
"""Batch makers for which the run makes the embeddings where none are given."""
PARTS: dict[str, type[Options]] = {
    "data": DataOptions,
    "trained": TrainedOptions,
    "validation": ValidationOptions,
    "saving": SavingOptions,
    "head": HeadOptions,
    "remining": RemineOptions,
}
"""Field of ``TrainingConfig`` -> class of its options."""


def label_losses() -> tuple[str, ...]:
    """Return the names of the losses for labels, those whose base is ``LabelLoss``."""
    return tuple(name for name, loss in LOSSES.items() if "LabelLoss" in loss.bases)


@cache
def option_groups() -> tuple[OptionGroup, ...]:
    """Return who reads which options of a training run, in the order of ``--help``."""
    head = OptionGroup(
        "embedding of losses for labels", options_of(HeadOptions), "--loss-fn", label_losses()
    )
    return (
        OptionGroup("data and steps", options_of(DataOptions)),
        *component_groups(BATCHES, "--batching"),
        OptionGroup("hard pairs made anew", options_of(RemineOptions), "--batching", REMINING),
        OptionGroup("what is trained", options_of(TrainedOptions)),
        OptionGroup("validation", options_of(ValidationOptions)),
        OptionGroup("saving and resuming", options_of(SavingOptions)),
        *component_groups(LOSSES, "--loss-fn"),
        head,
    )


@dataclass(frozen=True)
class TrainingConfig:
    """All options of ours in a training run.

    Attributes:
        loss_fn: Name of the loss.
        loss: Its options.
        batching: Name of the batch maker; ``None``: OpenCLIP makes the batches and computes the
            loss, and no other option counts.
        batches: The batch maker's options.
        data: Rows and steps.
        trained: What is trained.
        validation: The best epoch.
        saving: States within an epoch.
        head: The embedding that losses for labels compare.
        remining: When hard pairs are made anew.
    """

    loss_fn: str
    loss: Options
    batching: str | None
    batches: Options | None
    data: DataOptions
    trained: TrainedOptions
    validation: ValidationOptions
    saving: SavingOptions
    head: HeadOptions
    remining: RemineOptions

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """Build the configuration from parsed flags; ``None`` stands for a flag not given.

        Args:
            values: Values of our flags by destination, or the lines of a run's params.txt.

        Raises:
            UserError: Exit 2 for a value out of its range, or an unknown loss.
        """
        loss_fn, batching = values.get("loss_fn") or "clip_ce", values.get("batching")
        parts: dict[str, Any] = {
            name: build_options(part, options_of(part), values) for name, part in PARTS.items()
        }
        return cls(
            loss_fn=loss_fn,
            loss=_component_options(LOSSES, loss_fn, values),
            batching=batching,
            batches=None if batching is None else _component_options(BATCHES, batching, values),
            **parts,
        )

    @property
    def needs_labels(self) -> bool:
        """True if the loss compares embeddings of labeled rows."""
        return bool(LOSSES.load(self.loss_fn).needs_labels)

    @property
    def needs_class_weights(self) -> bool:
        """True if the model learns a vector for each label."""
        return bool(LOSSES.load(self.loss_fn).needs_class_weights)

    @property
    def embeds_first(self) -> bool:
        """True if the batches need embeddings and none are given: the run makes them itself."""
        given = (getattr(self.batches, name, None) for name in ("embeddings", "hard_pairs"))
        return self.batching in EMBEDS_FIRST and not any(given)

    @property
    def stored_features(self) -> dict[str, str]:
        """Folders of stored embeddings that the loss reads, by field of ``BatchInfo``."""
        folders = {name: getattr(self.loss, field, None) for name, field in STORED_FEATURES.items()}
        of_start = self.start_features
        return {name: path for name, path in folders.items() if path and name not in of_start}

    @property
    def start_features(self) -> dict[str, str]:
        """The loss's options that ask for the start model's features, by field of ``BatchInfo``."""
        options = START_FEATURES.items()
        return {n: field for n, field in options if getattr(self.loss, field, None) == "initial"}

    def parts(self) -> Iterator[tuple[tuple[OptionDeclaration, ...], Options]]:
        """Yield the options of each part that counts, and the part."""
        for name, part in PARTS.items():
            if name != "head" or self.needs_labels:
                yield options_of(part), getattr(self, name)
        yield LOSSES[self.loss_fn].options, self.loss
        if self.batching is not None and self.batches is not None:
            yield BATCHES[self.batching].options, self.batches

    def effective(self) -> Iterator[tuple[str, Any]]:
        """Yield (destination, value) of every option, those of the chosen components included."""
        yield from (("loss_fn", self.loss_fn), ("batching", self.batching))
        for options, part in self.parts():
            yield from effective_values(part, options)

    def save(self, path: Path) -> None:
        """Write the configuration as JSON."""
        write_json(path, dataclasses.asdict(self))


def _component_options(registry: Registry, name: str, values: Mapping[str, Any]) -> Options:
    """Build the options of a component from parsed flags."""
    config: type[Options] = registry.load(name).Config
    return build_options(config, registry[name].options, values)


def all_options() -> tuple[OptionDeclaration, ...]:
    """Return every option of a training run."""
    return tuple(option for group in option_groups() for option in group.options)


def defaults() -> dict[str, Any]:
    """Return {destination: value} of our flags when none is given, by an option's first reader."""
    named: dict[str, Any] = {
        "loss_fn": "clip_ce",
        "batching": None,
        "use_hard": False,
        "preset": None,
    }
    for group in option_groups():
        for declared in group.options:
            named.setdefault(destination(declared), declared.default)
    return {**named, "embed": None}
