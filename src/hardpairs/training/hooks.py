"""What the patched trainer calls. Each function is the target of one hunk in ``patches/``, and does OpenCLIP's own when no flag of ours is given."""

from __future__ import annotations

import argparse
import copy
import csv
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.distributed as dist
from torch import nn

from hardpairs import losses
from hardpairs.batches import HARD_PAIR, RANDOM, SPARE, TARGET, BatchInfo
from hardpairs.core.errors import flags, non_finite, usage
from hardpairs.data.embeddings import open_embeddings
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.unreadable import UnreadableImages
from hardpairs.losses.metric import METRIC
from hardpairs.models import create
from hardpairs.models.checkpoint import HEAD, PREPROCESS, checkpoint_preprocess, is_weights
from hardpairs.models.create import (
    find_image_weights,
    freeze_statistics,
    prepare_towers,
    preprocess_of,
)
from hardpairs.models.miniclip import MiniCLIP
from hardpairs.models.model_config import make_tokenizer, register_configs, uses_words
from hardpairs.training import data as our_data
from hardpairs.training import freezing, upstream, validation
from hardpairs.training.augment import augmented
from hardpairs.training.metric_flags import add_head, build_metric_loss
from hardpairs.training.photos import vocabulary_of_run
from hardpairs.training.similarities import duplicate_source, similarity_source

STEP_COLUMNS = [
    "epoch",
    "step",
    "loss",
    "contrastive_loss",
    "margin_loss",
    "geometry_loss",
    "metric_loss",
    "temp",
    "lr",
    "pos_logit",
    "hard_logit",
    "masked_pct",
    "w_mean",
    "w_low_pct",
    "w_high_pct",
    "band_coverage_pct",
    "w_sim_corr",
    "sanw_beta",
    "samples_per_second",
    "data_time",
    "batch_time",
    "targets",
    "mined",
    "random",
    "reserves",
    "unreadable",
]
"""Columns of metrics.csv; CLIPSE's names where it has them (``temp`` is the exponentiated logit scale)."""


def create_model_and_transforms(model_name: str, pretrained: str | None = None, **options: Any):
    """OpenCLIP's, with our models known and a readable error for weights that are not there."""
    register_configs()
    if (
        pretrained
        and not is_weights(pretrained)
        and ":" not in model_name
        and pretrained not in open_clip.list_pretrained_tags_by_model(model_name)
    ):
        raise usage(
            f"--pretrained is no file, and no tag of {model_name}",
            where=pretrained,
            fix="check the path",
        )
    stored = checkpoint_preprocess(pretrained) if pretrained and is_weights(pretrained) else {}
    options |= {name: value for name, value in stored.items() if options.get(name) is None}
    model, *transforms = create.create_model_and_transforms(model_name, pretrained, **options)
    freezing.note_design(model)
    return model, *transforms


def prepare_model(model: nn.Module, args: argparse.Namespace) -> nn.Module:
    """Changes to the model before it is wrapped for several processes: words and image weights of small towers, ``--freeze-bn-stats``, the head
    that metric losses are about, and what is frozen."""
    if isinstance(model, MiniCLIP):
        _prepare_towers(model, args)
    model = freeze_statistics(model) if args.freeze_bn_stats else model
    model = (
        add_head(model, args, our_data.open_training_samples(args))
        if args.loss_fn in METRIC
        else model
    )
    if args.batching is not None:
        freezing.freeze(model, args)
    return model


def ddp_options(args: argparse.Namespace) -> dict[str, Any]:
    """For DistributedDataParallel: parameters that are frozen for some epochs get no gradient in them."""
    return {"find_unused_parameters": True} if args.freeze_epochs is not None else {}


def prepare_optimizer(
    optimizer: torch.optim.Optimizer, model: nn.Module, args: argparse.Namespace
) -> torch.optim.Optimizer:
    """The head's parameters in groups of their own where ``--head-lr`` is given."""
    return optimizer if args.head_lr is None else freezing.head_groups(optimizer, model, args)


def _prepare_towers(model: MiniCLIP, args: argparse.Namespace) -> None:
    fresh = not (args.pretrained or args.resume)
    vocabulary, weights = (
        vocabulary_of_run(args),
        find_image_weights(args.model, args.image_weights, fresh=fresh),
    )
    prepare_towers(model, vocabulary, weights)
    if not args.rank:
        start = (weights or "random weights") if fresh else args.resume or args.pretrained
        logging.info(f"Image tower: {start}. Vocabulary: {len(vocabulary or ())} words.")


def get_tokenizer(args: argparse.Namespace) -> Callable:
    """The model's tokenizer. A word vocabulary comes from the checkpoint the run starts from, else from the captions that the flags name."""
    context_length = getattr(args, "force_context_length", None)  # OpenCLIP 2.32 has no such flag
    if not uses_words(args.model):
        return open_clip.get_tokenizer(
            args.model, cache_dir=args.cache_dir, context_length=context_length
        )
    return make_tokenizer(args.model, vocabulary_of_run(args), context_length=context_length)


def get_data(
    args: argparse.Namespace,
    preprocess_fns: tuple[Callable, Callable],
    epoch: int = 0,
    tokenizer: Callable | None = None,
) -> dict[str, Any]:
    """OpenCLIP's data, or with ``--batching`` ours for training and validation."""
    theirs = upstream.patched("data").get_data
    if args.batching is None:
        return theirs(args, preprocess_fns, epoch=epoch, tokenizer=tokenizer)
    preprocess_train, preprocess_val = preprocess_fns
    if args.augment is not None:
        preprocess_train = augmented(args.augment, preprocess_val)
    data = {"train": our_data.train_data(args, preprocess_train, tokenizer)}
    if args.val_data:
        data["val"] = our_data.val_data(args, preprocess_val, tokenizer)
    rest = copy.copy(args)
    rest.train_data = rest.val_data = None
    rest.dataset_type = "auto"
    return {**data, **theirs(rest, preprocess_fns, epoch=epoch, tokenizer=tokenizer)}


def create_loss(args: argparse.Namespace) -> nn.Module:
    """OpenCLIP's loss, or with ``--batching`` ours."""
    return open_clip.create_loss(args) if args.batching is None else RunLoss(args)


class RunLoss(nn.Module):
    """Our loss together with the run's counts of what was seen."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__()
        samples = our_data.open_training_samples(args)
        self.loss = (
            build_metric_loss(args, samples) if args.loss_fn in METRIC else losses.build_loss(args)
        )
        self.source = similarity_source(args, samples, create_model_and_transforms)
        self.stored = duplicate_source(args, samples)
        self.world_size = args.world_size
        self.samples = samples
        self.counts: Counter[str] = Counter()
        self.unreadable = UnreadableImages(samples, args.max_bad_fraction, log=True)

    def take(self, batch: our_data.Batch) -> None:
        """Notes a batch; stops the run when too many images could not be read."""
        info = batch.info
        sources = self.source(batch) if self.source is not None else (None, None)
        stored = self.stored(batch) if self.stored is not None else (None, None)
        mined = info.roles == HARD_PAIR
        self.loss.take(
            losses.Rows(info.group_ids, mined, info.targets, *sources, *stored),
            info.epochs_done,
        )
        self.rows = info.rows
        for name, role in (
            ("targets", TARGET),
            ("mined", HARD_PAIR),
            ("random", RANDOM),
            ("reserves", SPARE),
        ):
            self.counts[name] += int((info.roles == role).sum())
        self.counts["unreadable"] += len(info.unreadable)
        if info.unreadable:
            self._note_unreadable(info)

    def _note_unreadable(self, info: BatchInfo) -> None:
        """Each image counts once, however many captions and epochs ask for it: one broken photograph does not end a run of 50 epochs."""
        seen = sum(self.counts[name] for name in ("targets", "mined", "random", "reserves"))
        with flags(["max_bad_fraction"]):
            self.unreadable.add(
                info.unreadable,
                of=min(seen, len(self.samples)),
                tolerated=len(info) // 16,
            )

    def forward(
        self, image_features: torch.Tensor, text_features: torch.Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        losses = self.loss(image_features, text_features, *args, **kwargs)
        if not self._all_finite(losses):
            finite = torch.isfinite(image_features).all(1) & torch.isfinite(text_features).all(1)
            raise non_finite(
                "the loss is not finite; nothing was updated or saved with it",
                where=f"rows {self._bad_rows(finite)} of this rank's last micro-batch {self.rows.tolist()}",
                fix="a lower --lr, --grad-clip-norm 1, or other start weights",
            )
        return losses

    def _all_finite(self, losses: dict[str, torch.Tensor]) -> bool:
        """On all ranks: a rank that stopped alone would leave the others waiting for it."""
        finite = torch.stack([torch.isfinite(part).all() for part in losses.values()]).all().float()
        if self.world_size > 1:
            dist.all_reduce(finite, dist.ReduceOp.MIN)
        return bool(finite)

    def _bad_rows(self, finite: torch.Tensor) -> list[int]:
        """Rows of the last micro-batch whose features are not finite (of features that ``--accum-freq`` joined, the last are its own)."""
        return self.rows[~finite.cpu()[-len(self.rows) :]].tolist()


def unpack_batch(batch: Any, loss: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """(images, texts) of a batch; what ours says of its rows goes to the loss."""
    if isinstance(batch, Exception):
        raise batch
    if isinstance(batch, our_data.Batch):
        loss.take(batch)
    return batch[0], batch[1]


def log_step(
    args: argparse.Namespace, loss: nn.Module, epoch: int, step: int, log_data: dict[str, Any]
) -> None:
    """Adds our statistics to what OpenCLIP reports, and a line to ``metrics.csv`` of the run folder (rank 0, each logged step)."""
    if not isinstance(loss, RunLoss):
        return
    numbers, histogram = loss.loss.statistics()
    log_data.update(numbers)
    counts = {
        name: count * args.world_size for name, count in loss.counts.items()
    }  # as if all ranks had this one's
    row = {**log_data, "epoch": epoch, "step": step, "temp": log_data["scale"], **counts}
    folder = Path(args.logs) / args.name
    _append(folder / "metrics.csv", STEP_COLUMNS, row)
    told = {
        **{name: value for name, value in numbers.items() if not name.endswith("loss")},
        **counts,
    }
    logging.info(
        " ".join(
            f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}"
            for name, value in told.items()
        )
    )
    if histogram is not None:
        bins = {f"{i / len(histogram):.2f}": int(count) for i, count in enumerate(histogram)}
        _append(
            folder / "weights.csv", ["epoch", "step", *bins], {"epoch": epoch, "step": step, **bins}
        )


def _append(path: Path, columns: list[str], row: dict[str, Any]) -> None:
    """Adds a line under the header that the file has, so that a run resumed with another version stays readable."""
    is_new = not path.exists()
    if not is_new:
        with open(path, newline="", encoding="utf-8") as file:
            columns = next(csv.reader(file), columns)
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def run_epochs(
    args: argparse.Namespace,
    model: nn.Module,
    data: dict[str, Any],
    transform: Callable,
    tokenizer: Callable,
    epochs: range,
) -> Iterator[int]:
    """The epochs (from 0) of a run, each prepared before it is trained: what is frozen until then thaws, and hard pairs or embeddings are made
    anew where ``--remine-every`` asks for them. Ends early by ``--patience``. All ranks take part.
    """
    train = data.get("train")
    if isinstance(train, our_data.TrainData) and not args.rank:
        _warn_of_another_transform(args, model, train.table)
    for epoch in epochs:
        if args.patience is not None and validation.is_over(args, epoch):
            return
        freezing.thaw(model, epoch)
        if (
            isinstance(train, our_data.TrainData)
            and args.remine_every
            and epoch
            and epoch % args.remine_every == 0
        ):
            _remine(args, model, train, transform, tokenizer, epoch)
        yield epoch


def _warn_of_another_transform(
    args: argparse.Namespace, model: nn.Module, table: HardPairTable | None
) -> None:
    """When what batches are made from saw the pictures through another transform than the training does, as CLIPPINGS' hard negatives did."""
    if table is not None:
        source, made = args.hard_dict_dir, table.manifest.get("embeddings") or {}
    elif args.batching_embeddings:
        source, made = args.batching_embeddings, open_embeddings(args.batching_embeddings).manifest
    else:
        return
    ours = preprocess_of(getattr(model, "module", model))
    if made.get("model") == args.model and made.get("preprocess") not in (None, ours):
        logging.warning(
            f"{source} was made of pictures prepared otherwise ({made['preprocess']}) than this run's ({ours}): "
            "make it anew, or give the same --image-resize-mode."
        )


def _remine(
    args: argparse.Namespace,
    model: nn.Module,
    train: our_data.TrainData,
    transform: Callable,
    tokenizer: Callable,
    epoch: int,
) -> None:
    from hardpairs.training.remine import (  # the search compiles code when it is imported
        embed_again,
        remine,
    )

    if train.table is None:
        embed_again(args, model, train.samples, transform, tokenizer, epoch)
    else:
        remine(args, model, train.samples, train.table, transform, tokenizer, epoch)


def validation_metrics(
    model: nn.Module, val: Any, image: torch.Tensor, text: torch.Tensor
) -> dict[str, float]:
    """What our validation data adds to OpenCLIP's numbers, or puts in their place (``hardpairs.training.validation``). Rank 0.

    Args:
        image, text: (M, D) unit features of the validation rows that could be read, on the CPU.
    """
    batches = val.dataloader
    ours = isinstance(batches, our_data.ValidationBatches)
    return validation.val_numbers(model, batches.samples, batches.rows, image, text) if ours else {}


def extra_state(
    args: argparse.Namespace, model: nn.Module, data: dict[str, Any], checkpoint: dict[str, Any]
) -> dict[str, Any]:
    """What a checkpoint of ours carries besides OpenCLIP's entries: the word list, which data and hard pairs it was trained on, how pictures
    were prepared, and what kind of head it has. With ``--save-best`` the checkpoint of the best epoch so far is kept, too. Rank 0."""
    state: dict[str, Any] = {}
    if uses_words(args.model):
        state["vocabulary"] = get_tokenizer(args).vocabulary
    train = data.get("train")
    if isinstance(train, our_data.TrainData):
        table = train.table.manifest["sha256"] if train.table is not None else None
        state["hardpairs"] = {
            "dataset_fingerprint": train.samples.fingerprint,
            "hard_pairs_sha256": table,
        }
        model = getattr(model, "module", model)
        state[PREPROCESS] = preprocess_of(model)
        state |= {HEAD: getattr(model, HEAD).options} if hasattr(model, HEAD) else {}
    if args.save_best:
        validation.keep_best(args, {**checkpoint, **state})
    return state
