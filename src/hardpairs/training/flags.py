"""Our flags, added to OpenCLIP's, and the checks that stop a wrong combination before any model is built."""

from __future__ import annotations

import argparse
import importlib.util
import logging
import math
from pathlib import Path
from typing import Any

from hardpairs.batches import BATCHES, open_stored_embeddings
from hardpairs.core.errors import usage
from hardpairs.losses import LOSSES
from hardpairs.losses.clipse import VARIANTS
from hardpairs.losses.metric import METRIC
from hardpairs.training.augment import AUGMENT
from hardpairs.training.config import add_config
from hardpairs.training.freezing import check_freezing
from hardpairs.training.metric_flags import add_metric, check_metric
from hardpairs.training.photos import (
    add_photos,
    check_photos,
    fill_in_split,
    fill_in_warmup,
    is_for_our_reader,
)
from hardpairs.training.upstream import world_info
from hardpairs.training.validation import check_val_labels, check_validation, metric_names

NAMES = (*LOSSES, *METRIC)
"""Of ``--loss-fn``."""
NEED_OUR_BATCHES = (
    "loss_fn",
    "margin_weight",
    "geometry_weight",
    "freeze_logit_scale_epochs",
    "loss_block_rows",
    "max_steps",
    "false_negative_embeddings",
    "reject",
    "warmup_epochs",
    *("margin_similarity", "margin_direction", "margin_detach", "false_negative_threshold"),
    *(
        "sanw_debias",
        "sanw_alpha",
        "sanw_delta",
        "sanw_lambda",
        "sanw_m1",
        "sanw_m2",
        "sanw_gamma",
        "sanw_beta",
        "sanw_warmup_epochs",
    ),
    *(
        "sanw_normalize",
        "sanw_max_weight",
        "sanw_exempt_partners",
        "sanw_source",
        "sanw_embeddings",
        "sanw_variant",
    ),
    *("augment", "freeze_backbone", "freeze_epochs", "head_lr", "save_best", "patience"),
)
"""Flags that need batches of ours, random ones if nothing else is said."""
FOR_BATCHING = {
    **dict.fromkeys(
        ("hard_dict_dir", "url_index"), ("hard-pairs", "neighbourhood", "class-neighbours")
    ),
    "hard_topk": ("hard-pairs", "neighbourhood"),
    "hard_skip": ("hard-pairs", "neighbourhood"),
    "remine_every": ("hard-pairs", "neighbourhood", "topical", "class-neighbours"),
    **dict.fromkeys(
        ("hard_per_target", "hard_choice", "hard_schedule", "empty_rows"), ("hard-pairs",)
    ),
    **dict.fromkeys(("p_topical", "topical_clusters", "topical_round_robin"), ("topical",)),
    "batching_embeddings": ("topical", "class-neighbours"),
    "m_per_class": ("m-per-class", "class-neighbours"),
    "class_neighbours": ("class-neighbours",),
    **dict.fromkeys(("neighbourhood", "neighbourhood_size"), ("neighbourhood",)),
}
"""Flags that only some makers of batches read; given with another they are refused."""
FOR_LOSS = {
    **dict.fromkeys(("sanw_debias", "sanw_delta", "sanw_lambda"), "sanw_debias"),
    **dict.fromkeys(("sanw_m1", "sanw_m2", "sanw_gamma"), "sanw_bandpass"),
}
"""Numbers of one way to weight negatives; any other --sanw flag is for both."""


def _add(group: argparse._ArgumentGroup, *names: str, **options: Any) -> None:
    """Adds a flag with its underscore spelling, which the users of CLIPSE and MiniCLIP know."""
    underscores = ("--" + name.removeprefix("--").replace("-", "_") for name in names)
    group.add_argument(*dict.fromkeys((*names, *underscores)), **options)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds our groups to OpenCLIP's parser. With none of these given, OpenCLIP runs as it is."""
    add_config(parser)
    _add_batches(parser.add_argument_group("hard pairs and batches"))
    _add_training(parser.add_argument_group("what is trained, and for how long"))
    _add_loss(parser.add_argument_group("loss"))
    _add_sanw(parser.add_argument_group("similarity-aware negative weights (SANW)"))
    add_metric(parser.add_argument_group("metric learning with labels"), _add)
    add_photos(parser, parser.add_argument_group("one's own photographs"), _add)


def _add_batches(batches: argparse._ArgumentGroup) -> None:
    _add(
        batches,
        "--use-hard",
        action="store_true",
        help="hard-pair batches (HELIP's flag; same as --batching hard-pairs)",
    )
    _add(
        batches,
        "--hard-dict-dir",
        help="hard pairs: CSV or JSON (HELIP's, or the one mining wrote), or the table's folder",
    )
    _add(
        batches,
        "--url-index",
        help="HELIP's url_index of an older download, whose numbers --hard-dict-dir has: rows are found by URL",
    )
    _add(
        batches,
        "--batching",
        choices=BATCHES,
        help="who makes the batches; default: OpenCLIP, or random when another flag of ours needs it",
    )
    _add(
        batches,
        "--hard-per-target",
        type=int,
        default=1,
        help="p: partners of each target in a batch",
    )
    _add(
        batches,
        "--hard-topk",
        type=int,
        default=50,
        help="K: how deep into a target's list partners are drawn",
    )
    _add(
        batches,
        "--hard-skip",
        type=int,
        default=0,
        help="first ranks of each list that are left out, as likely false negatives",
    )
    _add(
        batches,
        "--hard-choice",
        choices=("uniform", "rank", "score", "cycle"),
        default="uniform",
        help="partners drawn evenly, by 1 / rank, by score, or in turn without repetition over epochs",
    )
    _add(
        batches,
        "--hard-schedule",
        type=int,
        default=0,
        help="epochs over which partners move from the lists' ends to their first K",
    )
    _add(
        batches,
        "--empty-rows",
        choices=("random", "skip"),
        default="random",
        help="targets without hard pairs: a random partner, or left out",
    )
    _add(
        batches,
        "--remine-every",
        type=int,
        help="epochs after which hard pairs (or embeddings) are made anew, by the model as it then is",
    )
    _add(
        batches,
        "--batching-embeddings",
        help="topical: folder of stored embeddings, whose texts are clustered; class-neighbours: the same",
    )
    _add(
        batches,
        "--p-topical",
        type=float,
        default=0.5,
        help="topical: share of the batches that come from one cluster each",
    )
    _add(batches, "--topical-clusters", type=int, default=80, help="topical: number of clusters")
    _add(
        batches,
        "--topical-round-robin",
        action="store_true",
        help="topical: the opposite, each batch has its part of every cluster",
    )
    _add(
        batches,
        "--m-per-class",
        type=int,
        default=2,
        help="m-per-class: images of each class (--csv-group-key) in a batch",
    )
    _add(
        batches,
        "--class-neighbours",
        type=int,
        default=2,
        help="class-neighbours: nearest other classes of each, m images of each too",
    )
    _add(
        batches,
        "--neighbourhood",
        choices=("rcm", "communities"),
        default="rcm",
        help="neighbourhood: GCBS's order of the rows, or B3's parts",
    )
    _add(
        batches,
        "--neighbourhood-size",
        type=int,
        default=16,
        help="neighbourhood: rows that are kept together",
    )
    _add(
        batches,
        "--max-steps",
        type=int,
        help="optimizer steps in all, cut into --epochs equal parts (default then 1)",
    )
    _add(
        batches,
        "--reject",
        help="rows that are in no batch, as saved on the page of tools.inspect_pairs",
    )
    _add(
        batches,
        "--max-bad-fraction",
        type=float,
        default=0.01,
        help="stop when more than this share of images cannot be read",
    )
    _add(
        batches,
        "--csv-group-key",
        "--csv-label-key",
        default="group",
        help="column of a CSV whose equal values are known positives, or one class (may be absent)",
    )
    _add(
        batches,
        "--unlabelled",
        nargs="*",
        default=(),
        help="values of that column that mean none, as an empty one does (CLIPPINGS: 999)",
    )


def _add_training(group: argparse._ArgumentGroup) -> None:
    _add(
        group,
        "--preset",
        metavar="NAME",
        help="published settings, which --help-compat lists; other flags win",
    )
    _add(
        group,
        "--augment",
        choices=AUGMENT,
        help="random changes before the model's own transform, in place of OpenCLIP's random crop",
    )
    _add(
        group,
        "--freeze-bn-stats",
        action="store_true",
        help="batch norms keep the start model's statistics: those of a hard-pair batch are not the data's",
    )
    _add(
        group,
        "--freeze-backbone",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="train the towers' projections and the head alone (whole towers: --lock-image, --lock-text)",
    )
    _add(
        group,
        "--freeze-epochs",
        type=int,
        help="what is frozen or locked is trained, too, after so many epochs",
    )
    _add(
        group,
        "--head-lr",
        type=float,
        help="learning rate of projections, temperature and head, where --lr is the backbone's",
    )
    _add(
        group,
        "--save-best",
        choices=metric_names(),
        metavar="METRIC",
        help=f"keep the best epoch by --val-data as best.pt: {', '.join(metric_names())}",
    )
    _add(
        group,
        "--patience",
        type=int,
        help="stop after so many measured epochs without a better one",
    )


def _add_loss(loss: argparse._ArgumentGroup) -> None:
    _add(
        loss,
        "--loss-fn",
        default="clip_ce",
        type=_loss_name,
        metavar="{" + ",".join(NAMES) + "}",
        help="default: clip_ce",
    )
    _add(
        loss,
        "--false-negative-mask",
        action=argparse.BooleanOptionalAction,
        help="pairs of one group, image or caption are not each other's negatives; on with any of our flags",
    )
    _add(
        loss,
        "--false-negative-embeddings",
        help="stored embeddings of the data (mining.embed): near duplicates in them are no negatives either",
    )
    _add(
        loss,
        "--false-negative-threshold",
        type=float,
        default=0.98,
        help="cosine of images or of texts above which two rows are near duplicates",
    )
    _add(
        loss,
        "--margin-weight",
        type=float,
        help="weight of HELIP's margin (default: 0; 0.3 with --loss-fn helip)",
    )
    _add(loss, "--margin-similarity", choices=("logits", "cosine"), default="logits")
    _add(loss, "--margin-direction", choices=("i2t", "both"), default="i2t")
    _add(
        loss,
        "--margin-detach",
        action="store_true",
        help="no gradient through the margin's bound: hard pairs are not pulled near",
    )
    _add(
        loss,
        "--geometry-weight",
        type=float,
        default=0.0,
        help="weight of CLIPSE's geometry term (0.1 there)",
    )
    _add(
        loss,
        "--freeze-logit-scale-epochs",
        type=float,
        default=0.0,
        help="the temperature stays as it is for so many epochs",
    )
    _add(
        loss,
        "--loss-block-rows",
        type=int,
        help="rows of logits held at once: less memory, the backward computes them again",
    )


def _add_sanw(sanw: argparse._ArgumentGroup) -> None:
    _add(
        sanw, "--sanw-debias", choices=("exp", "sigmoid"), default="exp", help="form of sanw_debias"
    )
    _add(sanw, "--sanw-alpha", type=float, default=0.5, help="share of text similarity")
    _add(
        sanw,
        "--sanw-delta",
        type=float,
        default=0.6,
        help="debias: similarity from which a negative loses weight",
    )
    _add(sanw, "--sanw-lambda", type=float, default=4.0, help="debias: how fast")
    _add(sanw, "--sanw-m1", type=float, default=0.3, help="bandpass: lower edge")
    _add(sanw, "--sanw-m2", type=float, default=0.8, help="bandpass: upper edge")
    _add(sanw, "--sanw-gamma", type=float, default=0.05, help="bandpass: softness of the edges")
    _add(sanw, "--sanw-beta", type=float, default=1.0, help="strength, 0 (CLIP) to 1")
    _add(
        sanw,
        "--sanw-warmup-epochs",
        type=float,
        default=0.0,
        help="the strength grows to --sanw-beta over so many epochs",
    )
    _add(
        sanw,
        "--sanw-normalize",
        action=argparse.BooleanOptionalAction,
        help="rows of weights have mean 1; default on for bandpass and sigmoid",
    )
    _add(sanw, "--sanw-max-weight", type=float, default=10.0, help="no weight above it")
    _add(
        sanw,
        "--sanw-exempt-partners",
        action="store_true",
        help="a target and its mined partners keep weight 1",
    )
    _add(
        sanw,
        "--sanw-source",
        choices=("live", "initial", "embeddings"),
        default="live",
        help="whose similarities: the model's, those of --pretrained as it was, or stored ones (--sanw-embeddings)",
    )
    _add(sanw, "--sanw-embeddings", help="folder of mining.embed, for --sanw-source embeddings")
    _add(
        sanw,
        "--sanw-variant",
        choices=VARIANTS,
        help="one of the three formulas that CLIPSE published; one process only",
    )


def _loss_name(name: str) -> str:
    name = {"baseline": "clip_ce"}.get(name, name).replace(
        "-", "_"
    )  # CLIPSE's code says baseline, its README clip_ce
    if name not in NAMES:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(NAMES)}, not {name!r}")
    return name


def check_arguments(
    parser: argparse.ArgumentParser, args: argparse.Namespace
) -> argparse.Namespace:
    """Fills in what follows from the flags, refuses what cannot work, and opens the data once before a model is built.

    Raises:
        UserError: exit 2 for flags that do not go together; 3 or 4 for data that cannot be used.
    """
    fill_in_split(args)
    if args.use_hard:
        if args.batching not in (None, "hard-pairs"):
            raise usage(f"--use-hard and --batching {args.batching} contradict each other")
        args.batching = "hard-pairs"
    if args.loss_fn == "siglip":
        args.siglip = True
    ours = (
        any(getattr(args, name) != parser.get_default(name) for name in NEED_OUR_BATCHES)
        or args.false_negative_mask
    )
    ours = ours or is_for_our_reader(args)
    if ours and args.batching is None:
        args.batching = (
            "m-per-class" if args.loss_fn in METRIC and args.loss_fn != "arcface" else "random"
        )
    if args.false_negative_mask is None:
        args.false_negative_mask = args.batching is not None
    if args.margin_weight is None:
        args.margin_weight = 0.3 if args.loss_fn == "helip" else 0.0
    unset = parser.parse_args([])
    _check_unread(unset, args)
    check_metric(unset, args)
    check_photos(parser, args)
    if args.batching is None:
        return args
    _check_numbers(args)
    _check_batches(args)
    _check_loss(unset, args)
    check_freezing(args)
    check_validation(args)
    args.epochs = (
        args.epochs if args.max_steps is None or args.epochs != parser.get_default("epochs") else 1
    )
    if args.remine_every is not None and args.remine_every >= args.epochs:
        raise usage(
            f"--remine-every {args.remine_every} comes to nothing in {args.epochs} epochs",
            fix="more --epochs",
        )
    args.local_loss = args.gather_with_grad = (
        True  # right on any number of ranks; OpenCLIP leaves both off
    )
    _check_data(parser, args)
    return args


def _check_unread(unset: argparse.Namespace, args: argparse.Namespace) -> None:
    for name, makers in FOR_BATCHING.items():
        if args.batching not in makers and getattr(args, name) != getattr(unset, name):
            flag = f"--{name.replace('_', '-')}"
            raise usage(
                f"{flag} is given, but nothing uses it",
                fix=" or ".join(f"--batching {maker}" for maker in makers),
            )


def our_defaults() -> dict[str, Any]:
    """What our flags are when they are not given: {destination: value}."""
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    return vars(parser.parse_args([]))


def _check_numbers(args: argparse.Namespace) -> None:
    whole = {
        "batch_size": 1,
        "epochs": 1,
        "accum_freq": 1,
        "workers": 0,
        "seed": 0,
        "warmup": 0,
        "log_every_n_steps": 1,
    }
    for name, least in whole.items():
        if getattr(args, name, least) < least:
            raise usage(
                f"--{name.replace('_', '-')} must be at least {least}, not {getattr(args, name)}"
            )
    if not 0 <= args.max_bad_fraction <= 1:
        raise usage(f"--max-bad-fraction must lie in [0, 1], not {args.max_bad_fraction}")
    learning_rate = getattr(args, "lr", None)
    if learning_rate is not None and not 0 < learning_rate < math.inf:
        raise usage(f"--lr must be a positive number, not {learning_rate}")


def _check_batches(args: argparse.Namespace) -> None:
    if args.batching in ("hard-pairs", "neighbourhood") and not args.hard_dict_dir:
        name = "--use-hard" if args.use_hard else f"--batching {args.batching}"
        raise usage(
            f"{name} needs --hard-dict-dir", fix="python -m mining.hard_pair_mining writes the file"
        )
    if args.batching == "topical" and not args.batching_embeddings:
        raise usage(
            "--batching topical needs --batching-embeddings",
            fix="python -m mining.embed writes the folder",
        )
    if args.batching == "class-neighbours" and bool(args.batching_embeddings) == bool(
        args.hard_dict_dir
    ):
        raise usage(
            "--batching class-neighbours needs either --batching-embeddings or --hard-dict-dir",
            fix="python -m mining.embed",
        )
    if args.remine_every is not None and args.remine_every < 1:
        raise usage(f"--remine-every must be at least 1, not {args.remine_every}")
    if args.remine_every and args.empty_rows == "skip":
        raise usage(
            "--remine-every changes which lists are empty, and an epoch's length must not change",
            fix="--empty-rows random",
        )
    if args.max_steps is not None and args.max_steps < 1:
        raise usage(f"--max-steps must be at least 1, not {args.max_steps}")
    if args.loss_fn not in METRIC and args.batch_size * world_info()[1] * args.accum_freq < 2:
        raise usage("a batch of one pair has no negatives", fix="--batch-size 2 or more")
    if not args.train_data:
        raise usage(
            "our flags need --train-data",
            fix="a table, shards, a folder of pictures, or --captions-json FILE",
        )
    for flag in ("horovod", "distill_model", "dataset_resampled", "train_data_upsampling_factors"):
        if getattr(args, flag):
            raise usage(
                f"--{flag.replace('_', '-')} does not work together with --batching, --use-hard or our losses"
            )
    if getattr(args, "use_bnb_linear", None) and importlib.util.find_spec("bitsandbytes") is None:
        raise usage(
            "--use-bnb-linear needs bitsandbytes and triton on a GPU",
            fix="pip install bitsandbytes triton",
        )
    if "coca" in args.model.lower():
        raise usage(
            "CoCa's captioning loss does not work together with --batching, --use-hard or our losses"
        )


def _check_loss(unset: argparse.Namespace, args: argparse.Namespace) -> None:
    for name in (
        "margin_weight",
        "geometry_weight",
        "freeze_logit_scale_epochs",
        "sanw_warmup_epochs",
    ):
        if not 0 <= getattr(args, name) < math.inf:
            raise usage(
                f"--{name.replace('_', '-')} must be a number from 0, not {getattr(args, name)}"
            )
    if args.loss_block_rows is not None and args.loss_block_rows < 1:
        raise usage(f"--loss-block-rows must be at least 1, not {args.loss_block_rows}")
    if args.false_negative_embeddings and not args.false_negative_mask:
        raise usage(
            "--false-negative-embeddings is for the mask that --no-false-negative-mask turns off"
        )
    if (
        args.false_negative_threshold != unset.false_negative_threshold
        and not args.false_negative_embeddings
    ):
        raise usage(
            "--false-negative-threshold is for --false-negative-embeddings, which are not given"
        )
    if not 0 < args.false_negative_threshold <= 1:
        raise usage(
            f"--false-negative-threshold must lie in (0, 1], not {args.false_negative_threshold}"
        )
    if args.margin_weight and args.batching != "hard-pairs":
        raise usage(
            "HELIP's margin compares with mined partners, which only hard-pair batches have",
            fix="--use-hard --hard-dict-dir FILE, or --margin-weight 0",
        )
    given = {name for name in vars(args) if getattr(args, name) != getattr(unset, name, None)}
    for name in sorted(name for name in given if name.startswith("sanw_")):
        if not args.loss_fn.startswith(FOR_LOSS.get(name, "sanw")):
            raise usage(
                f"--{name.replace('_', '-')} has no effect with --loss-fn {args.loss_fn}",
                fix=f"--loss-fn {FOR_LOSS.get(name, 'sanw_debias or sanw_bandpass')}",
            )
    for name in sorted(given & {"margin_similarity", "margin_direction", "margin_detach"}):
        if not args.margin_weight:
            raise usage(
                f"--{name.replace('_', '-')} has no effect without the margin",
                fix="--margin-weight 0.3 or --loss-fn helip",
            )
    if args.loss_fn.startswith("sanw"):
        _check_sanw(args)


def _check_sanw(args: argparse.Namespace) -> None:
    numbers = {name: getattr(args, name) for name in vars(args) if name.startswith("sanw_")}
    for name, value in numbers.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise usage(f"--{name.replace('_', '-')} must be a finite number, not {value}")
    ranges = {
        "--sanw-alpha must lie in [0, 1]": 0 <= args.sanw_alpha <= 1,
        "--sanw-beta must lie in [0, 1]": 0 <= args.sanw_beta <= 1,
        "--sanw-lambda must not be negative": args.sanw_lambda >= 0,
        "--sanw-m1 must be below --sanw-m2": args.sanw_m1 < args.sanw_m2,
        "--sanw-gamma must be positive": args.sanw_gamma > 0,
        "--sanw-max-weight must be positive": args.sanw_max_weight > 0,
    }
    for rule, holds in ranges.items():
        if not holds:
            raise usage(rule)
    _check_sanw_source(args)


def _check_sanw_source(args: argparse.Namespace) -> None:
    if (args.sanw_source == "embeddings") != bool(args.sanw_embeddings):
        raise usage(
            "--sanw-source embeddings and --sanw-embeddings FOLDER go together",
            fix="python -m mining.embed writes the folder",
        )
    if args.sanw_source == "initial" and not args.pretrained:
        raise usage(
            "--sanw-source initial compares by the start model's weights, and there are none",
            fix="--pretrained",
        )
    if args.sanw_exempt_partners and args.batching != "hard-pairs":
        raise usage(
            "--sanw-exempt-partners is about mined partners, which only hard-pair batches have",
            fix="--use-hard --hard-dict-dir FILE",
        )
    if args.sanw_variant is None:
        return
    if args.siglip or args.loss_block_rows is not None or world_info()[1] > 1:
        raise usage(
            "--sanw-variant reproduces CLIPSE's code: one process, the softmax form, no blocks"
        )
    if args.sanw_variant == "seed-v2":
        logging.warning(
            "CLIPSE's second formula is unbounded below: it can be made as small as one likes without a better model."
        )


def _check_data(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    from hardpairs.training.data import (
        batches_per_epoch,
        make_sampler,
        open_training_samples,
        open_validation_samples,
    )

    rank, world_size = world_info()
    log = Path(getattr(args, "logs", None) or ".") / (getattr(args, "name", None) or "") / "out.log"
    if rank == 0 and getattr(args, "name", None) and log.exists() and args.resume != "latest":
        raise usage(
            "a run of this name exists",
            where=str(log.parent),
            fix="--resume latest goes on with its last checkpoint; or choose another --name",
        )
    samples = open_training_samples(args)
    sampler = make_sampler(args, samples, rank=rank, world_size=world_size, verify=rank == 0)
    fill_in_warmup(parser, args, batches_per_epoch(args, sampler))
    if args.save_best:
        check_val_labels(args, open_validation_samples(args))
    for folder in {args.sanw_embeddings, args.false_negative_embeddings} - {None}:
        open_stored_embeddings(folder, samples, verify=rank == 0)
