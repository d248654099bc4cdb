"""Training on a small collection: MiniCLIP's data, command line, words and towers through the trainer, in real runs."""

import json
import logging

import numpy as np
import pytest
import torch
import torchvision

from hardpairs.batches import BatchInfo
from hardpairs.cli.command_line import command_arguments
from hardpairs.cli.embed import main as embed
from hardpairs.cli.evaluate import main as evaluate
from hardpairs.cli.train import main
from hardpairs.core.errors import UserError
from hardpairs.data.hard_pairs import table_folder, write_table
from hardpairs.data.opening import open_samples
from hardpairs.data.splits import split_into
from hardpairs.models.checkpoint import checkpoint_weights, load_checkpoint
from hardpairs.models.model_config import vocabulary_of
from hardpairs.training.hooks.build import create_loss
from hardpairs.training.samples import open_training_samples
from hardpairs.training.upstream import patched
from tests.helpers import picture, ragged_table, run
from tests.training.test_trainer import checkpoint, one_after_another, steps

THINGS = ("mug", "white chair", "dog", "lamp")


@pytest.fixture
def photos(tmp_path):
    """A captions.json of 40 pictures with two captions each, some of which recur; picture 0 alone is a zebra."""
    (tmp_path / "photos/images").mkdir(parents=True)
    entries = []
    for i in range(40):
        (tmp_path / f"photos/images/{i}.jpg").write_bytes(picture(i))
        thing = "zebra" if i == 0 else THINGS[i % 4]
        entries += [
            {"file_name": f"{i}.jpg", "caption": caption}
            for caption in (f"{thing}", f"A {thing}, number {i}!")
        ]
    (tmp_path / "photos/captions.json").write_text(json.dumps(entries))
    return tmp_path / "photos/captions.json"


QUICK = (
    "--model",
    "miniclip-test",
    "--device",
    "cpu",
    "--workers",
    "0",
    "--log-every-n-steps",
    "1",
    "--batch-size",
    "16",
)


def parsed(*flags):
    return patched("params").parse_args(command_arguments("train", [*map(str, flags)]))


def refused(*flags):
    with pytest.raises(UserError) as error:
        parsed(*flags)
    return error.value.code, error.value.text()


# Data.


def test_captions_of_one_image_are_positives_and_no_negatives(photos):
    args = parsed("--train-data", photos, "--dataset-type", "captions-json", *QUICK)
    assert args.batching == "random" and args.false_negative_mask
    samples = open_training_samples(vars(args))
    positives = torch.from_numpy(samples.positives)
    alike = (positives[:, None] == positives[None]).any(dim=2)
    for i in range(0, 80, 2):
        assert alike[i, i + 1]  # one image
    dogs = [row for row in range(80) if samples.caption(row) == "dog"]
    assert (
        alike[4, dogs].all() and not alike[5, dogs[1:]].any()
    )  # one caption; "A dog, number 2!" is another than "dog"
    rows = torch.tensor([2, 3, 5, 7])  # the two captions of image 1, and two other pictures
    features = torch.nn.functional.normalize(
        torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=1
    )
    others = torch.nn.functional.normalize(
        torch.randn(4, 8, generator=torch.Generator().manual_seed(1)), dim=1
    )
    args.rank, args.world_size, args.logs = 0, 1, "none"
    info = BatchInfo(group_ids=positives[rows])
    found = create_loss(args).loss(features, others, torch.tensor(10.0), info=info)
    logits, expected = 10 * features @ others.T, 0.0
    for i in range(4):
        kept = [j for j in range(4) if j == i or {i, j} != {0, 1}]
        for direction in (logits, logits.T):
            expected += (direction[i, kept].logsumexp(0) - direction[i, i]) / 8
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_folders_and_tables_work_too(photos, tmp_path):
    for i in range(40):
        (tmp_path / f"photos/images/{i}.txt").write_text(f"number {i}")
    assert (
        open_training_samples(
            vars(parsed("--train-data", tmp_path / "photos/images", *QUICK))
        ).caption(0)
        == "number 0"
    )
    assert (
        "for a .json file"
        in refused(
            "--train-data", tmp_path / "photos/images", "--dataset-type", "captions-json", *QUICK
        )[1]
    )


def test_warmup_counts_epochs(photos):
    args = parsed(
        "--train-data", photos, "--warmup-epochs", "2", "--accum-freq", "2", "--epochs", "4", *QUICK
    )
    assert args.warmup == 6  # 80 captions in steps of 32: 3 a pass
    assert parsed("--train-data", photos, "--preset", "miniclip-lstm", *QUICK).warmup == 25
    assert (
        parsed("--train-data", photos, "--preset", "miniclip-lstm", "--warmup", "7", *QUICK).warmup
        == 7
    )
    assert refused("--train-data", photos, "--warmup-epochs", "2", "--warmup", "3", *QUICK)[0] == 2
    assert refused("--train-data", photos, "--warmup-epochs", "-1", *QUICK)[0] == 2


# MiniCLIP's command line.


def test_miniclips_command_line_trains(photos, tmp_path):
    """As its README has it; only the model is a tiny one, and the run short."""
    done = run(
        *(
            "python",
            "-m",
            "training.main",
            "--model_type",
            "lstm",
            "--captions_json",
            str(photos),
            "--batch_size",
            "16",
            "--epochs",
            "2",
        ),
        *(
            "--image_root",
            str(photos.parent / "images"),
            "--checkpoint_dir",
            str(tmp_path / "checkpoints"),
            "--results_dir",
            str(tmp_path / "results"),
        ),
        *(
            "--model",
            "miniclip-test",
            "--name",
            "a",
            "--workers",
            "0",
            "--device",
            "cpu",
            "--lr",
            "1e-3",
        ),
    )
    assert done.returncode == 0, done.stderr
    made = {path.name for path in (tmp_path / "results").iterdir()}
    figures = ("training_curves", "retrieval_results", "similarity_heatmap", "embedding_space")
    assert {"metrics_lstm.json", *(f"{name}_lstm.png" for name in figures)} <= made
    history = json.loads((tmp_path / "results/training_history_lstm.json").read_text())
    assert history["epoch"] == [1, 2] and all(len(values) == 2 for values in history.values())
    assert min(history["train_loss"] + history["val_loss"]) > 0
    logs = tmp_path / "checkpoints"
    params = dict(line.split(": ", 1) for line in (logs / "a/params.txt").read_text().splitlines())
    assert (
        params["batch_size"],
        params["epochs"],
        params["lr"],
        params["beta2"],
        params["seed"],
    ) == ("16", "2", "0.001", "0.98", "42")
    assert params["train_data"] == str(logs / "split/train.csv") and params["warmup"] == "20"
    split = json.loads((logs / "split/manifest.json").read_text())
    assert split["images"] == {"train": 28, "val": 6, "test": 6}
    training = set(open_samples(logs / "split/train.csv").captions)
    words = load_checkpoint(logs / "a/checkpoints/epoch_2.pt")["vocabulary"]
    assert (
        "zebra" not in words
        and words[0] in ("a", "number")
        and set(words)
        == {w for c in training for w in c.lower().strip("!").replace(",", "").split()}
    )
    assert (logs / "a/checkpoints/results.jsonl").exists()  # validated on the split's val.csv
    photos.write_text(photos.read_text().replace("zebra", "horse"))
    code, text = refused(
        "--model_type", "lstm", "--captions_json", photos, "--checkpoint_dir", logs, *QUICK
    )
    assert code == 4 and "changed since it was split" in text


def test_model_type_stands_for_ours(photos):
    args = parsed(
        "--train-data", photos, "--model_type=transformer", "--lr", "0.5", "--image-weights", "none"
    )
    assert (
        args.batch_size == 32
        and args.model == "miniclip-transformer"
        and args.preset == "miniclip-transformer"
        and args.lr == 0.5
    )
    assert refused("--train-data", photos, "--captions_json", photos, *QUICK)[0] == 2
    assert refused("--model_type", "gru")[0] == 2


def test_where_miniclip_looks_and_when_it_ends(photos, tmp_path, monkeypatch):
    """Without a word of the data, data/captions.json; the best epoch by R@1 on the validation part, ten without a better one."""
    flags = ("--preset", "miniclip-lstm", "--logs", "logs", *QUICK)
    monkeypatch.chdir(tmp_path)
    code, text = refused(*flags)
    assert code == 2 and "--captions-json FILE" in text
    (tmp_path / "photos").rename(tmp_path / "data")
    args = parsed(*flags)
    assert args.train_data == "logs/split/train.csv" and (args.save_best, args.patience) == (
        "text_to_image_R@1",
        10,
    )
    args = parsed(*flags, "--save-best", "mean_R@1")
    assert (args.save_best, args.patience) == ("mean_R@1", None)
    args = parsed(
        "--preset",
        "miniclip-openclip",
        "--captions-json",
        "data/captions.json",
        "--logs",
        "logs",
        *QUICK,
    )
    assert (args.lr, args.epochs, args.augment, args.save_best) == (
        1e-5,
        10,
        "miniclip",
        None,
    ) and args.warmup == 4


def test_pictures_that_look_the_same_stay_in_one_part(photos, tmp_path, capsys):
    """Unless the split was made before, by other rules: then it is taken as it is."""
    images = photos.parent / "images"
    copies = {f"{i}.jpg" for i in range(8)}
    for name in copies:
        (images / name).write_bytes(picture(0))
    flags = ("--captions-json", photos, *QUICK)
    parsed(*flags, "--logs", tmp_path / "logs")
    parts = json.loads((tmp_path / "logs/split/split.json").read_text())
    assert (
        sum(bool(copies & set(names)) for names in parts.values()) == 1
        and "8 images that look alike stay" in capsys.readouterr().err
    )
    made_before = split_into(tmp_path / "other/split", open_samples(photos))
    assert (
        sum(
            bool(copies & set(names))
            for names in json.loads((made_before.folder / "split.json").read_text()).values()
        )
        > 1
    )
    before = (made_before.folder / "split.json").read_text()
    parsed(*flags, "--logs", tmp_path / "other")
    assert (made_before.folder / "split.json").read_text() == before
    images.rename(tmp_path / "moved")
    parsed(*flags, "--logs", tmp_path / "logs", "--image-root", tmp_path / "moved")
    assert json.loads((tmp_path / "logs/split/split.json").read_text()) == parts
    assert str(tmp_path / "moved/0.jpg") in "".join(
        (tmp_path / f"logs/split/{part}.csv").read_text() for part in parts
    )


def test_a_run_without_image_weights_does_not_start(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    data = ("--train-data", photos, "--logs", tmp_path / "logs", "--name", "a")
    code, text = refused(*data, "--preset", "miniclip-lstm")
    assert code == 3 and "no ImageNet weights" in text and not (tmp_path / "logs").exists()
    parsed(*data, "--preset", "miniclip-lstm", "--image-weights", "none")
    parsed(*data, "--preset", "miniclip-lstm", "--model", "miniclip-lstm-cnn")
    assert (
        "is for models of small towers"
        in refused(*data, "--model", "hardpairs-test", "--image-weights", "none")[1]
    )
    (tmp_path / "a.pt").touch()
    start = ("--model", "miniclip-lstm", "--pretrained", str(tmp_path / "a.pt"))
    assert "all weights come from" in refused(*data, *start, "--image-weights", "none")[1]


# Words.


def test_where_the_words_come_from(photos, tmp_path, checkpoint_of):
    split = split_into(tmp_path / "split", open_samples(photos))
    table = ("--train-data", str(split.table("train")), "--csv-separator", ",")
    (tmp_path / "more.csv").write_text("filepath,title\na.jpg,okapi\n")
    words = {
        name: checkpoint_of(*table, *flags)["vocabulary"]
        for name, flags in {
            "train": (),
            "all": ("--vocabulary-from", "all"),
            "file": ("--vocabulary-from", str(tmp_path / "more.csv")),
        }.items()
    }
    assert "zebra" not in words["train"] and "zebra" in words["all"] and words["file"] == ["okapi"]
    assert words["all"] == vocabulary_of(
        "miniclip-test", open_samples(photos).captions
    )  # MiniCLIP's own: its file's order breaks ties
    code, text = refused("--train-data", photos, "--vocabulary-from", "all", *QUICK)
    assert code == 2 and "train on a table of a split" in text
    photos.write_text(photos.read_text().replace("zebra", "horse"))
    assert refused(*table, "--vocabulary-from", "all", *QUICK)[0] == 4
    assert (
        refused(
            *table,
            "--model",
            "RN50",
            "--vocabulary-from",
            "all",
            "--batching",
            "random",
            "--batch-size",
            "16",
        )[0]
        == 2
    )


@pytest.fixture
def checkpoint_of(tmp_path):
    """Trains one step with flags, and opens the checkpoint."""
    runs = []

    def train(*flags):
        runs.append(f"run{len(runs)}")
        args = (
            *QUICK,
            "--precision",
            "fp32",
            "--max-steps",
            "1",
            "--logs",
            str(tmp_path / "logs"),
            "--name",
            runs[-1],
            *flags,
        )
        handlers = list(logging.root.handlers)
        try:
            assert main([*map(str, args)]) == 0
        finally:
            logging.root.handlers[:] = handlers
        return load_checkpoint(tmp_path / f"logs/{runs[-1]}/checkpoints/epoch_1.pt")

    return train


# Runs.


def test_one_and_two_processes_train_the_same(photos, tmp_path):
    """A global batch of 16, with hard pairs and SANW: every part of a collection's training at once."""
    samples = open_samples(photos)
    indices, scores = ragged_table(80, 6, fullest=True)
    write_table(
        table_folder(tmp_path, "photos"),
        indices,
        scores,
        {"dataset_fingerprint": samples.fingerprint},
    )
    hard = (
        "--use-hard",
        "--hard-dict-dir",
        str(table_folder(tmp_path, "photos")),
        "--loss-fn",
        "sanw_debias",
        "--sanw-delta",
        "0",
    )
    flags = [
        "--train-data",
        str(photos),
        "--preset",
        "miniclip-lstm",
        *QUICK,
        "--augment",
        "none",
        "--freeze-bn-stats",
        "--logs",
        str(tmp_path),
    ]
    flags += [
        "--max-steps",
        "3",
        "--epochs",
        "1",
        "--warmup",
        "0",
        "--lr",
        "0.1",
        "--opt",
        "timm/sgd",
        "--momentum",
        "0.5",
        "--wd",
        "0",
    ]
    for processes in (1, 2):
        sizes = ["--batch-size", str(16 // processes)]
        lines = [
            [*flags, *sizes, "--name", f"plain{processes}"],
            [*flags, *hard, *sizes, "--name", f"hard{processes}"],
        ]
        done = one_after_another(processes, tmp_path, lines)
        assert done.returncode == 0, done.stderr
    runs = {
        name: checkpoint_weights(tmp_path / f"{name}/checkpoints/epoch_1.pt")
        for name in ("plain1", "plain2", "hard1", "hard2")
    }
    for one, two in (("plain1", "plain2"), ("hard1", "hard2")):
        for name, value in runs[one].items():
            torch.testing.assert_close(
                value, runs[two][name], rtol=1e-3, atol=2e-5, msg=f"{one}: {name}"
            )
    assert (
        max(
            float((value - runs["hard1"][name]).abs().max())
            for name, value in runs["plain1"].items()
        )
        > 1e-2
    )  # they moved, each its way
    assert (
        checkpoint(tmp_path, "plain1")["vocabulary"] == checkpoint(tmp_path, "plain2")["vocabulary"]
    )
    assert [row["mined"] for row in steps(tmp_path, "hard1")] == ["8", "16", "24"]
    assert all(0 < float(row["w_mean"]) < 1 for row in steps(tmp_path, "hard1"))


def test_resnet18_starts_from_the_file_and_its_first_layers_stay(photos, tmp_path, checkpoint_of):
    torch.manual_seed(5)
    network = torchvision.models.resnet18(weights=None)
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    weights = ("--image-weights", str(tmp_path / "resnet18.pth"))
    state = checkpoint_of(
        "--train-data",
        photos,
        "--model",
        "miniclip-lstm",
        "--force-image-size",
        "32",
        *weights,
        "--warmup",
        "0",
    )["state_dict"]
    changed = {
        name
        for name, value in network.named_parameters()
        if not name.startswith("fc") and not torch.equal(state[f"visual.backbone.{name}"], value)
    }
    assert {name.split(".")[0] for name in changed} == {"layer3", "layer4"} and len(changed) == 20


def test_the_transformer_trains(photos, checkpoint_of):
    flags = (
        "--train-data",
        photos,
        "--preset",
        "miniclip-transformer",
        "--model",
        "miniclip-transformer-cnn",
        "--force-image-size",
        "32",
    )
    saved = checkpoint_of(*flags, "--epochs", "1", "--batch-size", "16")
    assert saved["state_dict"]["text.embedding.weight"].shape == (4 + len(saved["vocabulary"]), 128)


def test_a_checkpoint_goes_through_every_stage(photos, tmp_path, checkpoint_of):
    """Trained, resumed, fine-tuned, evaluated and used for embedding; the words are the training captions' throughout."""
    split = split_into(tmp_path / "split", open_samples(photos))
    table = ("--train-data", str(split.table("train")), "--csv-separator", ",")
    first = checkpoint_of(*table, "--seed", "1")
    path = str(tmp_path / "logs/run0/checkpoints/epoch_1.pt")
    tuned = checkpoint_of("--train-data", str(photos), "--pretrained", path, "--lr", "1e-30")
    assert tuned["vocabulary"] == first["vocabulary"]
    for name, value in first["state_dict"].items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(
                value, tuned["state_dict"][name], rtol=0, atol=1e-20, msg=name
            )
    resume = (
        *("--seed", "1"),
        "--resume",
        "latest",
        "--epochs",
        "2",
        "--max-steps",
        "2",
        "--logs",
        str(tmp_path / "logs"),
        "--name",
        "run0",
    )
    handlers = list(logging.root.handlers)
    assert main([*table, *QUICK, "--precision", "fp32", *resume]) == 0
    logging.root.handlers[:] = handlers
    assert (
        load_checkpoint(tmp_path / "logs/run0/checkpoints/epoch_2.pt")["vocabulary"]
        == first["vocabulary"]
    )
    model = ("--model", "miniclip-test", "--pretrained", path, "--workers", "0", "--device", "cpu")
    assert (
        evaluate(["--data", str(split.table("test")), "--out", str(tmp_path / "ev"), *model]) == 0
    )
    record = json.loads((tmp_path / "ev/evaluation.json").read_text())
    assert (
        record["images"] == record["groups"] == 6
        and record["preprocess"]["resize_mode"] == "squash"
    )
    assert embed(["--csv", str(photos), "--out", str(tmp_path / "emb"), *model]) == 0
    assert np.load(tmp_path / "emb/text_emb/text_emb_0.npy").shape == (80, 32)
    random = (
        "--model",
        "miniclip-test",
        "--pretrained",
        "none",
        "--workers",
        "0",
        "--device",
        "cpu",
    )
    assert embed(["--csv", str(photos), "--out", str(tmp_path / "random"), *random]) == 0
