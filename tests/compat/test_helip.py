"""HELIP's command lines work as they are."""

import pytest

from hardpairs import compat
from hardpairs.cli import embed, mine
from hardpairs.compat import helip
from hardpairs.compat.helip import IMAGE_ENCODER, TEXT_ENCODER
from hardpairs.core.errors import UserError
from tests.compat.parsing import training_args, values


def test_its_mining_line(tmp_path):
    """As its README has it, and with all of its flags."""
    args = mine.parse_args(["--dataset", "cc3m", "--save_path", str(tmp_path), "--topk", "7"])
    assert values(args, "dataset", "save_path", "top_k") == ("cc3m", str(tmp_path), 7)
    more = [
        "--start_tar",
        "0",
        "--end_tar",
        "331",
        "--mining_method",
        "text",
        "--approx",
        "3000000",
    ]
    args = mine.parse_args(["--dataset", "cc3m", "--save_path", str(tmp_path), *more])
    numbers = values(args, "start_tar", "end_tar", "method", "approx")
    assert numbers == (0, 331, "text", 3_000_000)


def test_its_defaults_are_a_preset(tmp_path):
    line = ["--dataset", "cc3m", "--save_path", str(tmp_path), "--embeddings", str(tmp_path)]
    assert values(mine.parse_args(line), "top_k", "approx") == (50, None)
    args = mine.parse_args([*line, "--topk", "7", "--preset", "helip"])
    assert values(args, "top_k", "approx", "approx_targets") == (7, 3_000_000, 300_000)
    with pytest.raises(UserError, match="no preset 'x'") as error:
        mine.parse_args([*line, "--preset", "x"])
    assert error.value.fix == "one of: helip"
    args = embed.parse_args(["--shards", "x", "--out", "e", "--preset", "helip"])
    assert values(args, "image_encoder", "text_encoder") == (IMAGE_ENCODER, TEXT_ENCODER)
    assert values(args, "image_size", "image_crop") == (224, 0.875)


def test_its_mining_line_names_the_package_that_is_missing(shards, tmp_path, monkeypatch):
    """After set-up sentence-transformers is not there; the models are fetched when it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets.yaml").write_text(f"cc3m: {{shards: {shards}}}\n")
    line = ["--dataset", "cc3m", "--save_path", "mined", "--topk", "7"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError) as error:
        mine.main(line)
    assert error.value.code == 2 and "sentence-transformers, which is not installed" in (
        error.value.what
    )
    assert error.value.fix.startswith("pip install sentence-transformers")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert helip.encoders()["text_encoder"] == TEXT_ENCODER


def test_tars_of_the_embedding_command():
    args = embed.parse_args(
        ["--shards", "x", "--model", "m", "--out", "e", "--start_tar", "1", "--end_tar=2"]
    )
    assert values(args, "start_tar", "end_tar") == (1, 2)


def test_its_training_line():
    line = """--train-data cc3m.csv --train-num-samples 3000000 --dataset-type csv --batch-size 420
    --precision amp --workers 4 --csv-img-key filepath --csv-separator , --imagenet-val val
    --use-hard --hard-dict-dir cc3m_hard_sample.csv --zeroshot-frequency 1 --pretrained start.pt"""
    args = training_args(*line.split())
    assert values(args, "hard_dict_dir", "batch_size") == ("cc3m_hard_sample.csv", 420)
    assert args.use_hard or args.batching == "hard-pairs"


@pytest.mark.parametrize("command", compat.SYSTEMS["helip"].spellings)
def test_its_flags_are_ours(command):
    for flag in compat.SYSTEMS["helip"].spellings[command]:
        assert compat.translate(command, [flag, "x"]) == ([flag.replace("_", "-"), "x"], [])
