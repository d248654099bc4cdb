"""Our flags beside OpenCLIP's, and the checks that run before a model is built.

The patched trainer's parser calls ``add_arguments`` and ``check_arguments``. This is the only place
that assigns to the parsed namespace: OpenCLIP reads its own options there.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import math
import os
import sys
from pathlib import Path
from typing import Any

from hardpairs.batches import BATCHES
from hardpairs.core.errors import flags, usage
from hardpairs.core.flags import add_flags, given_flags, refuse_idle, refuse_unread
from hardpairs.core.parser import FlagFormatter, shorten_refusals
from hardpairs.core.paths import check_exists, check_weights
from hardpairs.data.imagenet import check_imagenet_folder
from hardpairs.losses import LOSSES
from hardpairs.training.config import CAPTIONS_JSON, TrainingConfig, defaults, option_groups
from hardpairs.training.hooks.config_file import add_config
from hardpairs.training.hooks.main_flags import check_main, is_main
from hardpairs.training.upstream import world_info

LOG = logging.getLogger(__name__)

OF_OPENCLIP_TOO = {
    *(
        "max_bad_fraction",
        "csv_group_key",
        "unlabelled",
        "captions_json",
        "image_root",
        "results_dir",
    ),
    *("freeze_bn_stats", "image_weights", "vocabulary_from", "advice", "resume_changes"),
    *("keep_checkpoints", "peer_timeout"),
}
"""Options that also count, or do no harm, when OpenCLIP makes the batches."""
DEFAULT_LOSS = "clip_ce"
PATHS = ("train_data", "val_data", "captions_json", "reject", "watch")
"""Options that name files or folders."""
LIMITS = {
    "batch_size": 1,
    "epochs": 1,
    "accum_freq": 1,
    "workers": 0,
    "seed": 0,
    "warmup": 0,
    "log_every_n_steps": 1,
}
"""Smallest values of OpenCLIP's options."""
EMULATED_PRECISION = "amp"
"""Value of ``--precision`` that a CPU emulates in float16."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add our groups to OpenCLIP's parser. With none of these given, OpenCLIP runs as it is."""
    parser.formatter_class = FlagFormatter
    shorten_refusals(parser)
    add_config(parser)
    ours = parser.add_argument_group("loss and batches")
    ours.add_argument("--loss-fn", type=_loss_name, metavar="NAME", help=_names("loss", LOSSES))
    ours.add_argument(
        "--batching",
        choices=BATCHES,
        metavar="NAME",
        help=_names("batch maker", BATCHES) + "; default: OpenCLIP's, or random",
    )
    ours.add_argument(
        "--use-hard", action="store_true", help="hard-pair batches, as --batching hard-pairs"
    )
    ours.add_argument(
        "--preset",
        metavar="NAME",
        help="published settings, in hardpairs train and training.main; other flags win",
    )
    add_flags(parser, option_groups())
    # So that ``_choose_precision`` knows what was given.
    default = parser.get_default("precision")
    parser.set_defaults(precision=None, default_precision=default)
    for action in parser._actions:
        if action.dest == "dataset_type" and action.choices is not None:
            action.choices = [*action.choices, CAPTIONS_JSON]


def _names(kind: str, names: Any) -> str:
    return f"{kind}: {', '.join(names)}"


def _loss_name(name: str) -> str:
    name = name.replace("-", "_")
    if name not in LOSSES:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(LOSSES)}, not {name!r}")
    return name


def check_arguments(
    parser: argparse.ArgumentParser, args: argparse.Namespace
) -> argparse.Namespace:
    """Refuse what cannot work, open the data once, and set what OpenCLIP reads.

    Args:
        parser: OpenCLIP's, with our flags.
        args: What it parsed.

    Returns:
        The same namespace, with the effective value of every option of ours.

    Raises:
        UserError: Exit 2 for flags that do not go together; 3 or 4 for data that cannot be used.
    """
    given = given_flags(vars(args), option_groups())
    args.loss_fn = args.loss_fn or DEFAULT_LOSS
    _check_paths(args)
    _split_captions(args)
    groups = option_groups()
    args.batching = _batching(args, given)
    chosen = {"--loss-fn": args.loss_fn, "--batching": args.batching}
    refuse_unread(given, groups, chosen)
    config = TrainingConfig.from_values(vars(args))
    for options, part in config.parts():
        refuse_idle(given, part, options)
    ours = {**defaults(), **dict(config.effective())}
    vars(args).update({n: v for n, v in ours.items() if getattr(args, n, None) is None})
    _check_start(parser, args)
    if config.batching is None:
        _choose_precision(args, ours=False)
        return args
    _check_openclip(config, args)
    _check_batches(config, args)
    _check_loss(config, args)
    _check_training(config, args)
    _tell_openclip(parser, config, args)
    if config.remining.remine_every is not None and config.remining.remine_every >= args.epochs:
        raise usage(
            f"--remine-every {config.remining.remine_every} has no effect in {args.epochs} epochs",
            fix="more --epochs",
        )
    _check_data(parser, config, args)
    _choose_precision(args, ours=True)
    return args


def _choose_precision(args: argparse.Namespace, *, ours: bool) -> None:
    """Set ``--precision`` where none was given, and warn of a slow one.

    OpenCLIP's own is autocast to float16, which a CPU emulates; main's to bfloat16.

    Args:
        args: OpenCLIP's options; ``precision`` is ``None`` where none was given.
        ours: Whether flags of ours are given. Without them OpenCLIP's default stays.
    """
    given, on_cpu = args.precision, _is_cpu(getattr(args, "device", None) or "cuda")
    default = vars(args).pop("default_precision")
    args.precision = given or ("fp32" if ours and on_cpu else default)
    if not on_cpu or world_info()[0]:
        return
    if given is None and ours:
        print("--precision fp32: none was given, and this run is on a CPU.", file=sys.stderr)
    elif args.precision == EMULATED_PRECISION:
        print(
            "warning: --precision amp is emulated on a CPU, and a step takes several times as long "
            "as with --precision fp32.",
            file=sys.stderr,
        )


def _is_cpu(device: str) -> bool:
    """Return whether OpenCLIP runs on the CPU, to which it falls back without a GPU."""
    if not device.startswith("cuda"):
        return device == "cpu"
    import torch

    return not torch.cuda.is_available()


def _check_paths(args: argparse.Namespace) -> None:
    """Refuse paths where there is nothing and data that cannot be read, without PyTorch.

    The weights in ``local-dir:FOLDER`` become ``--pretrained``, as if they had been given.
    """
    from hardpairs.models.model_folder import folder_weights
    from hardpairs.training.samples import SAMPLE_FLAGS, open_training_samples

    for name in PATHS:
        if value := getattr(args, name, None):
            check_exists(value)
    check_weights(args.pretrained)
    args.pretrained = args.pretrained or folder_weights(args.model)
    if args.use_hard and args.hard_dict_dir:
        check_exists(args.hard_dict_dir)
    ours = args.batching or args.use_hard or args.loss_fn != DEFAULT_LOSS
    if ours and args.train_data and args.captions_json is None:
        given = {name: value for name, value in vars(args).items() if value is not None}
        with flags(**SAMPLE_FLAGS):
            open_training_samples({**defaults(), **given})  # kept for the checks that follow


def _split_captions(args: argparse.Namespace) -> None:
    """Make ``--train-data`` and ``--val-data`` of ``--captions-json``."""
    if args.captions_json is None:
        if args.results_dir is not None:
            raise usage(
                "--results-dir is for the test part of --captions-json, which is not given",
                fix="leave it out, and use: hardpairs evaluate",
            )
        return
    if args.train_data or args.val_data:
        raise usage(
            "--captions-json is split into --train-data and --val-data, and one of them is given",
            fix="leave one out",
        )
    from hardpairs.training.captions_split import split_captions

    split = split_captions(
        args.captions_json,
        Path(args.logs) / "split",
        image_root=args.image_root,
        verbose=world_info()[0] == 0,
    )
    args.train_data, args.val_data = str(split.table("train")), str(split.table("val"))
    args.dataset_type, args.csv_separator = "csv", ","
    args.csv_img_key, args.csv_caption_key = "filepath", "title"


def _check_start(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse flags without effect, and a small model without weights or words."""
    from hardpairs.models.create import find_image_weights
    from hardpairs.models.model_config import uses_words
    from hardpairs.training.samples import SampleOptions
    from hardpairs.training.vocabulary import vocabulary_captions

    start = args.pretrained or getattr(args, "resume", None)
    if args.image_weights is not None and args.pretrained:
        raise usage(
            f"--image-weights {args.image_weights} has no effect: all weights come from "
            "--pretrained",
            fix="leave one out",
        )
    find_image_weights(args.model, args.image_weights, fresh=not start)
    if args.vocabulary_from is not None and not uses_words(args.model):
        raise usage(
            f"--vocabulary-from has no effect: {args.model} has tokens of its own",
            fix="leave it out",
        )
    if args.vocabulary_from is not None and args.pretrained:
        raise usage(
            "--vocabulary-from has no effect: the words come with --pretrained",
            fix="leave one out",
        )
    if args.vocabulary_from not in (None, "train") and not start:
        with flags(["vocabulary_from"]):
            options = SampleOptions.from_values(vars(args))
            vocabulary_captions(args.vocabulary_from, args.train_data, options)
    if args.warmup_epochs is not None and args.warmup != parser.get_default("warmup"):
        raise usage(
            "--warmup and --warmup-epochs say the same in other units", fix="give one of them"
        )


def _batching(args: argparse.Namespace, given: dict[str, str]) -> str | None:
    """Return the name of the batch maker; ``None`` when no flag of ours needs one."""
    if args.use_hard:
        if args.batching not in (None, "hard-pairs"):
            raise usage(f"--use-hard and --batching {args.batching} contradict each other")
        return "hard-pairs"
    from hardpairs.training.captions_split import is_ours_to_read

    openclips = OF_OPENCLIP_TOO
    if args.captions_json is None:
        openclips = openclips - {"image_root"}  # OpenCLIP reads a table's paths as they are
    ours = any(getattr(args, name) is not False for name in given if name not in openclips)
    with flags(["dataset_type", "train_data"]):
        is_ours = is_ours_to_read(args.train_data or "", getattr(args, "dataset_type", None))
    ours = ours or args.loss_fn != DEFAULT_LOSS or is_ours
    if args.batching is not None or not ours:
        return args.batching and str(args.batching)
    if args.loss_fn == DEFAULT_LOSS:
        return "random"
    loss = LOSSES.load(args.loss_fn)
    return "m-per-class" if loss.needs_labels and not loss.needs_class_weights else "random"


def _tell_openclip(
    parser: argparse.ArgumentParser, config: TrainingConfig, args: argparse.Namespace
) -> None:
    """Set the options of OpenCLIP that follow from ours."""
    if config.loss_fn == "siglip":
        args.siglip = True
    if config.data.max_steps is not None and args.epochs == parser.get_default("epochs"):
        args.epochs = 1
    if args.lock_text:
        # OpenCLIP's own towers know no other way and fail without it.
        args.lock_text_freeze_layer_norm = True
    # Right on any number of ranks; OpenCLIP leaves both off.
    args.local_loss = args.gather_with_grad = True


def _check_openclip(config: TrainingConfig, args: argparse.Namespace) -> None:
    """Refuse values of OpenCLIP's options that do not work with our batches."""
    for name, least in LIMITS.items():
        if getattr(args, name, least) < least:
            flag = f"--{name.replace('_', '-')}"
            raise usage(f"{flag} must be at least {least}, not {getattr(args, name)}")
    learning_rate = getattr(args, "lr", None)
    if learning_rate is not None and not 0 < learning_rate < math.inf:
        raise usage(f"--lr must be a positive number, not {learning_rate}")
    if not config.needs_labels and args.batch_size * world_info()[1] * args.accum_freq < 2:
        raise usage("a batch of one pair has no negatives", fix="--batch-size 2 or more")
    if not args.train_data:
        raise usage(
            "our flags need --train-data",
            fix="a table, shards, a folder of images, or --captions-json FILE",
        )
    for name in ("horovod", "distill_model", "dataset_resampled", "train_data_upsampling_factors"):
        if getattr(args, name, None):
            flag = f"--{name.replace('_', '-')}"
            raise usage(f"{flag} does not work together with our batches and losses")
    if getattr(args, "use_bnb_linear", None) and importlib.util.find_spec("bitsandbytes") is None:
        raise usage(
            "--use-bnb-linear needs bitsandbytes and triton on a GPU",
            fix="pip install bitsandbytes triton",
        )
    if "coca" in args.model.lower():
        raise usage("CoCa's captioning loss does not work together with our batches and losses")
    check_main(config, args)


def _check_batches(config: TrainingConfig, args: argparse.Namespace) -> None:
    """Refuse options of the batch maker that do not fit the run."""
    needs_positives = config.needs_labels and not config.needs_class_weights
    if needs_positives and getattr(config.batches, "m_per_class", None) == 1:
        raise usage(
            f"--m-per-class 1 leaves every row without a positive, and --loss-fn {config.loss_fn} "
            "learns from positives",
            fix="--m-per-class 2 or more",
        )
    if args.remine_every and args.empty_rows == "skip":
        raise usage(
            "--remine-every changes which lists are empty, and an epoch's length must not change",
            fix="--empty-rows random",
        )


def _check_loss(config: TrainingConfig, args: argparse.Namespace) -> None:
    """Refuse options of the loss that do not fit the batches or the start model."""
    batches = {
        "margin_weight": "the margin compares with hard pairs, which only hard-pair batches have",
        "sanw_exempt_hard_pairs": "--sanw-exempt-partners needs hard-pair batches",
    }
    for field, problem in batches.items():
        if getattr(config.loss, field, False) and config.batching != "hard-pairs":
            raise usage(problem, fix="--use-hard --hard-dict-dir FILE")
    of_start = [field.replace("_", "-") for field in config.start_features.values()]
    if of_start and not args.pretrained:
        raise usage(
            f"--{of_start[0]} initial compares by the start model's weights, and there are none",
            fix="--pretrained",
        )
    if args.siglip or config.loss_fn == "siglip":
        for field in ("hardness_weight", "blend_targets"):
            if getattr(config.loss, field, None):
                flag = f"--{field.replace('_', '-')}"
                raise usage(f"{flag} is for softmax losses, not for SigLIP's", fix="leave one out")
    if config.loss_fn == "global" and args.siglip:
        raise usage("--loss-fn global has no sigmoid form", fix="leave --siglip out")
    variant = getattr(config.loss, "sanw_variant", None)
    if variant and (args.siglip or world_info()[1] > 1):
        raise usage("--sanw-variant is for one process and the softmax form")
    if variant == "seed-v2":
        LOG.warning("This formula is unbounded below: it can fall without a better model.")


def _check_training(config: TrainingConfig, args: argparse.Namespace) -> None:
    """Refuse options of freezing and validation that do not fit OpenCLIP's."""
    trained, validation = config.trained, config.validation
    if trained.freeze_epochs is not None:
        if not (trained.freeze_backbone or args.lock_image or args.lock_text):
            raise usage(
                "--freeze-epochs says when what is frozen is trained, and nothing is frozen",
                fix="--freeze-backbone, --lock-image or --lock-text",
            )
        if args.ddp_static_graph:
            raise usage("--ddp-static-graph does not work together with --freeze-epochs")
    if validation.watch and not (args.val_data and args.val_frequency):
        raise usage(
            "--watch is measured with the validation data, and there is none",
            fix="--val-data, with --val-frequency from 1 on",
        )
    if config.data.val_split and not args.val_data:
        raise usage(
            "--val-split is a part of the validation data, and there is none", fix="--val-data"
        )
    if validation.save_best and not (args.val_data and args.val_frequency):
        raise usage(
            "--save-best needs validation data",
            fix="--val-data, with --val-frequency from 1 on",
        )
    if validation.save_best and (not args.logs or args.logs.lower() == "none"):
        raise usage("--save-best reads what the run wrote down", fix="--logs FOLDER")


def _check_data(
    parser: argparse.ArgumentParser, config: TrainingConfig, args: argparse.Namespace
) -> None:
    """Open the data, make the batches, and check that all belongs together."""
    resume = getattr(args, "resume", None) or ""
    if os.path.isdir(resume) and not is_main(args):
        raise usage("--resume names a folder", where=resume, fix="name a checkpoint in it")
    if getattr(args, "imagenet_val", None):
        if not Path(args.imagenet_val).is_dir():
            where = f"--imagenet-val {args.imagenet_val}"
            raise usage("no such folder", where=where, fix="check the path")
        check_imagenet_folder(args.imagenet_val)
    from hardpairs.data.unreadable import check_images_are_there
    from hardpairs.training.batching import BatchingConfig
    from hardpairs.training.data import batches_per_epoch
    from hardpairs.training.samples import (
        SampleOptions,
        open_once,
        open_training_samples,
        open_validation_samples,
    )
    from hardpairs.training.similarities import open_features
    from hardpairs.training.validation import check_val_labels

    rank, world_size = world_info()
    log = Path(getattr(args, "logs", None) or ".") / (getattr(args, "name", None) or "") / "out.log"
    if rank == 0 and getattr(args, "name", None) and log.exists() and args.resume != "latest":
        has_one = any((log.parent / "checkpoints").glob("epoch_*"))
        latest = "goes on with its last checkpoint" if has_one else "starts it anew, without one"
        raise usage(
            "a run of this name exists",
            where=str(log.parent),
            fix=f"--resume latest {latest}; or choose another --name",
        )
    batching = BatchingConfig.from_values(vars(args))
    with flags(["max_steps", "epochs"], **batching.flags):
        samples = open_training_samples(vars(args))
        sampler = batching.sampler(samples, rank=rank, world_size=world_size, verify=rank == 0)
        num_batches = batches_per_epoch(sampler, args.max_steps, args.epochs)
        if rank == 0:
            check_images_are_there(samples, args.max_bad_fraction)
    if args.warmup_epochs is not None and args.warmup == parser.get_default("warmup"):
        args.warmup = round(args.warmup_epochs * (num_batches // args.accum_freq))
    steps = num_batches // args.accum_freq * args.epochs
    if config.trained.recover_steps is not None and config.trained.recover_steps >= steps:
        raise usage(
            f"--recover-steps {config.trained.recover_steps} leaves no step of the run's {steps} "
            "to train in",
            fix="fewer, or more --epochs",
        )
    if config.validation.watch is not None:
        options = SampleOptions.from_values(vars(args)).of_other_data()
        open_once(config.validation.watch, options)
    validation_samples = open_validation_samples(vars(args)) if args.val_data else None
    if config.validation.save_best and validation_samples is not None:
        check_val_labels(
            config.validation.save_best,
            validation_samples,
            with_captions=config.needs_labels and config.head.embed != "image",
        )
    for field, folder in config.stored_features.items():
        open_features(field, folder, samples, verify=rank == 0)
