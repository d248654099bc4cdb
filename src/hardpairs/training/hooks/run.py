"""Functions that the patched trainer calls at each step, epoch and checkpoint."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hardpairs.core import peers
from hardpairs.core.flags import flags_in_messages
from hardpairs.core.ranks import Ranks
from hardpairs.data.embeddings import open_embeddings
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.models.checkpoint import load_checkpoint
from hardpairs.models.create import preprocess_of
from hardpairs.models.model_config import uses_words
from hardpairs.models.weight_files import save_checkpoint
from hardpairs.training import freezing, upstream, validation
from hardpairs.training.average import AVERAGE, FILE
from hardpairs.training.config import TrainingConfig, all_options
from hardpairs.training.data import TrainData
from hardpairs.training.dataset import Batch
from hardpairs.training.hooks.build import (
    config_of,
    get_tokenizer,
    holding,
    inference,
    loss_of,
    remining,
    resumed_checkpoint,
)
from hardpairs.training.hooks.steps import (
    agreed_to_stop,
    leave,
    run_state,
    run_steps,
    save_unsaved,
)
from hardpairs.training.kept import keep_newest
from hardpairs.training.measuring import pair_features
from hardpairs.training.preemption import REQUESTS
from hardpairs.training.recovery import RECOVERY
from hardpairs.training.resume import LOSS_STATE
from hardpairs.training.run_loss import RunLoss
from hardpairs.training.run_summary import log_epoch, summarize_run
from hardpairs.training.saving import LATEST, STEP, StateWriter, is_amid
from hardpairs.training.step_log import log_statistics
from hardpairs.training.validation import BEST
from hardpairs.training.validation_data import ValidationData
from hardpairs.training.watch import log_change, write_start

if TYPE_CHECKING:
    from hardpairs.training.remine import Reminer

__all__ = [
    "extra_state",
    "log_step",
    "resumed_checkpoint",
    "run_epochs",
    "run_steps",
    "unpack_batch",
    "validation_metrics",
]

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
    config, model = config_of(args), upstream.model_of(trained)
    train: Any = data.get("train")  # ours or OpenCLIP's
    peers.watch(args.rank, args.world_size, config.saving.peer_timeout)
    start = (epochs.start, 0)
    if isinstance(train, TrainData) and train.start[0] == epochs.start:
        start = train.start
    _begin(args, model, data.get("val"), is_new=not any(start))
    if isinstance(train, TrainData) and not args.rank:
        _begin_data(args, trained, data, train, tokenizer, start)
    open_reminer = partial(_open_reminer, args, train, transform, tokenizer)
    has_trained = False
    is_written = isinstance(train, TrainData) and not args.rank and bool(args.save_logs)
    for epoch in epochs:
        if isinstance(train, TrainData) and agreed_to_stop(args):
            raise leave(args, train)
        if _is_over(config, args, epoch):
            break
        started = time.perf_counter()
        _prepare_epoch(args, model, train, open_reminer, epoch, start)
        yield epoch
        has_trained = True
        if isinstance(train, TrainData) and not args.rank:
            _keep_best(args, train.take_checkpoint())
        if not args.rank and args.save_logs:
            keep_newest(Path(args.checkpoint_path), config.saving.keep_checkpoints)
        if is_written:
            seconds = time.perf_counter() - started
            log_epoch(_folder(args), Path(args.checkpoint_path), epoch + 1, seconds)
            log_change(Path(args.checkpoint_path) / "results.jsonl")
    if isinstance(train, TrainData):
        _end(args, train)
    if is_written and has_trained:
        num_gpus = args.world_size if str(args.device).startswith("cuda") else 0
        summarize_run(_folder(args), vars(args), num_gpus)


def _begin_data(
    args: argparse.Namespace,
    trained: nn.Module,
    data: dict[str, Any],
    train: TrainData,
    tokenizer: Callable[..., Any],
    start: tuple[int, int],
) -> None:
    """Say what there is to say of the data, and measure what a resumed run left to measure.

    Args:
        args: OpenCLIP's options.
        trained: The model or task of the trainer.
        data: What ``get_data`` returned.
        train: Its training data.
        tokenizer: The model's tokenizer.
        start: Epoch and step that the run begins with.
    """
    _warn_of_another_transform(args, upstream.model_of(trained), train.table)
    if config_of(args).data.advice and not any(start):
        _advise(args, train)
    if not start[1]:
        _measure_resumed(args, trained, data, tokenizer, start[0])
    if args.save_logs:
        saving, path = config_of(args).saving, Path(args.checkpoint_path) / LATEST
        train.writer = StateWriter(path, saving.save_every_steps, saving.save_every_minutes)
    REQUESTS.save = partial(save_unsaved, train)


def _prepare_epoch(
    args: argparse.Namespace,
    model: nn.Module,
    train: Any,
    open_reminer: Callable[[], Reminer],
    epoch: int,
    start: tuple[int, int],
) -> None:
    """Thaw what thaws, and make hard pairs or embeddings anew, where an epoch begins so.

    Args:
        args: OpenCLIP's options.
        model: The model.
        train: The training data.
        open_reminer: Returns what makes them.
        epoch: From 0.
        start: Epoch and step that the run begins with.
    """
    is_first, goes_on = epoch == start[0], epoch == start[0] and start[1] > 0
    is_thawed = freezing.thaw(model, epoch)
    every = config_of(args).remining.remine_every
    is_due = every is not None and epoch > 0 and epoch % every == 0 and not goes_on
    if (is_thawed or is_due) and not goes_on:
        _forget(args)
    if not isinstance(train, TrainData):
        return
    if is_due or (is_first and remining(args).is_missing(epoch)):
        _remine(args, model, train, open_reminer(), epoch)
    is_made = is_first and any(start)
    _hold(args, model, open_reminer, epoch, is_first=is_first, is_made=is_made)


def _end(args: argparse.Namespace, train: TrainData) -> None:
    """Remove the state of the middle of an epoch when the run's last epoch is saved."""
    REQUESTS.is_saved = train.unsaved is None
    if train.writer is not None:
        train.writer.wait()
        state, last = train.writer.path, f"epoch_{args.epochs}.pt"
        if state.with_name(last).exists() and state.exists() and is_amid(state):
            state.unlink()


def _begin(args: argparse.Namespace, model: nn.Module, val: Any, *, is_new: bool) -> None:
    """Start what goes along with a run from the weights that it starts from.

    Args:
        args: OpenCLIP's options.
        model: The model without wrappers.
        val: The validation data.
        is_new: Whether the run begins, and goes not on.
    """
    if recovery := getattr(model, RECOVERY, None):
        recovery.begin()
    if average := getattr(model, AVERAGE, None):
        stored = load_checkpoint(args.resume).get(AVERAGE) if args.resume else None
        if not is_new and stored is None:
            logging.warning("The resumed run had no --ema: its average begins here.")
        average.begin(stored)
    is_watched = isinstance(val, ValidationData) and val.watch is not None
    if is_watched and is_new and args.save_logs:
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
    folder = Path(args.checkpoint_path)
    if is_due and not validation.is_measured(folder, epoch):
        upstream.patched("train").evaluate(trained, data, epoch, args, tokenizer=tokenizer)
        _keep_best(args, load_checkpoint(args.resume))
    elif is_due and config_of(args).validation.save_best and not (folder / BEST).exists():
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
    args: argparse.Namespace, model: nn.Module, train: TrainData, reminer: Reminer, epoch: int
) -> None:
    folder = remining(args).source(epoch)
    assert folder is not None
    if train.table is None:
        reminer.embed(model, folder, epoch)
    else:
        reminer.mine(model, train.table, folder, epoch)


def _hold(
    args: argparse.Namespace,
    model: nn.Module,
    open_reminer: Callable[[], Reminer],
    epoch: int,
    *,
    is_first: bool,
    is_made: bool,
) -> None:
    """Give the loss all rows as the model sees them, when it is time.

    Args:
        args: OpenCLIP's options.
        model: The model.
        open_reminer: Returns what makes them.
        epoch: From 0.
        is_first: Whether the run begins with this epoch.
        is_made: Whether an earlier run has made them for this epoch.
    """
    made, loss = holding(args), loss_of(args)
    if made is None or loss is None or made.every is None or (epoch % made.every and not is_first):
        return
    reminer, folder = open_reminer(), made.source(epoch)
    assert folder is not None
    if not is_made or made.is_missing(epoch):
        reminer.embed(model, folder, epoch)
    loss.loss.hold(reminer.rows_of(folder))


def _open_reminer(
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

    Averaged weights also make a file of their own. Rank 0 calls it, before the epoch is saved.

    Args:
        args: OpenCLIP's options.
        trained: The model or task of the trainer.
        data: What ``get_data`` returned.
        checkpoint: OpenCLIP's entries.
    """
    train = data.get("train")
    if not isinstance(train, TrainData):
        return {"vocabulary": get_tokenizer(args).vocabulary} if uses_words(args.model) else {}
    model = upstream.model_of(trained)
    state = run_state(args, model, train)
    if average := getattr(model, AVERAGE, None):
        weights = {"state_dict": average.state_dict(checkpoint["state_dict"])}
        kept = {name: value for name, value in state.items() if name not in (AVERAGE, LOSS_STATE)}
        content = {"epoch": checkpoint["epoch"], "name": args.name, **weights, **kept}
        save_checkpoint(content, Path(args.checkpoint_path) / FILE)
    train.checkpoint = {**checkpoint, **state}
    if train.writer is not None:
        train.writer.wait()  # OpenCLIP may write the same file
        train.writer.note_saved()
        is_saved = _is_saved(args, checkpoint["epoch"])
        train.unsaved = None if is_saved else {**train.checkpoint, STEP: 0}
    return state


def _is_saved(args: argparse.Namespace, completed: int) -> bool:
    """Return whether OpenCLIP saves an epoch."""
    is_due = args.save_frequency > 0 and completed % args.save_frequency == 0
    return bool(completed == args.epochs or is_due or args.save_most_recent)
