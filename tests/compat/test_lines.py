"""The command lines of the systems run as their READMEs write them, from their data to their results.

Only paths, model, sizes and steps are changed. Everything runs in this process, on the model for tests. HELIP's line under torchrun
is in ``tests/training/test_trainer.py``, MiniCLIP's programs are in ``test_miniclip.py``.
"""

import csv
import json
import logging

import pytest

from hardpairs.cli import (
    embed,
    evaluate,
    format_news,
    jaccard,
    link,
    list_shards,
    mine,
    retrieve,
    train,
)
from tests.helpers import picture, sample, write_tar
from tests.linking.test_label_studio import task


@pytest.fixture(autouse=True)
def handlers():
    """The trainer adds handlers to the root logger, and one to a file."""
    before, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = before
    logging.root.setLevel(level)


def run(command, line, **paths):
    """Run a line whose words may hold {names} of paths."""
    assert command.main([word.format(**paths) for word in line.split()]) in (0, None)


SMALL = "--device cpu --precision fp32 --workers 0 --log-every-n-steps 1 --max-steps 2"


def test_helip(tmp_path, checkpoint, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shard = {f"{i:09d}": sample(i) for i in range(24)}
    write_tar(tmp_path / "cc3m/00000.tar", shard)
    paths = {"model": checkpoint, "data": tmp_path / "cc3m"}
    run(list_shards, "--shards {data} --out cc3m.csv", **paths)
    run(
        embed,
        "--shards {data} --model hardpairs-test --pretrained {model} --out emb --workers 0 --device cpu",
        **paths,
    )
    (tmp_path / "datasets.yaml").write_text(f"cc3m: {{shards: {tmp_path}/cc3m, embeddings: emb}}\n")
    run(mine, "--dataset cc3m --save_path mined --topk 5 --duplicate-threshold 2 --device cpu")
    line = """--train-data cc3m.csv --train-num-samples 24 --dataset-type csv --batch-size 4
    --csv-img-key filepath --csv-separator , --use-hard --hard-dict-dir mined/cc3m_hard_sample.csv
    --zeroshot-frequency 1 --pretrained {model} --model hardpairs-test --name helip"""
    run(train, f"{line} {SMALL}", **paths)
    written = {path.name for path in (tmp_path / "mined").iterdir()}
    assert {"url_index", "cc3m_hard_sample.csv", "cc3m_hard_sample_dict.json"} <= written
    with open("logs/helip/metrics.csv") as file:
        steps = list(csv.DictReader(file))
    assert len(steps) == 2 and int(steps[-1]["mined"]) == 4
    assert (tmp_path / "logs/helip/checkpoints/epoch_1.pt").is_file()


def test_clipse(tmp_path, checkpoint, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = tmp_path / "flickr8k/Images"
    images.mkdir(parents=True)
    lines = ["image,caption"]
    for i in range(16):
        (images / f"{i}.jpg").write_bytes(picture(i))
        lines += [f"{i}.jpg,picture number {i}", f"{i}.jpg,number {i}"]
    (tmp_path / "flickr8k/captions.txt").write_text("\n".join(lines) + "\n")
    line = """--model_name hardpairs-test --local_checkpoint_path {model} --dataset_path flickr8k
    --log_dir results --checkpoint_dir checkpoints --run_id debias --seed 13 --epochs 1
    --batch_size 8 --loss_fn sanw_debias --sanw_alpha 0.1 --sanw_delta 0.2 --sanw_lambda 0.5
    --lr 1e-5 --wd 0.01 --warmup_epochs 1 --grad_clip 1.0 --log_every 1"""
    run(train, f"{line} --device cpu", model=checkpoint)
    with open("results/debias/metrics.csv") as file:
        steps = list(csv.DictReader(file))
    assert len(steps) == 4 and "w_mean" in steps[0]
    with open("results/run_summaries.csv") as file:
        (summary,) = csv.DictReader(file)
    assert (summary["run_id"], summary["epochs"], summary["gpu_hours"]) == ("debias", "1", "0.0000")
    line = """--model hardpairs-test --pretrained results/debias/checkpoints/epoch_1.pt --data flickr8k
    --method sanw_debias --seed 13 --out runs/debias --workers 0 --device cpu"""
    run(evaluate, line)
    assert (tmp_path / "runs/debias/evaluation.json").is_file()
    assert (tmp_path / "runs/run_registry.csv").is_file()


def test_clippings(tmp_path, checkpoint, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    tasks = []
    for story in range(20):
        for copy in range(3):
            (tmp_path / f"scans/s{story}_{copy}.jpg").write_bytes(picture(story))
        tasks += [task(f"s{story}_0", f"s{story}_{copy}", "Same") for copy in (1, 2)]
        tasks.append(task(f"s{story}_0", f"s{(story + 1) % 20}_0", "Different"))
    (tmp_path / "pairs.json").write_text(json.dumps(tasks))
    run(format_news, "pairs.json --image-root scans --out news")
    names = "--csv-img-key image_path --csv-caption-key text --csv-group-key label"
    data = f"--train-data news/labelled_news_train_reformatted.csv --csv-separator , {names}"
    model = "--model hardpairs-test --checkpoint {model}"
    line = "--clip_lr 5e-6 --train_data_type newspapers_unlabelled --wandb_name pretrained --training_type pretrain"
    run(train, f"{line} {data} {model} --batch_size 12 {SMALL}", model=checkpoint)
    line = """--clip_lr 5e-9 --train_data_type newspapers_labelled --wandb_name supcon --m 3
    --training_type train_bienc --im_wt 0.5 --k 3 --supcon_temp 0.1 --train_hardneg --loss_type supcon"""
    run(train, f"{line} {data} {model} --batch_size 18 {SMALL}", model=checkpoint)
    capsys.readouterr()
    line = "--im_wt 0.5 --split_test_for_eval --opt_im_wt --checkpoint_path logs/supcon/checkpoints/epoch_1.pt"
    run(
        link,
        f"{line} --model hardpairs-test --data news/labelled_news_train_reformatted.csv {names} --out linked --device cpu",
    )
    told = json.loads(capsys.readouterr().out)
    assert told["protocol"] == "parts" and told["validation_ari"] > 0
    run(jaccard, f"--data news/labelled_news_train_reformatted.csv {names} --out jaccard")
    assert json.loads(capsys.readouterr().out)["protocol"] == "parts"


@pytest.mark.parametrize("preset", ["lc-arcface", "lc-clip"])
def test_the_loss_comparison(tmp_path, checkpoint, monkeypatch, preset):
    monkeypatch.chdir(tmp_path)
    for part in ("train", "test/query", "test/gallery"):
        for number in range(16):
            folder = tmp_path / f"data/{part}/{number % 4}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.jpg").write_bytes(picture(number % 4))
    model = "--model hardpairs-test --pretrained {model}"
    run(
        train,
        f"--preset {preset} --train-data data/train {model} --batch-size 8 --epochs 1 --name {preset} {SMALL}",
        model=checkpoint,
    )
    line = f"--query data/test/query --gallery data/test/gallery --pretrained logs/{preset}/checkpoints/epoch_1.pt"
    run(
        retrieve,
        f"{line} --model hardpairs-test --out found --groupname us --workers 0 --device cpu",
    )
    assert json.loads((tmp_path / "found/submission.json").read_text())["groupname"] == "us"
