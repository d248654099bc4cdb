"""CLIPPINGS' command lines work as they are."""

import pytest

from hardpairs import compat
from hardpairs.cli import link
from hardpairs.core.errors import UserError
from tests.compat.parsing import training_args, values

README = {
    "pretrain": """--clip_lr 5e-6 --train_data_type newspapers_unlabelled
        --wandb_name clip_pretrain_unlabelled_m1_newspapers_cc --training_type pretrain""",
    "train": """--clip_lr 5e-9 --train_data_type newspapers_labelled
        --wandb_name bienc_clip_nopretrain_labelled_m3_v3_newspapers_nosingle --m 3
        --training_type train_bienc --im_wt 0.5 --k 3 --supcon_temp 0.1 --train_hardneg
        --loss_type supcon --checkpoint /path/to/pretrained/clip.pt""",
    "infer": """--im_wt 0.76 --specified_thresh 0.227 --split_test_for_eval
        --checkpoint_path path/to/checkpoint.pt""",
}


def test_its_pretraining_line(capsys):
    args = training_args(*README["pretrain"].split())
    assert values(args, "lr", "loss_fn", "batching", "batch_size") == (
        5e-6,
        "clip_ce",
        "random",
        153,
    )
    assert args.name == "clip_pretrain_unlabelled_m1_newspapers_cc"
    assert values(args, "unlabelled", "eps", "beta2") == (["999"], 1e-6, 0.98)
    said = capsys.readouterr().err
    assert said == "--train_data_type has no counterpart: --train-data names the data.\n"


def test_its_training_line():
    args = training_args(*README["train"].split())
    batches = values(args, "batching", "m_per_class", "class_neighbours", "batch_size")
    assert batches == ("class-neighbours", 3, 2, 153)
    loss = values(args, "loss_fn", "metric_temperature", "embed", "im_wt", "lr")
    assert loss == ("supcon", 0.1, "pooled", 0.5, 5e-9)
    assert values(args, "pretrained", "preset") == (
        "/path/to/pretrained/clip.pt",
        "clippings-supcon",
    )


def test_its_inference_line():
    args = link.parse_args([*README["infer"].split(), "--model", "m", "--data", "d", "--out", "o"])
    assert values(args, "im_wt", "threshold", "pretrained") == (
        0.76,
        0.227,
        "path/to/checkpoint.pt",
    )
    flags = ["--opt_im_wt", "--pooling_type", "mlp", "--checkpoint=c.pt"]
    args = link.parse_args([*flags, "--model", "m", "--data", "d", "--out", "o"])
    assert args.opt_im_wt and values(args, "pooling_type", "pretrained") == ("head", "c.pt")


@pytest.mark.parametrize(
    ("typed", "ours"),
    [
        ("--clip_lr 5e-7", "--lr 5e-7"),
        ("--mlp_lr=5e-5", "--head-lr=5e-5"),
        ("--clip_weight_decay .001", "--wd .001"),
        ("--mlp_weight_decay .001", ""),
        ("--batch_size 153", "--batch-size 153"),
        ("--m 2", "--m-per-class 2"),
        ("--k 3", "--class-neighbours 2"),
        ("--train_data_type food101_labelled", ""),
        ("--supcon_temp .1", "--metric-temperature .1"),
        ("--im_wt .3", "--im-wt .3"),
        ("--pooling_type mean", "--embed pooled"),
        (
            "--pooling_type mlp --freeze_clip_epochs 3",
            "--embed mlp --lock-image --lock-text --freeze-epochs 3",
        ),
        ("--pooling_type mean --freeze_clip_epochs 20", "--embed pooled"),
        ("--freeze_clip_epochs 0", ""),
        ("--mlp_layers 3", "--mlp-layers 3"),
        ("--augmented_crops", "--augment scanned-document"),
        ("--train_hardneg", "--batching class-neighbours"),
        ("--checkpoint_path a.pt", "--pretrained a.pt"),
        ("--checkpoint a.pt", "--pretrained a.pt"),
        ("--loss_type contrastive", "--loss-fn contrastive"),
        ("--contrastive_loss_pos_margin 0", "--metric-margin 0"),
        ("--contrastive_loss_neg_margin .5", "--metric-negative-margin .5"),
        ("--wandb_name n", "--name n"),
    ],
)
def test_each_flag(typed, ours):
    assert compat.translate("train", typed.split())[0] == ours.split()


def test_every_flag_of_the_table_is_tested():
    tested = test_each_flag.pytestmark[0].args[1]
    flags = {word.partition("=")[0] for typed, _ in tested for word in typed.split()}
    assert set(compat.SYSTEMS["clippings"].spellings["train"]) <= flags | {"--training_type"}


def test_frozen_without_an_mlp_is_said():
    notes = compat.translate("train", ["--freeze_clip_epochs", "20"])[1]
    assert notes == ["--freeze_clip_epochs is for --pooling_type mlp; nothing is frozen."]
    argv, notes = compat.translate("train", ["--embed", "mlp", "--freeze_clip_epochs", "20"])
    assert argv[2:] == ["--lock-image", "--lock-text", "--freeze-epochs", "20"] and not notes


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--training_type both", "--training_type must be pretrain or train_bienc, not 'both'"),
        ("--pooling_type max", "--pooling_type must be mean or mlp, not 'max'"),
        ("--k many", "--k must be a whole number, not 'many'"),
        ("--k", "--k needs a value"),
    ],
)
def test_values_that_do_not_exist(line, says):
    with pytest.raises(UserError, match=says) as error:
        compat.translate("train", line.split())
    assert error.value.code == 2
