"""Metric losses in the trainer: real runs on labelled pictures, the head saved, loaded and left out, flags that do not go together."""

import argparse
import csv

import pytest
import torch

from hardpairs.cli.command_line import command_arguments
from hardpairs.compat import PRESETS
from hardpairs.core.errors import UserError
from hardpairs.data.embeddings import open_embeddings
from hardpairs.data.hard_pairs import table_folder, write_table
from hardpairs.data.opening import open_samples
from hardpairs.models.checkpoint import checkpoint_weights
from hardpairs.models.head import load_head
from hardpairs.training.hooks.build import create_loss
from hardpairs.training.hooks.flags import add_arguments
from hardpairs.training.samples import open_training_samples
from hardpairs.training.upstream import patched
from tests.helpers import picture, ragged_table, run
from tests.training.test_trainer import SAME_PIXELS, steps, train


@pytest.fixture
def labelled(tmp_path):
    """A CSV of 40 pictures of ten classes; two rows say 999 and one says nothing."""
    path = tmp_path / "labelled.csv"
    (tmp_path / "images").mkdir()
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_path", "text", "label"])
        for i in range(40):
            (tmp_path / f"images/{i}.jpg").write_bytes(picture(i))
            writer.writerow(
                [
                    tmp_path / f"images/{i}.jpg",
                    f"picture number {i}",
                    {5: "999", 6: "999", 7: ""}.get(i, f"class {i // 4}"),
                ]
            )
    return path


def data(path):
    keys = (
        "--csv-separator",
        ",",
        "--csv-img-key",
        "image_path",
        "--csv-caption-key",
        "text",
        "--csv-group-key",
        "label",
    )
    return (
        "--train-data",
        str(path),
        *keys,
        "--unlabelled",
        "999",
        "--freeze-bn-stats",
        *SAME_PIXELS,
    )


def weights(logs, name):
    return checkpoint_weights(logs / name / "checkpoints/epoch_1.pt")


def moved(logs, one, other):
    """Return the first words of the entries in which two checkpoints differ.

    A step at a rate of 1e-30 moves an entry that is exactly 0 by up to 1e-30, or not at all: whether
    its gradient is exactly 0 too depends on the processor.
    """
    first, second = (weights(logs, name) for name in (one, other))
    return {
        name.split(".")[0]
        for name in first
        if name in second and not torch.allclose(first[name], second[name], rtol=0, atol=1e-20)
    }


def test_one_and_two_processes_train_the_same(labelled, tmp_path):
    flags = (
        *data(labelled),
        "--loss-fn",
        "supcon",
        "--embed",
        "pooled",
        "--im-wt",
        "0.3",
        "--learn-im-wt",
        "--m-per-class",
        "2",
        "--max-steps",
        "3",
        "--eps",
        "1e-3",  # Adam's default makes steps of full size out of rounding, where a gradient is 0 (a key's bias)
    )
    one = train(tmp_path, "one", *flags, "--batch-size", "16")
    assert one.returncode == 0, one.stderr
    two = train(tmp_path, "two", *flags, "--batch-size", "8", processes=2)
    assert two.returncode == 0, two.stderr
    losses = [
        [float(row["metric_loss"]) for row in steps(tmp_path, name)] for name in ("one", "two")
    ]
    assert (
        len(losses[0]) == 3 and losses[0] == pytest.approx(losses[1], rel=1e-4) and losses[0][0] > 0
    )
    first, second = (weights(tmp_path, name) for name in ("one", "two"))
    assert "embedding_head.weight_logit" in first
    for name, value in first.items():
        torch.testing.assert_close(
            value, second[name], rtol=1e-3, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_class_weights_are_trained_saved_and_loaded(labelled, tmp_path):
    flags = (
        *data(labelled),
        "--loss-fn",
        "arcface",
        "--embed",
        "mlp",
        "--batch-size",
        "10",
        "--accum-freq",
        "2",
        "--max-steps",
        "1",
    )
    done = train(tmp_path, "a", *flags)
    assert done.returncode == 0, done.stderr
    assert weights(tmp_path, "a")["embedding_head.class_weights"].shape[0] == 10
    start = str(tmp_path / "a/checkpoints/epoch_1.pt")
    again = train(tmp_path, "b", *flags, "--pretrained", start, "--lr", "1e-30")
    assert again.returncode == 0, again.stderr
    assert moved(tmp_path, "a", "b") == set()  # the head went on from where it was
    embed = (
        "python",
        "-m",
        "mining.embed",
        "--csv",
        str(labelled),
        "--csv-img-key",
        "image_path",
        "--csv-caption-key",
        "text",
    )
    done = run(
        *embed, "--model", "hardpairs-test", "--pretrained", start, "--out", str(tmp_path / "emb")
    )
    assert done.returncode == 0, done.stderr  # for OpenCLIP the head is not there
    resumed = train(
        tmp_path, "a", *flags, "--resume", "latest", "--epochs", "2", "--max-steps", "2"
    )
    assert resumed.returncode == 0, resumed.stderr


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--embed", "pooled"), "--embed is given, but nothing uses it"),
        (("--loss-fn", "supcon", "--m-per-class", "1"), "leaves every row without a positive"),
        (
            ("--batching", "class-neighbours", "--loss-fn", "triplet", "--m-per-class", "1"),
            "leaves every row without a positive",
        ),
        (("--loss-fn", "supcon", "--metric-scale", "3"), "fix: --loss-fn arcface"),
        (
            ("--loss-fn", "supcon", "--miner", "batch-hard"),
            "fix: --loss-fn contrastive or --loss-fn triplet",
        ),
        (
            ("--loss-fn", "triplet", "--im-wt", "0.2"),
            "--im-wt has no effect without --embed pooled",
        ),
        (
            ("--loss-fn", "triplet", "--embed", "pooled", "--im-wt", "2"),
            "--im-wt must be at least 0 and at most 1",
        ),
        (("--loss-fn", "triplet", "--metric-margin", "-1"), "--metric-margin must be at least 0"),
        (("--loss-fn", "supcon", "--metric-temperature", "0"), "must be above 0"),
        (
            ("--loss-fn", "arcface", "--geometry-weight", "0.1"),
            "--geometry-weight is given, but nothing uses it",
        ),
        (("--loss-fn", "arcface", "--csv-group-key", "nolabel"), "no column 'nolabel'"),
    ],
)
def test_flags_that_do_not_go_together(labelled, flags, says):
    with pytest.raises(UserError) as error:
        patched("params").parse_args(
            ["--model", "hardpairs-test", *data(labelled), "--batch-size", "8", *flags]
        )
    assert says in error.value.text()


def parsed(*argv):
    """By the trainer's parser, after translation."""
    return patched("params").parse_args(command_arguments("train", argv))


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_overridden_by_what_is_given(labelled, preset):
    argv = [
        "--model",
        "hardpairs-test",
        *data(labelled),
        "--batch-size",
        "6",
        "--lr",
        "0.5",
        "--preset",
        preset,
    ]
    more = ["--m-per-class", "2"] if "--m-per-class" in PRESETS[preset] else []
    more += ["--no-freeze-backbone"] if "--freeze-backbone" in PRESETS[preset] else []
    args = parsed(*argv, *more)
    assert args.batch_size == 6 and args.lr == 0.5
    assert not args.freeze_backbone
    words = [word for word in PRESETS[preset] if word != "--freeze-backbone"]
    expected = dict(zip(words[::2], words[1::2], strict=True))
    assert args.loss_fn == expected.get("--loss-fn", "clip_ce") and args.wd == float(
        expected["--wd"]
    )


def test_data_without_labels_is_refused(labelled, tmp_path):
    done = train(tmp_path, "x", *data(labelled)[:8], "--loss-fn", "arcface", "--batch-size", "8")
    assert (
        done.returncode == 3
        and "the data has 0 classes" in done.stderr
        and "Traceback" not in done.stderr
    )


def test_class_neighbours_from_embeddings_made_anew(labelled, tmp_path):
    """Classes beside their nearest, by embeddings of the start model and then of the model after an epoch: the same on one process and two."""
    batches = ("--batching", "class-neighbours", "--class-neighbours", "1", "--remine-every", "1")
    flags = (*data(labelled), *batches, "--loss-fn", "supcon", "--epochs", "2", "--eps", "1e-3")
    one = train(tmp_path, "one", *flags, "--batch-size", "16")
    assert one.returncode == 0, one.stderr
    two = train(tmp_path, "two", *flags, "--batch-size", "8", processes=2)
    assert two.returncode == 0, two.stderr
    losses = [
        [float(row["metric_loss"]) for row in steps(tmp_path, name)] for name in ("one", "two")
    ]
    assert len(losses[0]) == 12 and losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert int(steps(tmp_path, "one")[-1]["mined"]) > 0
    for epoch in (0, 1):
        folder = tmp_path / f"one/remined/epoch_{epoch}"
        assert open_embeddings(folder, verify=True).num_samples == 40


@pytest.mark.parametrize(
    "flags",
    [
        ("--use-hard", "--loss-fn", "arcface"),
        (
            "--batching",
            "class-neighbours",
            "--class-neighbours",
            "1",
            "--loss-fn",
            "triplet",
            "--miner",
            "semi-hard",
        ),
    ],
)
def test_hard_pairs_and_labels_together(labelled, tmp_path, flags):
    indices, scores = ragged_table(40, 6, fullest=True)
    fingerprint = open_samples(labelled, image_key="image_path", caption_key="text").fingerprint
    write_table(
        table_folder(tmp_path, "pairs"), indices, scores, {"dataset_fingerprint": fingerprint}
    )
    table = str(table_folder(tmp_path, "pairs"))
    done = train(
        tmp_path,
        "run",
        *data(labelled),
        *flags,
        "--hard-dict-dir",
        table,
        "--batch-size",
        "16",
        "--max-steps",
        "2",
    )
    assert done.returncode == 0, done.stderr
    last = steps(tmp_path, "run")[-1]
    assert float(last["metric_loss"]) > 0 and int(last["mined"]) > 0


def test_a_head_that_is_taken_over_is_not_asked_for_what_is_given(labelled, tmp_path):
    """``--im-wt`` is this run's whatever the start model's was; class weights are of their classes."""
    from hardpairs.training.config import TrainingConfig
    from hardpairs.training.heads import add_head, class_groups, make_head

    def head_of(*flags, start=None):
        start = ("--pretrained", str(start)) if start else ()
        args = patched("params").parse_args(
            ["--model", "hardpairs-test", *data(labelled), "--batch-size", "8", *flags, *start]
        )
        config = TrainingConfig.from_values(vars(args))
        groups = (
            class_groups(open_training_samples(vars(args))) if config.needs_class_weights else None
        )
        head = make_head(config.head, args.model, groups)
        return add_head(torch.nn.Linear(1, 1), head, args.pretrained).embedding_head

    def saved(head):
        torch.save(
            {
                "state_dict": {
                    f"embedding_head.{name}": value for name, value in head.state_dict().items()
                }
            },
            tmp_path / "a.pt",
        )
        return tmp_path / "a.pt"

    pooled = ("--loss-fn", "supcon", "--embed", "pooled", "--im-wt")
    assert head_of(
        *pooled, "0.3", start=saved(head_of(*pooled, "0.9"))
    ).image_weight.item() == pytest.approx(0.3)
    arcface = ("--loss-fn", "arcface")
    head = head_of(*arcface)
    assert torch.equal(head_of(*arcface, start=saved(head)).class_weights, head.class_weights)
    head.class_ids += 1
    assert not torch.equal(head_of(*arcface, start=saved(head)).class_weights, head.class_weights)


def test_a_projection_is_what_the_loss_sees_and_is_found_again(labelled, tmp_path):
    flags = (
        "--loss-fn",
        "triplet",
        "--projection",
        "24",
        "--freeze-backbone",
        "--head-lr",
        "0.1",
        "--batch-size",
        "8",
        "--max-steps",
        "2",
    )
    done = train(tmp_path, "run", *data(labelled), *flags)
    assert done.returncode == 0, done.stderr
    head = load_head(tmp_path / "run/checkpoints/epoch_1.pt")
    unit = torch.nn.functional.normalize(torch.randn(3, 32), dim=1)
    found = head(unit, unit)
    assert found.shape == (3, 24) and not head.training
    weight, bias = (
        weights(tmp_path, "run")[f"embedding_head.projection.1.{name}"]
        for name in ("weight", "bias")
    )
    torch.testing.assert_close(found, torch.nn.functional.normalize(unit @ weight.T + bias, dim=1))


def test_clippings_command_line(labelled, tmp_path, monkeypatch):
    """Flags of train_clippings.py; the second line is its README's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.pt").touch()
    start = ["--model", "hardpairs-test", *data(labelled), "--batch_size", "8"]
    argv = [
        *start,
        "--loss_type",
        "supcon",
        "--supcon_temp",
        "0.2",
        "--pooling_type",
        "mlp",
        "--m",
        "2",
    ]
    argv += [
        "--clip_lr",
        "5e-9",
        "--mlp_lr",
        "5e-5",
        "--clip_weight_decay",
        "0.001",
        "--freeze_clip_epochs",
        "3",
    ]
    args = parsed(*argv, "--augmented_crops", "--wandb_name", "x", "--epochs", "9")
    assert (args.loss_fn, args.metric_temperature, args.embed, args.m_per_class) == (
        "supcon",
        0.2,
        "mlp",
        2,
    )
    assert (args.lr, args.head_lr, args.wd, args.freeze_epochs, args.augment) == (
        5e-9,
        5e-5,
        0.001,
        3,
        "scanned-document",
    )
    assert args.lock_image and args.lock_text and args.name == "x"
    args = parsed(*argv, "--pooling_type", "mean")  # there the flag is for the MLP alone
    assert not args.lock_image and args.freeze_epochs is None
    readme = "--clip_lr 5e-9 --train_data_type newspapers_labelled --m 2 --training_type train_bienc --im_wt 0.5 --k 2 --supcon_temp 0.1 --train_hardneg"
    argv = [
        *start,
        *readme.split(),
        "--loss_type",
        "supcon",
        "--checkpoint",
        "clip.pt",
        "--mlp_weight_decay",
        "0.01",
    ]
    args = parsed(*argv)
    assert (
        args.preset,
        args.im_wt,
        args.batching,
        args.class_neighbours,
        args.m_per_class,
        args.pretrained,
    ) == (*("clippings-supcon", 0.5, "class-neighbours", 1, 2, "clip.pt"),)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        (
            "clippings-pretrain",
            {
                "loss_fn": "clip_ce",
                "lr": 5e-6,
                "wd": 0.001,
                "batch_size": 153,
                "beta2": 0.98,
                "eps": 1e-6,
            },
        ),
        (
            "clippings-supcon",
            {
                "loss_fn": "supcon",
                "lr": 5e-9,
                "metric_temperature": 0.1,
                "im_wt": 0.3,
                "m_per_class": 3,
                "unlabelled": ["999"],
            },
        ),
        (
            "clippings-contrastive",
            {
                "loss_fn": "contrastive",
                "metric_margin": 0,
                "metric_negative_margin": 0.5,
                "embed": "pooled",
            },
        ),
        (
            "lc-arcface",
            {
                "loss_fn": "arcface",
                "metric_margin": 0.5,
                "metric_scale": 64,
                "lr": 1e-4,
                "wd": 1e-4,
                "batch_size": 128,
                "epochs": 40,
            },
        ),
        (
            "lc-triplet",
            {
                "loss_fn": "triplet",
                "metric_margin": 0.2,
                "projection": 1024,
                "freeze_backbone": True,
                "batch_size": 64,
                "epochs": 45,
            },
        ),
        (
            "lc-clip",
            {
                "loss_fn": "clip_ce",
                "lr": 1e-6,
                "head_lr": 1e-4,
                "wd": 1e-4,
                "grad_clip_norm": 1,
                "beta2": 0.98,
                "batch_size": 64,
            },
        ),
        (
            "lc-contrastive",
            {
                "loss_fn": "contrastive_squared",
                "metric_negative_margin": 0.5,
                "batch_size": 16,
                "epochs": 35,
                "lr": 1e-4,
            },
        ),
    ],
)
def test_settings_of_the_presets(preset, expected):
    """What their code has (train_clippings.py's defaults and README; the comparison's scripts)."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for name in (
        "lr",
        "wd",
        "beta1",
        "beta2",
        "eps",
        "grad-clip-norm",
        "batch-size",
        "epochs",
        "warmup",
    ):  # OpenCLIP's
        parser.add_argument(f"--{name}", type=float)
    found = vars(parser.parse_args(command_arguments("train", ["--preset", preset])))
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    "flags",
    [
        ("clippings-supcon", "--embed", "mlp"),
        ("clippings-supcon", "--embed", "image"),
        ("clippings-supcon", "--batching", "random"),
        ("lc-triplet", "--projection", "0", "--no-freeze-backbone"),
        ("clippings-contrastive", "--loss-fn", "supcon", "--m-per-class", "2"),
    ],
)
def test_a_presets_values_refuse_no_flag_beside_it(labelled, flags):
    argv = ["--model", "hardpairs-test", *data(labelled), "--batch-size", "6", "--preset", *flags]
    parsed(*argv)
    with pytest.raises(UserError, match="nothing uses it"):
        parsed(*argv, "--metric-scale", "3")


def test_a_contrastive_margin_is_not_the_miners(labelled):
    """CLIPPINGS' positive margin is 0, and no triplet is semi-hard within a margin of 0."""
    flags = ("--preset", "clippings-contrastive", "--miner", "semi-hard", "--batch-size", "6")
    args = parsed("--model", "hardpairs-test", *data(labelled), *flags)
    args.rank, args.world_size, args.logs = 0, 1, "none"
    loss = create_loss(args).loss.loss
    rows = torch.nn.functional.normalize(
        torch.randn(12, 5, generator=torch.Generator().manual_seed(1)), dim=1
    )
    assert len(loss.miner(rows, torch.arange(12) % 4)[0]) > 0


@pytest.mark.parametrize("other", ["supcon", "arcface"])
def test_a_head_goes_on_under_another_loss(labelled, tmp_path, other):
    """Its layers do; class weights only under ArcFace, and of the same classes."""
    flags = (*data(labelled), "--embed", "mlp", "--batch-size", "8", "--max-steps", "1")
    assert (
        train(
            tmp_path, "a", *flags, "--loss-fn", "arcface" if other == "supcon" else "supcon"
        ).returncode
        == 0
    )
    start = ("--pretrained", str(tmp_path / "a/checkpoints/epoch_1.pt"))
    done = train(tmp_path, "b", *flags, *start, "--loss-fn", other, "--lr", "1e-30")
    assert done.returncode == 0 and "starts anew" not in done.stderr, done.stderr
    assert "embedding_head" not in moved(tmp_path, "a", "b")


def test_labels_are_counted(labelled, tmp_path):
    done = train(
        tmp_path,
        "a",
        *data(labelled),
        "--loss-fn",
        "supcon",
        "--m-per-class",
        "2",
        "--batch-size",
        "8",
        "--max-steps",
        "1",
    )
    assert (
        done.returncode == 0
        and "Labels: 10 on 37 rows, 1 of them on one row alone; 3 rows without one." in done.stderr
    ), done.stderr


def test_bf16(labelled, tmp_path):
    """The model is converted whole; the head's layers are not."""
    rows = [
        word for word in data(labelled) if word != "--freeze-bn-stats"
    ]  # OpenCLIP's frozen batch norms know no bfloat16
    flags = (
        "--loss-fn",
        "triplet",
        "--embed",
        "mlp",
        "--m-per-class",
        "2",
        "--batch-size",
        "8",
        "--max-steps",
        "1",
    )
    done = train(tmp_path, "a", *rows, *flags, "--precision", "bf16")
    assert done.returncode == 0, done.stderr
