"""Every flag of ours reaches what it names, nothing is read that is not a flag, and OpenCLIP's help shows ours in groups."""

import argparse
import re
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from hardpairs.batches import (
    BatchInfo,
    HardPairBatchSampler,
    MPerClassBatchSampler,
    NeighborhoodBatchSampler,
    TopicalBatchSampler,
)
from hardpairs.core.errors import UserError
from hardpairs.core.flags import destination
from hardpairs.data.opening import open_samples
from hardpairs.data.splits import split_into
from hardpairs.losses import ContrastiveLoss, SigmoidLoss
from hardpairs.losses.guide import GuideRule
from hardpairs.losses.targets import Blend
from hardpairs.training.batching import BatchingConfig
from hardpairs.training.config import all_options
from hardpairs.training.dataset import RunBatches
from hardpairs.training.hooks.build import create_loss
from hardpairs.training.hooks.flags import add_arguments, check_arguments
from hardpairs.training.samples import open_training_samples, open_validation_samples
from hardpairs.training.upstream import patched

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


def loss_of(args):
    """Return the training loss that the options name."""
    args.logs = "none"
    return create_loss(args).loss


def our_actions():
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    return parser._actions


def test_every_flag_has_one_hyphenated_name_and_a_help():
    for action in our_actions():
        options = [option for option in action.option_strings if not option.startswith("--no-")]
        assert len(options) == 1 and "_" not in options[0], options
        assert action.help


def test_every_option_has_a_flag():
    flags = {action.dest for action in our_actions()}
    assert {destination(option) for option in all_options()} <= flags


def test_no_flags_change_nothing():
    args = parse()
    assert args.batching is None and args.margin_weight == 0 and args.epochs == 32
    assert not hasattr(args, "local_loss")


@pytest.mark.parametrize(
    ("flags", "precision", "says"),
    [
        (("--batching", "random"), "fp32", "--precision fp32: none was given"),
        (("--batching", "random", "--precision", "amp"), "amp", "warning: --precision amp"),
        (("--batching", "random", "--precision", "amp_bf16"), "amp_bf16", None),
        ((), "amp", "warning: --precision amp"),
        (("--precision", "fp32"), "fp32", None),
        (("--batching", "random", "--device", "cuda:1"), "fp32", "none was given"),
        (("--batching", "random", "--device", "mps"), "amp", None),
    ],
)
def test_a_cpu_is_spared_emulated_precision(table, capsys, monkeypatch, flags, precision, says):
    """OpenCLIP falls back to the CPU where there is no GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    data = ("--train-data", str(table), "--csv-separator", ",", "--batch-size", "8")
    line = ["--model", "hardpairs-test", "--device", "cpu", *data, *flags]
    args = patched("params").parse_args(line)
    told = capsys.readouterr().err
    assert args.precision == precision
    assert (says in told and told.count("--precision") <= 2) if says else not told


@pytest.mark.parametrize(
    ("flags", "attribute", "value"),
    [
        (("--sanw-alpha", ".2"), "alpha", 0.2),
        (("--sanw-delta", ".2"), "delta", 0.2),
        (("--sanw-lambda", "2"), "lam", 2),
        (("--sanw-beta", ".2"), "beta", 0.2),
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
    args = parse("--loss-fn", "sanw_debias", *flags, train_data=table)
    assert getattr(loss_of(args).loss.weights, attribute) == value


def test_more_loss_flags(table, hard_pairs):
    use = ("--use-hard", "--hard-dict-dir", str(hard_pairs))
    flags = (
        "--geometry-weight",
        ".2",
        "--loss-block-rows",
        "7",
        "--loss-ring",
        "--freeze-logit-scale-epochs",
        "2",
        "--margin-weight",
        "1",
        "--margin-detach",
    )
    loss = loss_of(parse(*use, *flags, train_data=table))
    assert (loss.weights, loss.freeze_scale_epochs, loss.loss.block_rows) == ([1, 0.2], 2, 7)
    margin, geometry = loss.terms
    assert margin.detach_bound and margin.block_rows == geometry.block_rows == 7
    assert loss.loss.world.ring and margin.world.ring and geometry.world.ring
    flags = ("--loss-fn", "sanw_debias", "--sanw-warmup-epochs", "3", "--sanw-exempt-partners")
    loss = loss_of(parse(*use, *flags, train_data=table))
    assert loss.loss.weights.warmup_epochs == 3 and loss.loss.exempt_hard_pairs
    for flags, kind in (
        (("--siglip",), SigmoidLoss),
        (("--loss-fn", "siglip"), SigmoidLoss),
        ((), ContrastiveLoss),
    ):
        args = parse("--batching", "random", *flags, train_data=table)
        assert isinstance(loss_of(args).loss, kind)
        assert args.siglip == (kind is SigmoidLoss)
    weighted = loss_of(parse("--siglip", "--loss-fn", "sanw_debias", train_data=table)).loss
    assert isinstance(weighted, SigmoidLoss) and weighted.weights.weighting == "exp"
    variant = loss_of(
        parse("--loss-fn", "sanw_debias", "--sanw-variant", "seed-v2", train_data=table)
    ).loss
    assert variant.variant == "seed-v2" and variant.weights.weighting == "sigmoid"


def test_flags_of_negatives_and_targets(table, embeddings):
    flags = ("--guided-mask", str(embeddings), "--guided-margin", ".1", "--guided-max-share", ".3")
    flags += ("--blend-targets", str(embeddings), "--blend-share", ".4", "--blend-scale", "20")
    flags += ("--multi-positive", "--hardness-weight", "9")
    for name in ("clip_ce", "helip", "sanw_bandpass"):
        batches = ("--batching", "random", "--loss-fn", name)
        args = parse(*batches, *flags, "--margin-weight", "0", train_data=table)
        loss = loss_of(args).loss
        assert loss.multi_positive and loss.hardness == 9
        assert loss.guide == GuideRule(0.1, 0.3) and loss.blend == Blend(0.4, 20)
    assert set(create_loss(args).feature_sources) == {"guide_features", "start_features"}
    loss = loss_of(parse("--siglip", *flags[:6], "--multi-positive", train_data=table)).loss
    assert isinstance(loss, SigmoidLoss) and loss.guide and loss.multi_positive
    plain = loss_of(parse("--batching", "random", train_data=table)).loss
    assert not (plain.multi_positive or plain.guide or plain.hardness or plain.blend)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--geometry-weight", "-1"), "--geometry-weight must be"),
        (("--margin-weight", "nan"), "--margin-weight must be"),
        (("--loss-block-rows", "0"), "--loss-block-rows must be"),
        (
            ("--false-negative-embeddings", "x", "--no-false-negative-mask"),
            "needs --false-negative-mask",
        ),
        (
            ("--batching", "random", "--false-negative-threshold", ".9"),
            "without --false-negative-embeddings",
        ),
        (
            ("--false-negative-embeddings", "x", "--false-negative-threshold", "0"),
            "must be above 0 and at most 1",
        ),
        (("--loss-fn", "sanw_debias", "--sanw-source", "embeddings"), "go together"),
        (("--loss-fn", "sanw_debias", "--sanw-embeddings", "x"), "go together"),
        (("--loss-fn", "sanw_debias", "--sanw-source", "initial"), "start model"),
        (("--guided-mask", "initial"), "--guided-mask initial compares by the start model"),
        (("--blend-targets", "initial"), "--blend-targets initial compares by the start model"),
        (("--loss-fn", "sanw_debias", "--sanw-exempt-partners"), "needs hard-pair batches"),
        (("--loss-fn", "sanw_debias", "--sanw-variant", "seed-v1", "--siglip"), "softmax form"),
        (
            ("--loss-fn", "sanw_debias", "--sanw-variant", "seed-v2", "--sanw-beta", ".5"),
            "--sanw-beta has no effect with --sanw-variant seed-v2",
        ),
        (
            ("--loss-fn", "sanw_bandpass", "--sanw-variant", "seed-v3", "--sanw-normalize"),
            "--sanw-normalize has no effect with --sanw-variant seed-v3",
        ),
        (("--multi-positive", "--no-false-negative-mask"), "needs --false-negative-mask"),
        (("--batching", "random", "--guided-margin", ".1"), "without --guided-mask"),
        (("--batching", "random", "--guided-max-share", ".1"), "without --guided-mask"),
        (("--guided-mask", "x", "--guided-max-share", "0"), "must be above 0 and at most 1"),
        (("--batching", "random", "--blend-share", ".1"), "without --blend-targets"),
        (("--blend-targets", "x", "--blend-share", "2"), "at least 0 and at most 1"),
        (("--hardness-weight", "1", "--siglip"), "--hardness-weight is for softmax losses"),
        (("--blend-targets", "x", "--loss-fn", "siglip"), "--blend-targets is for softmax losses"),
        (
            ("--loss-fn", "sanw_debias", "--hardness-weight", "1"),
            "(?s)weighs them less: take sanw_debias where .* with --hardness-weight where",
        ),
        (
            ("--loss-fn", "sanw_debias", "--sanw-variant", "seed-v1", "--hardness-weight", "1"),
            "--sanw-variant does not work with --hardness-weight",
        ),
        (("--sanw-warmup-epochs", "1"), "nothing uses it"),
        (("--sanw-lambda", "-5"), "nothing uses it"),
        (("--loss-fn", "sanw_debias", "--sanw-m1", ".1"), "--loss-fn sanw_bandpass"),
        (("--loss-fn", "sanw_bandpass", "--sanw-debias", "sigmoid"), "--loss-fn sanw_debias"),
        (("--margin-detach",), "without --margin-weight"),
        (("--batching", "random", "--margin-direction", "both"), "without --margin-weight"),
        (("--false-negative-threshold", "7"), "must be above 0 and at most 1"),
    ],
)
def test_what_makes_no_sense_is_refused(table, flags, says):
    with pytest.raises(UserError, match=says):
        parse(*flags, train_data=table)


def test_a_folder_is_no_checkpoint(table, tmp_path):
    with pytest.raises(UserError, match="--resume names a folder") as error:
        parse("--batching", "random", train_data=table, resume=tmp_path)
    assert error.value.code == 2


def test_the_parts_of_a_split(table, tmp_path):
    split = split_into(tmp_path / "split", open_samples(table))
    of_train, of_val = ("--split", "train"), ("--val-split", "val")
    values = {"train_data": split.folder, "val_data": split.folder, "csv_separator": "\t"}
    args = parse(*of_train, *of_val, **values)
    assert args.batching == "random"  # OpenCLIP's own batches know no parts
    opened = open_training_samples(vars(args)), open_validation_samples(vars(args))
    assert [samples.source for samples in opened] == [
        str(split.table("train")),
        str(split.table("val")),
    ]
    assert not {*opened[0].keys} & {*opened[1].keys}


@pytest.mark.parametrize(
    ("flags", "data", "says"),
    [
        (("--split", "train"), "table", "`split` is for|--split is for"),
        (("--val-split", "val"), None, "--val-split is a part of the validation data"),
        (("--batching", "random", "--val-split", "val"), "table", "--val-split is for"),
    ],
)
def test_parts_that_are_not_there(table, flags, data, says):
    values = {"val_data": table} if data else {}
    with pytest.raises(UserError, match=says) as error:
        parse(*flags, train_data=table, **values)
    assert error.value.code == 2


@pytest.mark.parametrize(("file", "says"), [(None, "starts it anew"), ("epoch_1.pt", "goes on")])
def test_what_becomes_of_a_run_of_the_same_name(table, tmp_path, file, says):
    """Ctrl-C may have come before the first checkpoint."""
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    (tmp_path / "run/out.log").touch()
    if file:
        (tmp_path / "run/checkpoints" / file).touch()
    values = {"train_data": table, "logs": tmp_path, "name": "run", "resume": ""}
    with pytest.raises(UserError, match="a run of this name exists") as error:
        parse("--batching", "random", **values)
    assert f"--resume latest {says}" in error.value.fix


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
    loss = loss_of(args)
    features = torch.nn.functional.normalize(torch.randn(2, 4, 8), dim=2)
    for progress, strength, moves in (
        (0.0, 0, False),
        (0.5, 0.2, False),
        (1.0, 0.4, True),
        (5.0, 0.8, True),
    ):
        scale = torch.tensor(10.0, requires_grad=True)
        loss(*features, scale, info=BatchInfo(epochs_done=progress)).backward()
        assert loss.loss.last.negatives.weights.beta == pytest.approx(strength)
        assert (scale.grad != 0) == moves


def test_loss_flags(table, hard_pairs):
    use = ("--use-hard", "--hard-dict-dir", str(hard_pairs))
    helip = loss_of(parse(*use, "--loss-fn", "helip", train_data=table))
    assert helip.weights == [0.3]
    assert helip.terms[0].similarity == "logits" and helip.terms[0].direction == "i2t"
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
    margin = loss_of(parse(*use, *flags, train_data=table))
    assert margin.weights == [2]
    assert margin.terms[0].similarity == "cosine" and margin.terms[0].direction == "both"
    assert margin.terms[0].group_size == 4
    assert loss_of(parse("--batching", "random", train_data=table)).mask_groups
    assert not loss_of(
        parse("--batching", "random", "--no-false-negative-mask", train_data=table)
    ).mask_groups
    with pytest.raises(SystemExit):
        parse("--loss-fn", "unknown")


def test_batch_flags(table, hard_pairs):
    use = ("--use-hard", "--hard-dict-dir", str(hard_pairs))
    args = parse(
        *use, "--hard-per-target", "3", "--hard-topk", "2", "--empty-rows", "skip", train_data=table
    )
    sampler = BatchingConfig.from_values(vars(args)).sampler(open_training_samples(vars(args)))
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
    return BatchingConfig.from_values(vars(args)).sampler(open_training_samples(vars(args)))


@pytest.mark.parametrize(
    ("flags", "attribute", "value"),
    [
        (("--hard-skip", "1"), "hard_skip", 1),
        (("--hard-score-margin", "0.2"), "hard_score_margin", 0.2),
        (("--hard-choice", "rank"), "hard_choice", "rank"),
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
        (("--batching", "topical"), "--topical-clusters 80 is more than the number of embeddings"),
        (("--batching", "neighbourhood"), "needs --hard-dict-dir"),
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
    for by_score in (("--hard-choice", "score"), ("--hard-score-margin", "0.1")):
        with pytest.raises(UserError, match="needs scores") as error:
            flags = ("--use-hard", "--hard-dict-dir", str(foreign), *by_score)
            sampler_of(*flags, train_data=table)
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
    groups = open_training_samples(vars(args)).groups
    assert len(set(groups)) == 10 and (groups[:4] == groups[0]).all()


def test_help_shows_our_groups_on_few_lines(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    parser = argparse.ArgumentParser(usage="")
    add_arguments(parser)
    text = parser.format_help()
    for title in ("data and steps:", "--batching topical:", "--loss-fn sanw_debias:"):
        assert title in text
    assert "--[no-]freeze-backbone" in text
    assert len(text.splitlines()) <= 200
