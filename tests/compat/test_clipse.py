"""CLIPSE's flags and YAML files work as they are."""

import pytest

from hardpairs import compat
from hardpairs.compat.clipse import KEYS, PASSED_OVER, translate_config
from hardpairs.core.errors import UserError
from tests.compat.parsing import training_args, values
from tests.helpers import ROOT

TUNED = """
# CLIPSE's keys of a flat file
seed: 13
model_name: ViT-B-32
pretrained_tag: laion2b_s34b_b79k
batch_size: 16
num_workers: 4
epochs: 5
lr: 5.0e-6
wd: 0.001
grad_clip: 0.5
amp: true
log_every: 20
freeze_logit_scale_epochs: 2

loss:
  name: sanw_bandpass
  alpha: 0.4
  m1: 0.2
  m2: 0.9
  gamma: 0.1
  sanw_beta: 0.5
  sanw_beta_warmup_epochs: 3
"""
SECTIONS = """
exp_name: flickr8k_sanw_debias
seed: 13
device: cpu
output_dir: runs/x
epochs: 20
model: {name: ViT-B-32, pretrained: openai}
data:
  flickr8k: {root: data/flickr8k, tsv: captions.tsv}
  batch_size: 128
  num_workers: 4
  topical_batching: {enabled: true, p_topical: 0.6, k_clusters: 80}
optim: {name: adamw, lr: 0.0005, betas: [0.9, 0.98], eps: 0.000001, weight_decay: 0.2, grad_clip: 1.0}
scheduler: {name: cosine, warmup_epochs: 1}
loss: {name: sanw_debias, alpha: 0.5, delta: 0.6, lambda: 4.0, stopgrad_weights: true, geometry_align: {enabled: true}}
logit_scale: {init: 2.659, clamp_max: 4.605170}
precision: amp
curriculum: {enabled: true, switch_epoch: 12}
eval: {metrics: [R@1], every_epochs: 1}
save: {metric: mean_R1}
log: {interval: 50}
"""


def parse(tmp_path, text, *flags):
    (tmp_path / "config.yaml").write_text(text)
    return training_args(*flags, "--config", str(tmp_path / "config.yaml"))


def test_a_flat_file(tmp_path):
    args = parse(tmp_path, TUNED)
    model = values(args, "model", "pretrained", "batch_size", "workers", "epochs", "seed")
    assert model == ("ViT-B-32", "laion2b_s34b_b79k", 16, 4, 5, 13)
    steps = values(args, "lr", "wd", "grad_clip_norm", "precision", "log_every_n_steps")
    assert steps == (5e-6, 0.001, 0.5, "amp", 20)
    loss = values(args, "loss_fn", "sanw_alpha", "sanw_m1", "sanw_m2", "sanw_gamma")
    assert loss == ("sanw_bandpass", 0.4, 0.2, 0.9, 0.1)
    ramps = values(args, "sanw_beta", "sanw_warmup_epochs", "freeze_logit_scale_epochs")
    assert ramps == (0.5, 3, 2)
    assert args.config == str(tmp_path / "config.yaml")


def test_a_file_of_sections(tmp_path, capsys):
    args = parse(tmp_path, SECTIONS)
    run = values(args, "name", "device", "batch_size", "opt", "beta2")
    assert run == ("flickr8k_sanw_debias", "cpu", 128, "adamw", 0.98)
    loss = values(args, "loss_fn", "sanw_lambda", "geometry_weight", "lr_scheduler")
    assert loss == ("sanw_debias", 4.0, 0.1, "cosine")
    said = capsys.readouterr().err
    assert values(args, "warmup_epochs", "batching", "p_topical") == (1, "topical", 0.6)
    assert "topical batches: the run embeds the data with its start model first" in said
    sections = ("data.flickr8k", "curriculum")
    for key in (*sections, "loss.stopgrad_weights"):
        assert said.count(f"config.yaml: {key} is passed over") == 1


def test_a_file_without_a_schedule_has_clipses(tmp_path):
    """A constant rate; OpenCLIP's own are a cosine and 10,000 steps of warm-up."""
    assert values(parse(tmp_path, TUNED), "lr_scheduler", "warmup") == ("const", 0)
    own = parse(tmp_path, TUNED, "--lr-scheduler", "cosine", "--warmup", "7")
    assert values(own, "lr_scheduler", "warmup") == ("cosine", 7)
    ours = parse(tmp_path, "loss_fn: sanw_debias\nsanw_alpha: 0.3\n")  # a file of ours
    assert values(ours, "lr_scheduler", "warmup") == ("cosine", 10000)


TOPICAL = """
model_dir: ${MODEL_DIR}
experiment_name: debias
loss: {name: sanw_debias, lam: 4.0}
dataset: {name: flickr8k, root: "${DATASET_ROOT}", topical: {enabled: true, k: 7}}
"""


def test_topical_batches_of_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("DATASET_ROOT", raising=False)
    args = parse(tmp_path, TOPICAL, "--batching-embeddings", "emb")
    assert values(args, "batching", "topical_clusters") == ("topical", 7)
    assert args.train_data is None and "dataset.root is passed over" in capsys.readouterr().err
    monkeypatch.setenv("DATASET_ROOT", "data/flickr8k")
    args = parse(tmp_path, TOPICAL)
    assert values(args, "train_data", "batching", "name") == ("data/flickr8k", "topical", "debias")
    assert "the run embeds the data with its start model first" in capsys.readouterr().err
    assert parse(tmp_path, TOPICAL.replace("true", "false")).batching is None


EXPERIMENT = """
experiment: flickr8k_finetune
backbones:
  - {name: laion2b_s34b_b79k, model_name: ViT-B-32, pretrained_tag: laion2b_s34b_b79k, local_checkpoint_path: /none/open_clip_pytorch_model.bin}
  - {name: laion400m_e32, model_name: ViT-B-32, pretrained_tag: laion400m_e32}
dataset: {name: flickr8k, path: data/flickr8k}
training: {epochs: 10, batch_size: 32, lr: 1.0e-5, weight_decay: 0.01, warmup_epochs: 1, grad_clip: 1.0, seeds: [13, 17, 23]}
methods:
  baseline: {loss_fn: baseline}
  sanw_debias: {loss_fn: sanw_debias, sanw_alpha: 0.1, sanw_delta: 0.2, sanw_lambda: 0.5}
  sanw_bandpass: {loss_fn: sanw_bandpass, sanw_alpha: 0.1, sanw_m1: 0.1, sanw_m2: 0.9, sanw_gamma: 0.5}
"""


def test_an_experiment_is_one_of_its_runs(tmp_path, capsys):
    args = parse(tmp_path, EXPERIMENT)
    run = values(args, "loss_fn", "pretrained", "seed", "train_data", "precision")
    assert run == ("clip_ce", "laion2b_s34b_b79k", 13, "data/flickr8k", "fp32")
    schedule = values(args, "epochs", "batch_size", "lr", "wd", "warmup_epochs", "lr_scheduler")
    assert schedule == (10, 32, 1e-5, 0.01, 1, "const") and args.grad_clip_norm == 1
    assert "method baseline of baseline, sanw_debias, sanw_bandpass" in capsys.readouterr().err
    chosen = ("--loss_fn", "sanw_bandpass", "--pretrained", "laion400m_e32", "--seed", "17")
    args = parse(tmp_path, EXPERIMENT, *chosen)
    assert values(args, "loss_fn", "pretrained", "seed") == ("sanw_bandpass", "laion400m_e32", 17)
    assert values(args, "sanw_m1", "sanw_m2", "sanw_gamma") == (0.1, 0.9, 0.5)


def test_an_experiment_that_trains_nothing_is_refused(tmp_path):
    text = "experiment: coco5k_transfer\ndataset: {name: coco5k, index_jsonl: x.jsonl}\n"
    with pytest.raises(UserError, match="coco5k_transfer' trains nothing") as error:
        parse(tmp_path, text)
    assert "hardpairs evaluate" in error.value.fix


def test_its_command_line_has_its_defaults(tmp_path, capsys):
    """As scripts/train_sanw_debias.sbatch there; the flags that it leaves out are its program's."""
    (tmp_path / "model.bin").write_bytes(b"")
    line = f"""--model_name ViT-B-32 --local_checkpoint_path {tmp_path}/model.bin
    --pretrained_tag laion2b_s34b_b79k --dataset_path data/flickr8k --log_dir results
    --checkpoint_dir checkpoints --run_id r --seed 13 --loss_fn sanw_debias --sanw_alpha 0.1
    --sanw_delta 0.2 --warmup_epochs 1 --grad_clip 1.0 --dataset_name flickr8k
    --freeze_logit_scale_epochs 0"""
    args = training_args(*line.split())
    data = values(args, "model", "pretrained", "train_data", "logs", "name", "seed")
    assert data == ("ViT-B-32", f"{tmp_path}/model.bin", "data/flickr8k", "results", "r", 13)
    left_out = values(args, "epochs", "batch_size", "lr", "wd", "sanw_lambda", "workers")
    assert left_out == (10, 32, 1e-5, 0.01, 0.5, 0)
    schedule = values(args, "warmup_epochs", "lr_scheduler", "precision")
    assert schedule == (1, "const", "fp32")
    assert "--checkpoint_dir is passed over" in capsys.readouterr().err
    args = training_args(*line.replace("model.bin", "none.bin").split())
    assert args.pretrained == "laion2b_s34b_b79k"
    assert "none.bin does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("debias", {"sanw_alpha": 0.1, "sanw_delta": 0.2, "sanw_lambda": 0.5}),
        ("bandpass", {"sanw_alpha": 0.1, "sanw_m1": 0.1, "sanw_m2": 0.9, "sanw_gamma": 0.5}),
    ],
)
def test_its_slurm_scripts_have_its_settings(kind, options):
    script = (ROOT / f"scripts/train_sanw_{kind}.sbatch").read_text()
    line = script[script.index('train.sbatch" --preset') :].replace("\\", "").split()[1:-1]
    args = training_args(*line, "--train-data", "x.csv")
    run = values(args, "model", "pretrained", "seed", "epochs", "batch_size", "lr", "wd")
    assert run == ("ViT-B-32", "laion2b_s34b_b79k", 13, 10, 32, 1e-5, 0.01)
    schedule = values(args, "warmup_epochs", "lr_scheduler", "precision", "grad_clip_norm")
    assert schedule == (1, "const", "fp32", 1.0) and args.loss_fn == f"sanw_{kind}"
    assert {name: getattr(args, name) for name in options} == options


def test_keys_without_counterpart(tmp_path, capsys):
    """As its bandpass and diagnostics files have them."""
    text = "loss: {name: sanw_bandpass, m1: 0.2, floor: 1e-3}\ndiagnostics: {enabled: true}\n"
    args = parse(tmp_path, text)
    assert args.loss_fn == "sanw_bandpass" and args.sanw_m1 == 0.2
    said = capsys.readouterr().err
    assert "loss.floor is passed over" in said and "diagnostics is passed over" in said


def test_the_command_line_wins_over_its_file(tmp_path):
    assert parse(tmp_path, TUNED, "--lr", "2", "--batch_size=7").lr == 2


def test_every_key(tmp_path):
    """Each key alone becomes ours or a note, and the file's mapping is not changed."""
    for key, ours in KEYS.items():
        section, dot, name = key.rpartition(".")
        nested = {section: {name: 1}} if dot else {name: 1}
        assert translate_config(nested) == ({ours: 1}, [])
    for key, reason in PASSED_OVER.items():
        section, dot, name = key.rpartition(".")
        nested = {section: {name: {"a": 1}}} if dot else {name: {"a": 1}}
        assert translate_config(nested) == ({}, [f"{key} is passed over: {reason}"])
    assert translate_config({"amp": False})[0] == {"precision": "fp32"}
    assert translate_config({"loss": {"geometry_align": {"enabled": False}}})[0] == {}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "--loss_fn sanw_debias --sanw_alpha .1 --sanw_delta .2 --sanw_lambda .5",
            {
                "loss_fn": "sanw_debias",
                "sanw_alpha": 0.1,
                "sanw_delta": 0.2,
                "sanw_lambda": 0.5,
            },
        ),
        (
            "--loss_fn sanw_bandpass --sanw_m1 .1 --sanw_m2 .9 --sanw_gamma .5 --sanw_beta .2",
            {
                "loss_fn": "sanw_bandpass",
                "sanw_m1": 0.1,
                "sanw_m2": 0.9,
                "sanw_gamma": 0.5,
                "sanw_beta": 0.2,
            },
        ),
        (
            "--loss_fn clip_ce --model_name ViT-B-32 --pretrained_tag laion2b_s34b_b79k",
            {
                "loss_fn": "clip_ce",
                "model": "ViT-B-32",
                "pretrained": "laion2b_s34b_b79k",
            },
        ),
        (
            "--loss_fn baseline --local_checkpoint_path x.bin --dataset_path d --log_dir r --run_id 7",
            {
                "loss_fn": "clip_ce",
                "pretrained": "x.bin",
                "train_data": "d",
                "logs": "r",
                "name": "7",
            },
        ),
        (
            "--grad_clip 1 --log_every 20 --num_workers 4 --amp --batch_size 32 --epochs 5",
            {
                "grad_clip_norm": 1,
                "log_every_n_steps": 20,
                "workers": 4,
                "precision": "amp",
                "batch_size": 32,
                "epochs": 5,
            },
        ),
        ("--loss_fn sanw_debias --sanw_beta_warmup_epochs 3", {"sanw_warmup_epochs": 3}),
    ],
)
def test_flags(line, expected):
    args = training_args(*line.split())
    assert {name: getattr(args, name) for name in expected} == expected


def test_the_log_file_is_passed_over():
    argv, notes = compat.translate("train", ["--log_file", "x.csv", "--lr", "1"])
    assert argv == ["--lr", "1"] and "--log_file has no counterpart" in notes[0]


@pytest.mark.parametrize(
    "values",
    [
        {"optim": {"betas": 5}},
        {"experiment": "e", "methods": [], "backbones": [], "training": {}},
        {"experiment": "e", "methods": {"a": 1}, "backbones": [{}], "training": {}},
    ],
)
def test_values_of_another_form_are_told(values):
    with pytest.raises(UserError, match="not a file of CLIPSE's") as error:
        translate_config(values)
    assert error.value.code == 3
