"""Functions that the patched trainer calls at each step, epoch and checkpoint."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hardpairs.core.flags import flags_in_messages
from hardpairs.core.ranks import Ranks
from hardpairs.data.embeddings import open_embeddings
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.models.checkpoint import HEAD, PREPROCESS, load_checkpoint
from hardpairs.models.create import preprocess_of
from hardpairs.models.model_config import uses_words
from hardpairs.models.weight_files import save_checkpoint
from hardpairs.training import freezing, upstream, validation
from hardpairs.training.average import AVERAGE, FILE
from hardpairs.training.config import TrainingConfig, all_options
from hardpairs.training.data import TrainData
from hardpairs.training.dataset import Batch
from hardpairs.training.hooks.build import (
    LOSS_STATE,
    config_of,
    get_tokenizer,
    holding,
    inference,
    loss_of,
    remining,
)
from hardpairs.training.measuring import pair_features
from hardpairs.training.recovery import RECOVERY
from hardpairs.training.run_loss import RunLoss
from hardpairs.training.run_summary import log_epoch, summarize_run
from hardpairs.training.step_log import log_statistics
from hardpairs.training.validation_data import ValidationData
from hardpairs.training.watch import log_change, write_start

if TYPE_CHECKING:
    from hardpairs.training.remine import Reminer

Features = torch.Tensor | Sequence[torch.Tensor]


def unpack_batch(batch: Any, loss: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (images, texts) of a batch; the loss takes what ours knows of its rows.

    The trainer calls ``loss(**model_output)`` and has no other way to hand this on.
    """
    with flags_in_messages(all_options()):
        if isinstance(batch, Exception):
            raise batch
        if isinstance(batch, Batch) and isinstance(loss, RunLoss):
            loss.take(batch)
    return batch[0], batch[1]


def log_step(
    args: argparse.Namespace, trained: nn.Module, epoch: int, step: int, log_data: dict[str, Any]
) -> None:
    """Add our statistics to what OpenCLIP logs, and a line to the run's files.

    Rank 0 calls it, at each logged step.

    Args:
        args: OpenCLIP's options.
        trained: The trainer's loss, or the task that has it.
        epoch: Epoch of the step, from 0.
        step: Steps of the run before this one.
        log_data: What OpenCLIP logs of the step.
    """
    loss = trained if isinstance(trained, RunLoss) else getattr(trained, "loss", None)
    if isinstance(loss, RunLoss):
        log_statistics(loss, _folder(args), epoch, step, log_data)


def run_epochs(
    args: argparse.Namespace,
    trained: nn.Module,
    data: dict[str, Any],
    transform: Callable[..., Any],
    tokenizer: Callable[..., Any],
    epochs: range,
) -> Iterator[int]:
    """Yield the epochs (from 0) of a run, each prepared before it is trained.

    Frozen parts thaw, and hard pairs or embeddings are made anew where the run asks for it. Ends
    early when the run's patience is over. All ranks take part.

    Args:
        args: OpenCLIP's options.
        trained: The model or task of the trainer.
        data: What ``get_data`` returned.
        transform: The model's transform without random changes.
        tokenizer: The model's tokenizer.
        epochs: The epochs that are left.
    """
    config, train, model = config_of(args), data.get("train"), upstream.model_of(trained)
    _begin(args, model, data.get("val"), epochs.start)
    remine_every = config.remining.remine_every
    if isinstance(train, TrainData) and not args.rank:
        _warn_of_another_transform(args, model, train.table)
        if config.data.advice and not epochs.start:
            _advise(args, train)
        _measure_resumed(args, trained, data, tokenizer, epochs.start)
    has_trained = False
    is_written = isinstance(train, TrainData) and not args.rank and bool(args.save_logs)
    for epoch in epochs:
        if _is_over(config, args, epoch):
            break
        started = time.perf_counter()
        is_thawed = freezing.thaw(model, epoch)
        is_due = remine_every is not None and epoch and epoch % remine_every == 0
        if is_thawed or is_due:
            _forget(args)
        is_due = is_due or (epoch == epochs.start and remining(args).is_missing(epoch))
        if isinstance(train, TrainData) and is_due:
            _remine(args, model, train, transform, tokenizer, epoch)
        if isinstance(train, TrainData):
            _hold(args, model, train, transform, tokenizer, epoch, is_first=epoch == epochs.start)
        yield epoch
        has_trained = True
        if isinstance(train, TrainData) and not args.rank:
            _keep_best(args, train.take_checkpoint())
        if is_written:
            seconds = time.perf_counter() - started
            log_epoch(_folder(args), Path(args.checkpoint_path), epoch + 1, seconds)
            log_change(Path(args.checkpoint_path) / "results.jsonl")
    if is_written and has_trained:
        num_gpus = args.world_size if str(args.device).startswith("cuda") else 0
        summarize_run(_folder(args), vars(args), num_gpus)


def _begin(args: argparse.Namespace, model: nn.Module, val: Any, epoch: int) -> None:
    """Start what goes along with a run from the weights that it starts from.

    Args:
        args: OpenCLIP's options.
        model: The model without wrappers.
        val: The validation data.
        epoch: Epochs completed.
    """
    if recovery := getattr(model, RECOVERY, None):
        recovery.begin()
    if average := getattr(model, AVERAGE, None):
        stored = load_checkpoint(args.resume).get(AVERAGE) if args.resume else None
        if epoch and stored is None:
            logging.warning("The resumed run had no --ema: its average begins here.")
        average.begin(stored)
    is_watched = isinstance(val, ValidationData) and val.watch is not None
    if is_watched and not epoch and args.save_logs:
        write_start(Path(args.checkpoint_path) / "results.jsonl", val.watch.numbers(model))


def _forget(args: argparse.Namespace) -> None:
    """Empty the loss's memory: from here on the model or its batches are others."""
    loss = loss_of(args)
    if loss is not None:
        loss.loss.forget()


def _folder(args: argparse.Namespace) -> Path:
    return Path(str(args.logs)) / str(args.name)


def _measure_resumed(
    args: argparse.Namespace,
    trained: nn.Module,
    data: dict[str, Any],
    tokenizer: Callable[..., Any],
    epoch: int,
) -> None:
    """Measure the epoch that a resumed run begins after, if the run ended before it did."""
    if not (epoch and args.resume and args.save_logs and "val" in data):
        return
    is_due = args.val_frequency and (epoch % args.val_frequency == 0 or epoch == args.epochs)
    if is_due and not validation.is_measured(Path(args.checkpoint_path), epoch):
        upstream.patched("train").evaluate(trained, data, epoch, args, tokenizer=tokenizer)
        _keep_best(args, load_checkpoint(args.resume))


def _keep_best(args: argparse.Namespace, checkpoint: dict[str, Any] | None) -> None:
    """Keep an epoch that was measured if it is the best so far."""
    metric = config_of(args).validation.save_best
    if metric and checkpoint is not None:
        validation.keep_best(Path(args.checkpoint_path), metric, checkpoint)


def _is_over(config: TrainingConfig, args: argparse.Namespace, completed: int) -> bool:
    """Return whether the run ends early; rank 0 reads, all ranks learn."""
    metric, patience = config.validation.save_best, config.validation.patience
    if metric is None or patience is None:
        return False
    folder = Path(args.checkpoint_path)
    over = not args.rank and validation.is_over(folder, metric, patience, completed)
    if args.distributed:
        over = upstream.patched("distributed").broadcast_object(args, over)
    return bool(over)


def _warn_of_another_transform(
    args: argparse.Namespace, model: nn.Module, table: HardPairTable | None
) -> None:
    """Warn when the batches' hard pairs or embeddings saw images through another transform."""
    if table is not None:
        source, made = args.hard_dict_dir, table.manifest.get("embeddings") or {}
    elif args.batching_embeddings:
        source, made = args.batching_embeddings, open_embeddings(args.batching_embeddings).manifest
    else:
        return
    ours = preprocess_of(model)
    if made.get("model") == args.model and made.get("preprocess") not in (None, ours):
        logging.warning(
            f"{source} was made from images prepared in another way ({made['preprocess']}) than "
            f"this run's ({ours}): make it anew, or give the same --image-resize-mode."
        )


def _advise(args: argparse.Namespace, train: TrainData) -> None:
    """Log what the run's hard pairs or stored embeddings tell before it."""
    # SciPy takes a while to import.
    from hardpairs.training.advice import before_training

    batch_size = args.batch_size * args.world_size * args.accum_freq
    for line in before_training(config_of(args), train.samples, train.table, batch_size):
        logging.info(line)


def _remine(
    args: argparse.Namespace,
    model: nn.Module,
    train: TrainData,
    transform: Callable[..., Any],
    tokenizer: Callable[..., Any],
    epoch: int,
) -> None:
    reminer, folder = _reminer(args, train, transform, tokenizer), remining(args).source(epoch)
    assert folder is not None
    if train.table is None:
        reminer.embed(model, folder, epoch)
    else:
        reminer.mine(model, train.table, folder, epoch)


def _hold(
    args: argparse.Namespace,
    model: nn.Module,
    train: TrainData,
    transform: Callable[..., Any],
    tokenizer: Callable[..., Any],
    epoch: int,
    *,
    is_first: bool,
) -> None:
    """Give the loss all rows as the model sees them, when it is time."""
    made, loss = holding(args), loss_of(args)
    if made is None or loss is None or made.every is None or (epoch % made.every and not is_first):
        return
    reminer, folder = _reminer(args, train, transform, tokenizer), made.source(epoch)
    assert folder is not None
    if not (is_first and epoch) or made.is_missing(epoch):  # else a resumed run's: it made them
        reminer.embed(model, folder, epoch)
    loss.loss.hold(reminer.rows_of(folder))


def _reminer(
    args: argparse.Namespace,
    train: TrainData,
    transform: Callable[..., Any],
    tokenizer: Callable[..., Any],
) -> Reminer:
    # The search compiles code when it is imported.
    from hardpairs.training.remine import Reminer

    how = inference(args)
    return Reminer(
        train.samples,
        transform,
        tokenizer,
        ranks=Ranks(args.rank, args.world_size),
        batch_size=args.batch_size,
        workers=args.workers,
        device=how.device,
        input_dtype=how.input_dtype,
        autocast=how.autocast,
    )


def validation_metrics(
    trained: nn.Module, val: Any, image: Features, text: Features
) -> dict[str, float]:
    """Return what our validation data adds to OpenCLIP's numbers, or puts in their place.

    These are its own numbers, those of a watched data set, and both of averaged weights. Rank 0
    calls it.

    Args:
        trained: The model or task of the trainer.
        val: The validation data.
        image: (M, D) unit features of the rows whose images could be read, on the CPU; or those of
            each batch.
        text: Likewise of the same rows.
    """
    if not isinstance(val, ValidationData):
        return {}
    model = upstream.model_of(trained)
    image, text = (
        side if isinstance(side, torch.Tensor) else torch.cat(list(side)) for side in (image, text)
    )
    numbers = _val_numbers(model, val, image, text)
    average = getattr(model, AVERAGE, None)
    if average is None:
        return numbers
    with average.in_place():
        averaged = _val_numbers(model, val, *pair_features(model, val.dataloader, val.inference))
    return {**numbers, **{f"{AVERAGE}_{name}": value for name, value in averaged.items()}}


def _val_numbers(
    model: nn.Module, val: ValidationData, image: torch.Tensor, text: torch.Tensor
) -> dict[str, float]:
    batches = val.dataloader
    numbers = validation.val_numbers(model, batches.samples, batches.rows, image, text)
    return {**numbers, **(val.watch.numbers(model) if val.watch else {})}


def extra_state(
    args: argparse.Namespace, trained: nn.Module, data: dict[str, Any], checkpoint: dict[str, Any]
) -> dict[str, Any]:
    """Return what a checkpoint of ours has besides OpenCLIP's entries.

    These are the word list, the data and hard pairs that it was trained on, how images were
    prepared, the kind of head, what the loss keeps from step to step, and averaged weights, which
    also make a file of their own. Rank 0 calls it, before the epoch is measured.

    Args:
        args: OpenCLIP's options.
        trained: The model or task of the trainer.
        data: What ``get_data`` returned.
        checkpoint: OpenCLIP's entries.
    """
    state: dict[str, Any] = {}
    if uses_words(args.model):
        state["vocabulary"] = get_tokenizer(args).vocabulary
    train = data.get("train")
    if isinstance(train, TrainData):
        state["hardpairs"] = {
            "dataset_fingerprint": train.samples.fingerprint,
            "hard_pairs_sha256": None if train.table is None else train.table.manifest["sha256"],
        }
        model = upstream.model_of(trained)
        state[PREPROCESS] = preprocess_of(model)
        state |= {HEAD: getattr(model, HEAD).options} if hasattr(model, HEAD) else {}
        if average := getattr(model, AVERAGE, None):
            weights = {"state_dict": average.state_dict(checkpoint["state_dict"])}
            content = {"epoch": checkpoint["epoch"], "name": args.name, **weights, **state}
            save_checkpoint(content, Path(args.checkpoint_path) / FILE)
            state[AVERAGE] = average.state()
        loss = loss_of(args)
        kept = {} if loss is None else loss.loss.state()
        state |= {LOSS_STATE: kept} if kept else {}
        train.checkpoint = {**checkpoint, **state}
    return state
