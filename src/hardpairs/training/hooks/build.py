"""Functions that the patched trainer calls to build the model, the data and the loss."""

from __future__ import annotations

import argparse
import copy
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn

from hardpairs.batches.sources import open_table
from hardpairs.core.errors import flags, usage
from hardpairs.core.flags import flags_in_messages
from hardpairs.core.remote import is_url
from hardpairs.losses import LossContext, World
from hardpairs.models import create
from hardpairs.models.checkpoint import checkpoint_preprocess, is_weights, load_checkpoint
from hardpairs.models.create import (
    find_image_weights,
    freeze_statistics,
    prepare_towers,
)
from hardpairs.models.miniclip import MiniCLIP
from hardpairs.models.model_config import make_tokenizer, register_configs, uses_words
from hardpairs.training import freezing, upstream, validation
from hardpairs.training.augment import augmented
from hardpairs.training.average import add_average
from hardpairs.training.batching import BatchingConfig
from hardpairs.training.checkpoint_fit import check_optimizer, check_weights
from hardpairs.training.config import TrainingConfig, all_options
from hardpairs.training.data import Remining, TrainData, batches_per_epoch, train_data
from hardpairs.training.finite import stop_when_not_finite
from hardpairs.training.heads import add_head, class_groups, embedding_width, make_head
from hardpairs.training.measuring import Inference
from hardpairs.training.recovery import add_recovery
from hardpairs.training.reduction import reduce_one_by_one
from hardpairs.training.resume import (
    LOSS_STATE,
    Facts,
    Resumed,
    check_same_run,
    counts_in,
    first_step,
    run_facts,
    stored_facts,
    with_prefix,
)
from hardpairs.training.run_loss import RunLoss, build_run_loss
from hardpairs.training.samples import (
    SampleOptions,
    open_once,
    open_training_samples,
    open_validation_samples,
)
from hardpairs.training.similarities import StartModel
from hardpairs.training.validation_data import (
    LeavableLoader,
    PairDataset,
    ValidationBatches,
    ValidationData,
)
from hardpairs.training.vocabulary import run_vocabulary, vocabulary_captions
from hardpairs.training.watch import Watch

SAME_MODEL = (
    *("force_image_size", "force_quick_gelu", "force_custom_text", "force_context_length"),
    *("pretrained_image", "cache_dir"),
)
"""Options of OpenCLIP that change what a model's weights make of an input."""


_configs: list[tuple[argparse.Namespace, TrainingConfig]] = []
_losses: list[tuple[argparse.Namespace, RunLoss]] = []
_resumed: list[tuple[argparse.Namespace, Resumed]] = []
_facts: list[tuple[argparse.Namespace, Facts]] = []


def config_of(args: argparse.Namespace) -> TrainingConfig:
    """Return the configuration of a run, which is built once for its namespace."""
    if not _configs or _configs[0][0] is not args:
        _configs[:] = [(args, TrainingConfig.from_values(vars(args)))]
    return _configs[0][1]


def create_model_and_transforms(
    model_name: str, pretrained: str | None = None, **options: Any
) -> tuple[Any, ...]:
    """Create OpenCLIP's models or ours; raise a readable error for weights that are missing.

    Args:
        model_name: OpenCLIP's or our name.
        pretrained: A file, a tag of the model, or ``None``.
        **options: Further arguments of OpenCLIP's function.

    Returns:
        The model, and its transforms for training and validation.
    """
    register_configs()
    if (
        pretrained
        and not is_weights(pretrained)
        and ":" not in model_name
        and pretrained not in open_clip.list_pretrained_tags_by_model(model_name)
    ):
        raise usage(
            f"--pretrained is neither a file nor a tag of {model_name}",
            where=pretrained,
            fix="check the path",
        )
    stored = checkpoint_preprocess(pretrained) if pretrained and is_weights(pretrained) else {}
    options |= {name: value for name, value in stored.items() if options.get(name) is None}
    model, *transforms = create.create_model_and_transforms(model_name, pretrained, **options)
    freezing.note_design(model)
    freezing.refuse_lost_activations(model)
    return model, *transforms


def prepare_model(model: nn.Module, args: argparse.Namespace) -> nn.Module:
    """Change the model before it is wrapped for several processes.

    Small towers get words and image weights, losses for labels their head; what the options name is
    frozen.
    """
    config = config_of(args)
    if isinstance(model, MiniCLIP):
        _prepare_towers(model, args)
    model = freeze_statistics(model) if config.trained.freeze_bn_stats else model
    if config.needs_labels:
        groups = None
        if config.needs_class_weights:
            groups = class_groups(open_training_samples(vars(args)))
        model = add_head(model, make_head(config.head, args.model, groups), args.pretrained)
    if config.batching is not None:
        with flags_in_messages(all_options()):
            freezing.freeze(
                model,
                backbone=config.trained.freeze_backbone,
                epochs=config.trained.freeze_epochs,
                needs_training=bool(args.train_data),
            )
    if config.batching is not None and not args.rank:
        _warn_of_memory(model, config)
    if _is_file(args.resume):
        check_weights(args.resume, model)
    return model


def _warn_of_memory(model: nn.Module, config: TrainingConfig) -> None:
    """Warn where the loss has a memory of features that the model leaves behind."""
    of_batches, matched, of_all = (
        bool(getattr(config.loss, name, False))
        for name in ("memory_batches", "memory_match", "memory_every")
    )
    if (of_batches or of_all) and freezing.has_moving_statistics(model):
        logging.warning(
            "Batch norms train: each batch of the memory was made with statistics of its own. "
            "--freeze-bn-stats keeps them."
        )
    trained = config.trained
    stays_frozen = trained.freeze_backbone and not trained.freeze_epochs
    if of_batches and not stays_frozen:
        slower = "" if matched else " --memory-match makes that slower."
        logging.warning(
            "Whole towers train, and the features of past batches stand still: a model can move "
            "everything away from them, until all embeddings are nearly one and pos_logit and "
            f"hard_logit are equal.{slower}"
        )


def ddp_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return options for DistributedDataParallel.

    Parameters that are frozen for some epochs get no gradient in them.
    """
    return {"find_unused_parameters": True} if config_of(args).trained.freeze_epochs else {}


def prepare_optimizer(
    optimizer: torch.optim.Optimizer, model: nn.Module, args: argparse.Namespace
) -> torch.optim.Optimizer:
    """Add to the optimizer what happens at its steps.

    The first steps move its statistics alone, the head has a learning rate of its own, and rank 0
    averages the weights, each where the options say so. Numbers that are not finite stop the run.
    The processes' gradients are joined so that a resumed run has the same bits.

    Args:
        optimizer: The trainer's.
        model: The model or task that it trains.
        args: OpenCLIP's options.
    """
    if config_of(args).batching is not None:
        reduce_one_by_one(model)
    trained, recovery, model = config_of(args).trained, None, upstream.model_of(model)
    if trained.recover_steps is not None:
        recovery = add_recovery(optimizer, model, trained.recover_steps)
    if trained.head_lr is not None:
        freezing.head_groups(optimizer, model, rate=args.lr, head_rate=trained.head_lr)
    if recovery is not None:
        optimizer.register_step_post_hook(recovery.after)
    # FSDP's shards cannot be looked at one by one; the loss is checked by itself.
    if config_of(args).batching is not None and not getattr(args, "fsdp", False):
        stop_when_not_finite(optimizer, model)
    if trained.ema is not None and not args.rank:
        add_average(optimizer, model, trained.ema)
    if _is_file(args.resume):
        check_optimizer(args.resume, optimizer)
    return optimizer


def resumed_checkpoint(args: argparse.Namespace) -> dict[str, Any]:
    """Return the checkpoint that a run goes on from, by the names of its weights on these ranks.

    Raises:
        UserError: exit 2 or 4 when it is of a run on other data or with other options, but for
            ``--resume-changes``.
    """
    config = config_of(args)
    if config.batching is None:
        checkpoint: dict[str, Any] = upstream.patched("file_utils").pt_load(
            args.resume, map_location="cpu"
        )
    else:
        checkpoint = load_checkpoint(args.resume)
    if "epoch" not in checkpoint:
        return checkpoint
    if config.batching is not None:
        stored, ours = stored_facts(checkpoint), facts_of(args)
        with flags_in_messages(all_options()):
            check_same_run(stored, ours, config.saving.resume_changes, str(args.resume))
        start = checkpoint["epoch"], first_step(checkpoint, stored, ours)
        _resumed[:] = [(args, Resumed(start, checkpoint.get(LOSS_STATE), counts_in(checkpoint)))]
    weights = with_prefix(checkpoint["state_dict"], distributed=args.distributed)
    return {**checkpoint, "state_dict": weights}


def resumed_run(args: argparse.Namespace) -> Resumed:
    """Return what a run takes over from its checkpoint, beside what OpenCLIP does."""
    return _resumed[0][1] if _resumed and _resumed[0][0] is args else Resumed()


def facts_of(args: argparse.Namespace) -> Facts:
    """Return what tells the run from others, for its checkpoints; it is found once."""
    if not _facts or _facts[0][0] is not args:
        _facts[:] = [(args, _find_facts(args))]
    return _facts[0][1]


def _find_facts(args: argparse.Namespace) -> Facts:
    config, samples = config_of(args), open_training_samples(vars(args))
    path, digest = getattr(config.batches, "hard_pairs", None), None
    if path is not None:
        table = open_table(path, samples, getattr(config.batches, "url_index", None))
        digest = str(table.manifest["sha256"])
    return run_facts(config, vars(args), data=samples.fingerprint, hard_pairs=digest)


def _is_file(resume: str | None) -> bool:
    """Return whether a run goes on from a file here; main's sharded checkpoints are folders."""
    return resume is not None and not is_url(resume) and Path(resume).is_file()


def _prepare_towers(model: MiniCLIP, args: argparse.Namespace) -> None:
    fresh = not (args.pretrained or args.resume)
    vocabulary = _vocabulary(args)
    weights = find_image_weights(args.model, args.image_weights, fresh=fresh)
    prepare_towers(model, vocabulary, weights)
    if not args.rank:
        start = (weights or "random weights") if fresh else args.resume or args.pretrained
        logging.info(f"Image tower: {start}. Vocabulary: {len(vocabulary or ())} words.")


def get_tokenizer(args: argparse.Namespace, context_length: int | None = None) -> Any:
    """Return the model's tokenizer.

    A word vocabulary comes from the checkpoint that the run starts from, or else from captions.

    Args:
        args: OpenCLIP's options.
        context_length: Tokens of a text; the default is that of the options or the model.
    """
    # OpenCLIP 2.32 has no such flag.
    context_length = context_length or getattr(args, "force_context_length", None)
    if not uses_words(args.model):
        return open_clip.get_tokenizer(
            args.model, cache_dir=args.cache_dir, context_length=context_length
        )
    return make_tokenizer(args.model, _vocabulary(args), context_length=context_length)


def get_data(
    args: argparse.Namespace,
    preprocess_fns: tuple[Callable[..., Any], Callable[..., Any]],
    epoch: int = 0,
    tokenizer: Any = None,
    **options: Any,
) -> dict[str, Any]:
    """Return OpenCLIP's data, or ours for training and validation.

    Args:
        args: OpenCLIP's options.
        preprocess_fns: The transforms for training and validation.
        epoch: The first epoch.
        tokenizer: The model's tokenizer.
        **options: Further arguments of OpenCLIP's function.
    """
    theirs: Callable[..., dict[str, Any]] = upstream.patched("data").get_data
    config = config_of(args)
    if config.batching is None:
        return theirs(args, preprocess_fns, epoch=epoch, tokenizer=tokenizer, **options)
    preprocess_train, preprocess_val = preprocess_fns
    if config.trained.augment is not None:
        preprocess_train = augmented(config.trained.augment, preprocess_val)
    data: dict[str, Any] = {"train": _train_data(args, preprocess_train, tokenizer)}
    if args.val_data:
        samples = open_validation_samples(vars(args))
        pairs = PairDataset(samples, preprocess_val, tokenizer)
        batches = ValidationBatches(pairs, args.batch_size, args.workers)
        watch = _watch(args, preprocess_val, tokenizer)
        data["val"] = ValidationData(batches, inference(args), watch)
        if not args.rank:
            validation.log_groups(samples, pairs.rows)
    rest = copy.copy(args)
    rest.train_data = rest.val_data = None
    rest.dataset_type = "auto"
    rest_of_data = theirs(rest, preprocess_fns, epoch=epoch, tokenizer=tokenizer, **options)
    for other in rest_of_data.values():
        other.dataloader = LeavableLoader(other.dataloader)
    return {**data, **rest_of_data}


def inference(args: argparse.Namespace) -> Inference:
    """Return how the run's model is measured."""
    autocast = upstream.patched("precision").get_autocast
    return Inference(
        device=args.device,
        input_dtype=open_clip.get_input_dtype(args.precision),
        autocast=autocast(args.precision, device_type=torch.device(args.device).type),
    )


def _watch(args: argparse.Namespace, transform: Callable[..., Any], tokenizer: Any) -> Watch | None:
    source = config_of(args).validation.watch
    if source is None:
        return None
    return Watch(
        open_once(source, SampleOptions.from_values(vars(args)).of_other_data()),
        transform,
        tokenizer,
        batch_size=args.batch_size,
        workers=args.workers,
        inference=inference(args),
    )


def _train_data(
    args: argparse.Namespace, transform: Callable[..., Any], tokenizer: Any
) -> TrainData:
    batching = BatchingConfig.from_values(vars(args))
    with flags(**batching.flags):
        samples = open_training_samples(vars(args))
        data = train_data(
            samples,
            batching,
            transform,
            tokenizer,
            num_batches=lambda sampler: batches_per_epoch(sampler, args.max_steps, args.epochs),
            remining=remining(args),
            workers=args.workers,
            rank=args.rank,
            world_size=args.world_size,
        )
    data.start = resumed_run(args).start
    steps = len(data.batches) // args.accum_freq * args.epochs
    if not args.rank and args.lr_scheduler != "const" and args.warmup >= steps:
        logging.warning(
            f"--warmup {args.warmup} is longer than the run's {steps} steps: the learning rate "
            f"never gets to {args.lr}."
        )
    if not args.rank and args.train_num_samples and args.train_num_samples != len(samples):
        logging.info(
            f"--train-num-samples {args.train_num_samples} is not needed here; the data has "
            f"{len(samples)} rows."
        )
    return data


def remining(args: argparse.Namespace) -> Remining:
    """Return when and where the run makes hard pairs or embeddings."""
    config = config_of(args)
    folder = Path(args.logs) / args.name / "remined"
    return Remining(config.remining.remine_every, folder, at_start=config.embeds_first)


def holding(args: argparse.Namespace) -> Remining | None:
    """Return when and where the run embeds all rows for its loss; ``None``: never."""
    every = getattr(config_of(args).loss, "memory_every", None)
    folder = Path(args.logs) / args.name / "memory"
    return None if every is None else Remining(every, folder, at_start=True)


def _vocabulary(args: argparse.Namespace) -> list[str] | None:
    start = args.resume or (args.pretrained if is_weights(args.pretrained) else None)
    options = SampleOptions.from_values(vars(args))
    captions = functools.partial(
        vocabulary_captions, args.vocabulary_from, args.train_data, options, args.reject
    )
    return run_vocabulary(args.model, start, captions if args.train_data else None)


def create_loss(args: argparse.Namespace) -> nn.Module:
    """Return OpenCLIP's loss, or ours where the batches are ours."""
    config = config_of(args)
    if config.batching is None:
        theirs: nn.Module = open_clip.create_loss(args)
        return theirs
    samples = open_training_samples(vars(args))
    context = LossContext(
        World(args.rank, args.world_size, args.local_loss, args.gather_with_grad),
        sigmoid=args.siglip,
        hard_per_target=getattr(config.batches, "hard_per_target", 0),
        group_ids=class_groups(samples) if config.needs_labels else None,
        width=embedding_width(config.head, args.model) if config.needs_labels else 0,
        epochs=args.epochs,
    )
    if not args.rank and args.logs and args.logs.lower() != "none":
        config.save(Path(args.logs) / args.name / "config.json")
    loss = build_run_loss(
        config,
        samples,
        context,
        start_model=functools.partial(_start_model, args),
        accumulate=args.accum_freq,
    )
    resumed = resumed_run(args)
    if resumed.loss:
        loss.loss.load_state(resumed.loss, args.device)
    loss.counts.update({name: n // args.world_size for name, n in resumed.counts.items()})
    _losses[:] = [(args, loss)]
    return loss


def loss_of(args: argparse.Namespace) -> RunLoss | None:
    """Return the loss of ours that a run was given; ``None`` without one."""
    return _losses[0][1] if _losses and _losses[0][0] is args else None


def _start_model(args: argparse.Namespace) -> StartModel:
    same = {name: getattr(args, name) for name in SAME_MODEL if hasattr(args, name)}
    model, *_ = create_model_and_transforms(
        args.model, args.pretrained, precision="fp32", device=args.device, **same
    )
    return StartModel(model, args.device)
