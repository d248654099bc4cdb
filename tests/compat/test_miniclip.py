"""MiniCLIP's command lines work as they are."""

import pytest

from hardpairs import compat
from hardpairs.cli import photos, split
from hardpairs.compat.miniclip import PRESETS
from hardpairs.core.errors import UserError
from tests.compat.parsing import training_args, values

ALL_FLAGS = """--captions_json c.json --image_root images --model_type transformer --epochs 50
    --batch_size 16 --lr 3e-4 --checkpoint_dir checkpoints --results_dir results"""


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_its_training_lines(kind):
    args = training_args("--model_type", kind, "--epochs", "50")
    assert values(args, "model", "preset", "epochs", "batch_size", "lr", "seed") == (
        *(f"miniclip-{kind}", f"miniclip-{kind}", 50, 32, 3e-4, 42),
    )
    assert values(args, "beta1", "beta2", "eps", "wd", "warmup_epochs", "grad_clip_norm") == (
        *(0.9, 0.98, 1e-8, 1e-4, 5, 1),
    )


def test_all_of_its_training_flags(capsys):
    args = training_args(*ALL_FLAGS.split())
    named = values(args, "captions_json", "image_root", "logs", "results_dir", "batch_size", "lr")
    assert named == ("c.json", "images", "checkpoints", "results", 16, 3e-4)
    assert values(args, "save_best", "patience") == ("text_to_image_R@1", 10)
    assert not capsys.readouterr().err
    assert set(compat.SYSTEMS["miniclip"].spellings["train"]) <= set(ALL_FLAGS.split())


def test_its_program_measures_and_draws_where_it_splits():
    data = ("--captions_json", "c.json")
    assert training_args(*data, "--model_type", "lstm").results_dir == "results"
    assert training_args("--results_dir", "r", "--model_type", "lstm", *data).results_dir == "r"
    assert training_args(*data, "--preset", "miniclip-lstm").results_dir is None
    line = ("--model_type", "lstm", "--train-data", "x", "--results_dir", "r")
    assert training_args(*line).results_dir is None


def test_its_flags_of_other_commands():
    args = split.parse_args(["--captions_json", "c.json", "--image_root", "i", "--out", "o"])
    assert values(args, "data", "image_root") == ("c.json", "i")
    words, notes = compat.translate("evaluate", ["--model", "m", "--results_dir", "r"])
    assert words == ["--model", "m", "--results-dir", "r"] and not notes


def test_where_it_looks_for_captions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert training_args("--model_type", "lstm").captions_json is None
    (tmp_path / "data").mkdir()
    (tmp_path / "data/captions.json").write_text("[]")
    assert training_args("--model_type", "lstm").captions_json == "data/captions.json"
    assert training_args("--model_type", "lstm", "--train-data", "x").captions_json is None
    assert training_args("--preset", "miniclip-openclip").captions_json is None


def test_when_it_ends():
    line = ("--captions_json", "c.json", "--model_type", "lstm")
    assert training_args(*line, "--save-best", "mean_R@1").patience is None
    assert training_args(*line, "--patience", "3").patience == 3
    assert training_args("--preset", "miniclip-lstm", "--train-data", "x").save_best is None


def test_fine_tuning_without_weights_is_said():
    argv = ["--preset", "miniclip-openclip", "--model", "ViT-B-32"]
    note = "--preset miniclip-openclip fine-tunes, and there is no --pretrained: ViT-B-32 starts"
    assert compat.translate("train", argv)[1][0].startswith(note)
    assert not compat.translate("train", [*argv, "--pretrained", "x"])[1]


def test_an_unknown_model_type():
    with pytest.raises(UserError, match="--model_type must be lstm or transformer, not 'gru'"):
        training_args("--model_type", "gru")


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_given_wins(name):
    args = training_args("--lr", "0.5", "--preset", name, "--warmup", "7", "--model=miniclip-test")
    assert values(args, "lr", "warmup", "warmup_epochs", "model") == (0.5, 7, None, "miniclip-test")


@pytest.mark.parametrize(
    ("typed", "ours"),
    [
        ("--model_type transformer", "demo --name transformer"),
        ("--model_type lstm --batch", "demo --name lstm --mode automatic"),
        ("--mode interactive", "demo --mode interactive --name lstm"),
        (
            "--captions_json c --image_root i --checkpoint_dir k --results_dir r --top_k 3",
            "demo --captions-json c --image-root i --checkpoint-dir k --out r --top 3 --name lstm",
        ),
        ("--pretrained p", "demo --pretrained p --name lstm --model miniclip-lstm"),
        ("--model m --pretrained p --seed 1", "demo --model m --pretrained p --seed 1 --name lstm"),
        ("index folder --batch_size 3", "index folder --batch-size 3"),
        ("serve x --batches --model_type lstm", "serve x --batches --model-type lstm"),
        ("--help", "--help"),
    ],
)
def test_its_demonstration(typed, ours):
    argv, notes = compat.translate("photos", typed.split())
    assert (argv, notes) == (ours.split(), [])
    if ours.startswith("demo"):
        assert photos.parse_args(typed.split()).command == "demo"
