"""Every flag of ours reaches what it names, nothing is read that is not a flag, and OpenCLIP's help shows ours in groups."""

import argparse
import re
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from hardpairs import losses
from hardpairs.batches import (
    BATCHES,
    HardPairBatchSampler,
    MPerClassBatchSampler,
    NeighborhoodBatchSampler,
    TopicalBatchSampler,
)
from hardpairs.core.errors import UserError
from hardpairs.training.data import RunBatches, make_sampler, open_training_samples
from hardpairs.training.flags import FOR_BATCHING, add_arguments, check_arguments
from tests.helpers import ROOT

OPENCLIP_DEFAULTS = {
    "train_data": None,
    "csv_separator": ",",
    "csv_img_key": "filepath",
    "csv_caption_key": "title",
    "batch_size": 8,
    "accum_freq": 1,
    "seed": 0,
    "epochs": 32,
    "model": "hardpairs-test",
    "horovod": False,
    "pretrained": None,
    "distill_model": None,
    "dataset_resampled": False,
    "train_data_upsampling_factors": None,
    "rank": 0,
    "world_size": 1,
    "lock_image": False,
    "lock_text": False,
    "ddp_static_graph": False,
    "val_data": None,
    "val_frequency": 1,
    "logs": "./logs/",
}


def parse(*flags, **values):
    parser = argparse.ArgumentParser()
    parser.add_argument("--siglip", action="store_true")
    parser.set_defaults(
        **{**OPENCLIP_DEFAULTS, **{name: str(value) for name, value in values.items()}}
    )
    add_arguments(parser)
    return check_arguments(parser, parser.parse_args(flags))


def our_actions():
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    return parser._actions


def test_no_flag_is_unread():
    source = "\n".join(path.read_text() for path in (ROOT / "src/hardpairs").rglob("*.py"))
    checks = source.replace((ROOT / "src/hardpairs/training/flags.py").read_text(), "")
    of_batch_makers = {
        option.flag.removeprefix("--").replace("-", "_")
        for maker in BATCHES.values()
        for option in maker.options
    }
    for action in our_actions():
        if action.dest in of_batch_makers or action.dest in (
            "config",
            "preset",
            "lr",
            "wd",
            "name",
        ):  # their actions read what they name; OpenCLIP reads its own
            continue
        read_in_checks_only = action.dest in ("use_hard", "hard_dict_dir")
        assert re.search(rf"args\.{action.dest}\b", source if read_in_checks_only else checks), (
            action.dest
        )


def test_every_flag_has_its_underscore_spelling_and_a_help():
    for action in our_actions():
        long = {
            option
            for option in action.option_strings
            if option.startswith("--") and not option.startswith("--no-")
        }
        assert {option.replace("-", "_").replace("__", "--", 1) for option in long} <= long
        assert action.help or action.choices


def test_no_flags_change_nothing():
    args = parse()
    assert (
        args.batching is None
        and args.false_negative_mask is False
        and args.margin_weight == 0
        and args.epochs == 32
    )
    assert not hasattr(args, "local_loss")


@pytest.mark.parametrize(
    ("flags", "attribute", "value"),
    [
        (("--sanw-alpha", ".2"), "alpha", 0.2),
        (("--sanw-delta", ".2"), "delta", 0.2),
        (("--sanw-lambda", "2"), "lam", 2),
        (("--sanw_beta", ".2"), "beta", 0.2),
        (("--sanw-max-weight", "3"), "max_weight", 3),
        (("--sanw-debias", "sigmoid"), "weighting", "sigmoid"),
        (("--sanw-normalize",), "normalize", True),
        (("--loss-fn", "sanw_bandpass"), "weighting", "bandpass"),
        (("--loss-fn", "sanw_bandpass", "--sanw-m1", ".1"), "m1", 0.1),
        (("--loss-fn", "sanw-bandpass", "--sanw-m2", ".9"), "m2", 0.9),
        (("--loss-fn", "sanw_bandpass", "--sanw-gamma", ".2"), "gamma", 0.2),
        (("--loss-fn", "sanw_bandpass", "--no-sanw-normalize"), "normalize", False),
    ],
)
def test_weights_flags(table, flags, attribute, value):
    args = parse("--loss_fn", "sanw_debias", *flags, train_data=table)
    assert getattr(losses.build_loss(args).contrast.weights, attribute) == value


def test_more_loss_flags(table, hard_pairs):
    use = ("--use-hard", "--hard-dict-dir", str(hard_pairs))
    flags = (
        "--geometry-weight",
        ".2",
        "--loss-block-rows",
        "7",
        "--freeze-logit-scale-epochs",
        "2",
        "--margin-weight",
        "1",
        "--margin-detach",
    )
    loss = losses.build_loss(parse(*use, *flags, train_data=table))
    assert (loss.geometry_weight, loss.freeze_scale_epochs, loss.contrast.block_rows) == (0.2, 2, 7)
    assert loss.margin.detach_bound and loss.margin.block_rows == loss.geometry.block_rows == 7
    flags = ("--loss-fn", "sanw_debias", "--sanw-warmup-epochs", "3", "--sanw-exempt-partners")
    loss = losses.build_loss(parse(*use, *flags, train_data=table))
    assert loss.warmup_epochs == 3 and loss.exempt_partners
    for flags, kind in (
        (("--siglip",), losses.SigmoidLoss),
        (("--loss-fn", "siglip"), losses.SigmoidLoss),
        ((), losses.ContrastiveLoss),
    ):
        args = parse("--batching", "random", *flags, train_data=table)
        assert type(losses.build_loss(args).contrast) is kind
        assert args.siglip == (kind is losses.SigmoidLoss)
    weighted = losses.build_loss(
        parse("--siglip", "--loss-fn", "sanw_debias", train_data=table)
    ).contrast
    assert type(weighted) is losses.SigmoidLoss and weighted.weights.weighting == "exp"
    variant = losses.build_loss(
        parse("--loss-fn", "sanw_debias", "--sanw-variant", "seed-v2", train_data=table)
    ).contrast
    assert variant.variant == "seed-v2" and variant.weights.weighting == "sigmoid"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--geometry-weight", "-1"), "--geometry-weight must be"),
        (("--margin-weight", "nan"), "--margin-weight must be"),
        (("--loss-block-rows", "0"), "--loss-block-rows must be"),
        (("--false-negative-embeddings", "x", "--no-false-negative-mask"), "turns off"),
        (("--batching", "random", "--false-negative-threshold", ".9"), "not given"),
        (("--false-negative-embeddings", "x", "--false-negative-threshold", "0"), "must lie in"),
        (("--loss-fn", "sanw_debias", "--sanw-source", "embeddings"), "go together"),
        (("--loss-fn", "sanw_debias", "--sanw-embeddings", "x"), "go together"),
        (("--loss-fn", "sanw_debias", "--sanw-source", "initial"), "start model"),
        (("--loss-fn", "sanw_debias", "--sanw-exempt-partners"), "mined partners"),
        (("--loss-fn", "sanw_debias", "--sanw-variant", "seed-v1", "--siglip"), "softmax"),
        (("--sanw-warmup-epochs", "1"), "no effect"),
        (("--sanw-lambda", "-5"), "no effect"),
        (("--loss-fn", "sanw_debias", "--sanw-m1", ".1"), "--loss-fn sanw_bandpass"),
        (("--loss-fn", "sanw_bandpass", "--sanw-debias", "sigmoid"), "--loss-fn sanw_debias"),
        (("--margin-detach",), "without the margin"),
        (("--batching", "random", "--margin-direction", "both"), "without the margin"),
        (("--false-negative-threshold", "7"), "not given"),
    ],
)
def test_what_makes_no_sense_is_refused(table, flags, says):
    with pytest.raises(UserError, match=says):
        parse(*flags, train_data=table)


def test_weights_grow_and_the_temperature_waits(table):
    args = parse(
        "--loss-fn",
        "sanw_debias",
        "--sanw-beta",
        ".8",
        "--sanw-warmup-epochs",
        "2",
        "--freeze-logit-scale-epochs",
        "1",
        train_data=table,
    )
    loss = losses.build_loss(args)
    rows = losses.Rows(torch.arange(4)[:, None], torch.zeros(4, dtype=torch.bool), torch.arange(4))
    features = torch.nn.functional.normalize(torch.randn(2, 4, 8), dim=2)
    for progress, strength, moves in (
        (0.0, 0, False),
        (0.5, 0.2, False),
        (1.0, 0.4, True),
        (5.0, 0.8, True),
    ):
        scale = torch.tensor(10.0, requires_grad=True)
        loss.take(rows, progress)
        loss(*features, scale).backward()
        assert loss.contrast.weights.beta == pytest.approx(strength)
        assert (scale.grad != 0) == moves


def test_loss_flags(table, hard_pairs):
    use = ("--use-hard", "--hard-dict-dir", str(hard_pairs))
    helip = losses.build_loss(parse(*use, "--loss-fn", "helip", train_data=table))
    assert (
        helip.margin_weight == 0.3
        and helip.margin.similarity == "logits"
        and helip.margin.direction == "i2t"
    )
    flags = (
        "--margin-weight",
        "2",
        "--margin-similarity",
        "cosine",
        "--margin-direction",
        "both",
        "--hard-per-target",
        "3",
    )
    margin = losses.build_loss(parse(*use, *flags, train_data=table))
    assert (
        margin.margin_weight,
        margin.margin.similarity,
        margin.margin.direction,
        margin.margin.group_size,
    ) == (2, "cosine", "both", 4)
    assert losses.build_loss(parse("--batching", "random", train_data=table)).mask_positives
    assert not losses.build_loss(
        parse("--batching", "random", "--no-false-negative-mask", train_data=table)
    ).mask_positives
    assert parse("--loss_fn", "baseline").loss_fn == "clip_ce"
    with pytest.raises(SystemExit):
        parse("--loss-fn", "unknown")


def test_batch_flags(table, hard_pairs):
    use = ("--use-hard", "--hard-dict-dir", str(hard_pairs))
    args = parse(
        *use, "--hard-per-target", "3", "--hard-topk", "2", "--empty-rows", "skip", train_data=table
    )
    sampler = make_sampler(args, open_training_samples(args), rank=0, world_size=1)
    options = sampler.options
    assert (options.hard_per_target, options.hard_topk, options.empty_rows) == (3, 2, "skip")
    args = parse("--max-steps", "3", train_data=table)
    assert args.batching == "random" and args.epochs == 1
    assert len(RunBatches(sampler, 3)) == 3
    with pytest.raises(UserError, match="no column 'x'"):
        parse("--batching", "random", "--csv-group-key", "x", train_data=table)
    with pytest.raises(UserError, match="contradict"):
        parse(*use, "--batching", "random", train_data=table)
    with pytest.raises(UserError, match="at least 1"):
        parse("--max-steps", "0", train_data=table)


def sampler_of(*flags, **values):
    args = parse(*flags, **values)
    return make_sampler(args, open_training_samples(args), rank=0, world_size=1)


@pytest.mark.parametrize(
    ("flags", "attribute", "value"),
    [
        (("--hard-skip", "1"), "hard_skip", 1),
        (("--hard_choice", "rank"), "hard_choice", "rank"),
        (("--hard-choice", "score"), "hard_choice", "score"),
        (("--hard-choice", "cycle"), "hard_choice", "cycle"),
        (("--hard-schedule", "3", "--hard-topk", "2"), "hard_schedule", 3),
    ],
)
def test_hard_pair_flags(table, hard_pairs, flags, attribute, value):
    sampler = sampler_of("--use-hard", "--hard-dict-dir", str(hard_pairs), *flags, train_data=table)
    assert isinstance(sampler, HardPairBatchSampler)
    assert getattr(sampler.options, attribute) == value


def test_neighbourhood_flags(table, hard_pairs):
    use = ("--batching", "neighbourhood", "--hard-dict-dir", str(hard_pairs))
    sampler = sampler_of(*use, "--neighbourhood-size", "4", train_data=table)
    assert isinstance(sampler, NeighborhoodBatchSampler) and (sampler.size, sampler.shift) == (
        4,
        True,
    )
    assert sampler.table.manifest["sha256"]  # which a checkpoint names
    assert not np.array_equal(
        sampler.order,
        sampler_of(*use, "--neighbourhood-size", "4", "--hard-skip", "2", train_data=table).order,
    )
    assert not np.array_equal(
        sampler.order,
        sampler_of(*use, "--neighbourhood-size", "4", "--hard-topk", "2", train_data=table).order,
    )
    assert len(list((hard_pairs.parent / "batching").glob("neighbourhoods-*.npy"))) == 3
    if find_spec("pymetis"):
        assert not sampler_of(
            *use, "--neighbourhood-size", "4", "--neighbourhood", "communities", train_data=table
        ).shift
    else:
        with pytest.raises(UserError, match="pip install pymetis"):
            sampler_of(
                *use,
                "--neighbourhood-size",
                "4",
                "--neighbourhood",
                "communities",
                train_data=table,
            )
    with pytest.raises(UserError, match="does not divide the global batch of 8"):
        sampler_of(*use, "--neighbourhood-size", "3", train_data=table)


def test_topical_flags(table, embeddings):
    use = ("--batching", "topical", "--batching-embeddings", str(embeddings))
    sampler = sampler_of(
        *use,
        "--topical-clusters",
        "5",
        "--p-topical",
        "0.25",
        "--topical-round-robin",
        train_data=table,
    )
    assert isinstance(sampler, TopicalBatchSampler) and (
        sampler.options.p_topical,
        sampler.options.round_robin,
    ) == (0.25, True)
    assert (
        len(np.unique(sampler.clusters)) == 5
        and len(list((embeddings / "batching").iterdir())) == 1
    )
    assert np.array_equal(
        sampler.clusters, sampler_of(*use, "--topical-clusters", "5", train_data=table).clusters
    )
    with pytest.raises(
        UserError, match="--topical-clusters 80 is more than the number of embeddings, 40"
    ):
        sampler_of(*use, train_data=table)


def test_m_per_class_flags(tmp_path, table):
    sampler = sampler_of(
        "--batching",
        "m-per-class",
        "--m-per-class",
        "4",
        "--csv-group-key",
        "kind",
        train_data=grouped(table),
    )
    assert (
        isinstance(sampler, MPerClassBatchSampler)
        and sampler.m_per_class == 4
        and len(np.unique(sampler.labels)) == 10
    )
    with pytest.raises(UserError, match="no two of the 40 rows share a label"):
        sampler_of("--batching", "m-per-class", train_data=table)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--batching", "topical"), "needs --batching-embeddings"),
        (("--batching", "neighbourhood"), "--batching neighbourhood needs --hard-dict-dir"),
        (
            ("--batching", "random", "--hard-choice", "rank"),
            "--hard-choice is given, but nothing uses it",
        ),
        (
            ("--batching", "random", "--hard-per-target", "2"),
            "--hard-per-target is given, but nothing uses it",
        ),
        (("--p-topical", "0.1"), "--p-topical is given, but nothing uses it"),
        (
            ("--batching", "topical", "--batching-embeddings", "E", "--hard-dict-dir", "H"),
            "--hard-dict-dir is given, but nothing uses it",
        ),
        (
            ("--batching", "neighbourhood", "--hard-dict-dir", "H", "--margin-weight", "1"),
            "only hard-pair batches have",
        ),
        (("--batching", "m-per-class", "--topical-clusters", "3"), "--batching topical"),
    ],
)
def test_flags_that_do_not_go_together(table, flags, says):
    with pytest.raises(UserError, match=re.escape(says)) as error:
        parse(*flags, train_data=table)
    assert error.value.code == 2


def test_scores_and_embeddings_of_other_data_are_refused(table, hard_pairs, embeddings, tmp_path):
    foreign = tmp_path / "helip.csv"
    foreign.write_text(hard_pairs.read_text())
    with pytest.raises(UserError, match="needs scores") as error:
        sampler_of(
            "--use-hard",
            "--hard-dict-dir",
            str(foreign),
            "--hard-choice",
            "score",
            train_data=table,
        )
    assert error.value.code == 2
    other = tmp_path / "other.csv"
    other.write_text(table.read_text().replace("number 3\n", "number three\n"))
    with pytest.raises(UserError, match="was made from other data") as error:
        sampler_of(
            "--batching",
            "topical",
            "--batching-embeddings",
            str(embeddings),
            "--topical-clusters",
            "3",
            train_data=other,
        )
    assert error.value.code == 4


def test_every_flag_of_one_maker_is_named_as_such():
    """A flag of the batches is either for all makers or refused with those that do not read it."""
    for_all = {
        "use_hard",
        "batching",
        "max_steps",
        "max_bad_fraction",
        "csv_group_key",
        "unlabelled",
        "freeze_bn_stats",
        "reject",
    }
    batches = {
        action.dest
        for action in our_actions()
        if action.container.title == "hard pairs and batches"
    }
    assert batches - for_all == set(FOR_BATCHING)


def grouped(table):
    """The table with a column ``kind``, equal for each four rows."""
    rows = table.read_text().splitlines()
    path = table.with_name("grouped.csv")
    path.write_text(
        "\n".join([rows[0] + ",kind", *(f"{row},{i // 4}" for i, row in enumerate(rows[1:]))])
    )
    return path


def test_csv_group_key_makes_known_positives(table):
    args = parse("--batching", "random", "--csv-group-key", "kind", train_data=grouped(table))
    groups = open_training_samples(args).groups
    assert len(set(groups)) == 10 and (groups[:4] == groups[0]).all()


def test_help_shows_our_groups():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    text = parser.format_help()
    for title in ("hard pairs and batches:", "loss:", "similarity-aware negative weights (SANW):"):
        assert title in text
