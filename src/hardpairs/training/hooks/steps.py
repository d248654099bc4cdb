"""The steps of an epoch, as the patched trainer goes through them: seeds, states, requests to stop.

Between two steps all ranks have the same model, which rank 0 can save, and may end together.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.optim import Optimizer

from hardpairs.core import peers
from hardpairs.core.errors import UserError
from hardpairs.core.ranks import cpu_group
from hardpairs.models.checkpoint import HEAD, PREPROCESS
from hardpairs.models.create import preprocess_of
from hardpairs.models.model_config import uses_words
from hardpairs.training import upstream
from hardpairs.training.average import AVERAGE
from hardpairs.training.data import TrainData
from hardpairs.training.hooks.build import facts_of, get_tokenizer, loss_of
from hardpairs.training.hooks.main_flags import is_main
from hardpairs.training.preemption import REQUESTS, preempted
from hardpairs.training.resume import COUNTS, FACTS, LOSS_STATE, ORIGIN
from hardpairs.training.saving import STEP


def run_steps(
    args: argparse.Namespace,
    trained: nn.Module,
    data: dict[str, Any],
    epoch: int,
    optimizer: Optimizer,
    scaler: Any,
) -> Iterator[tuple[int, Any]]:
    """Yield (number, batch) of an epoch's micro-batches, from that of a resumed run on.

    After each optimizer step the state is saved if it is due. If any rank was asked to stop, the
    state is saved and all ranks end. Without our batches this is ``enumerate(dataloader)``.

    Args:
        args: OpenCLIP's options.
        trained: The model with its wrappers, or the task of the trainer.
        data: What ``get_data`` returned.
        epoch: From 0.
        optimizer: The optimizer.
        scaler: The gradient scaler; ``None`` without one.

    Raises:
        UserError: Exit 75 when the run was asked to stop.
    """
    train = data["train"]
    if not isinstance(train, TrainData):
        yield from enumerate(train.dataloader)
        return
    model = upstream.saved_module(trained)
    is_whole = not getattr(args, "fsdp", False)
    REQUESTS.is_saved = False
    batches, first = iter(train.dataloader), train.batches.first
    for number in range(first, train.batches.num_batches):
        step, micro = divmod(number, args.accum_freq)
        if micro:
            batch = next(batches)
        else:

            def state(step: int = step) -> dict[str, Any]:
                return _state(args, model, train, epoch, step, optimizer, scaler)

            if train.writer is not None and number > first and is_whole:
                train.writer.after_step(state)
            batch = REQUESTS.wait_for(lambda: next(batches))
            if agreed_to_stop(args):
                raise leave(args, train, state if is_whole else None)
        train.unsaved = None
        _seed(args, epoch * train.batches.num_batches + number)
        peers.at(f"epoch {epoch + 1}, step {step + 1}", limited=True)
        yield number, batch
    peers.at(f"after epoch {epoch + 1}")


def agreed_to_stop(args: argparse.Namespace) -> bool:
    """Return whether any rank was asked to stop. A collective call, without the GPU."""
    asked = torch.tensor(float(REQUESTS.asked))
    if args.world_size > 1:
        dist.all_reduce(asked, dist.ReduceOp.MAX, group=cpu_group())
    return bool(asked)


def leave(
    args: argparse.Namespace, train: TrainData, state: Callable[[], dict[str, Any]] | None = None
) -> UserError:
    """Save a state on rank 0, and return the error that ends each rank. A collective call.

    A rank that ended before would make torchrun end the others.

    Args:
        args: OpenCLIP's options.
        train: The training data.
        state: Returns the state; ``None``: what a checkpoint of a whole epoch left unsaved.
    """
    peers.at("saving its state")
    if train.writer is not None and state is not None:
        train.writer.write_now(state())
    elif state is None:
        save_unsaved(train)
    if args.world_size > 1:
        dist.barrier(group=cpu_group())
    return preempted(str(args.checkpoint_path) if args.logs and args.logs != "none" else "")


def save_unsaved(train: TrainData) -> str:
    """Save the last whole epoch if no file holds it, and return the folder; on rank 0 alone."""
    if train.writer is None:
        return ""
    train.writer.wait()
    if train.unsaved is not None:
        train.writer.write_now(train.unsaved)
    return str(train.writer.path.parent)


def _state(
    args: argparse.Namespace,
    model: nn.Module,
    train: TrainData,
    epoch: int,
    step: int,
    optimizer: Optimizer,
    scaler: Any,
) -> dict[str, Any]:
    checkpoint = {
        "epoch": epoch,
        STEP: step,
        "name": args.name,
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    if scaler is not None:
        checkpoint["scaler"] = scaler.state_dict()
    if is_main(args):
        steps = epoch * (train.batches.num_batches // args.accum_freq) + step
        size = args.batch_size * args.accum_freq * args.world_size
        checkpoint |= {"global_step": steps, "samples_seen": steps * size}
    return {**checkpoint, **run_state(args, model, train)}


def run_state(args: argparse.Namespace, model: nn.Module, train: TrainData) -> dict[str, Any]:
    """Return what a checkpoint of ours has besides OpenCLIP's entries, on rank 0.

    These are the word list, what the run is and was trained on, how images were prepared, the kind
    of head, what the loss keeps from step to step, and averaged weights.

    Args:
        args: OpenCLIP's options.
        model: The trained model.
        train: The training data.
    """
    model, loss = upstream.model_of(model), loss_of(args)
    counts = {} if loss is None else loss.counts
    state: dict[str, Any] = {
        ORIGIN: {
            "dataset_fingerprint": train.samples.fingerprint,
            "hard_pairs_sha256": None if train.table is None else train.table.manifest["sha256"],
            FACTS: facts_of(args),
            COUNTS: {name: count * args.world_size for name, count in counts.items()},
        },
        PREPROCESS: preprocess_of(model),
    }
    if uses_words(args.model):
        state["vocabulary"] = get_tokenizer(args).vocabulary
    if hasattr(model, HEAD):
        state[HEAD] = getattr(model, HEAD).options
    if average := getattr(model, AVERAGE, None):
        state[AVERAGE] = average.state()
    if kept := {} if loss is None else loss.loss.state():
        state[LOSS_STATE] = kept
    return state


def _seed(args: argparse.Namespace, number: int) -> None:
    """Let what the model draws, as for dropout, follow from the micro-batch and the rank."""
    entropy = (args.seed, number, args.rank)
    seed = np.random.SeedSequence(entropy, spawn_key=(2,)).generate_state(1, np.uint64)
    torch.manual_seed(int(seed[0] >> np.uint64(1)))
