"""--config: flags from a YAML file, the command line wins, and CLIPSE's files load as they are."""

import argparse
import re

import pytest

from hardpairs.core.errors import UserError
from hardpairs.training.config import config_first
from hardpairs.training.flags import add_arguments
from hardpairs.training.upstream import patched

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
    """By OpenCLIP's real parser with our flags, without the checks that open the data."""
    (tmp_path / "config.yaml").write_text(text)
    params = patched("params")
    seen = []
    checks, params.check_arguments = (
        params.check_arguments,
        lambda parser, args: seen.append(args) or args,
    )
    try:
        params.parse_args(config_first([*flags, "--config", str(tmp_path / "config.yaml")]))
    finally:
        params.check_arguments = checks
    return seen[0]


def test_clipses_flat_file(tmp_path):
    args = parse(tmp_path, TUNED)
    assert (args.model, args.pretrained, args.batch_size, args.workers, args.epochs) == (
        "ViT-B-32",
        "laion2b_s34b_b79k",
        16,
        4,
        5,
    )
    assert (args.lr, args.wd, args.grad_clip_norm, args.precision, args.log_every_n_steps) == (
        5e-6,
        0.001,
        0.5,
        "amp",
        20,
    )
    assert (args.loss_fn, args.sanw_alpha, args.sanw_m1, args.sanw_m2, args.sanw_gamma) == (
        "sanw_bandpass",
        0.4,
        0.2,
        0.9,
        0.1,
    )
    assert (args.sanw_beta, args.sanw_warmup_epochs, args.freeze_logit_scale_epochs, args.seed) == (
        0.5,
        3,
        2,
        13,
    )


def test_clipses_file_of_sections(tmp_path, caplog):
    args = parse(tmp_path, SECTIONS)
    assert (args.name, args.device, args.batch_size, args.opt, args.beta2) == (
        "flickr8k_sanw_debias",
        "cpu",
        128,
        "adamw",
        0.98,
    )
    assert (args.loss_fn, args.sanw_lambda, args.geometry_weight, args.lr_scheduler) == (
        "sanw_debias",
        4.0,
        0.1,
        "cosine",
    )
    for key in (
        "data.flickr8k",
        "data.topical_batching",
        "scheduler.warmup_epochs",
        "curriculum",
        "loss.stopgrad_weights",
    ):
        assert f"{key} is passed over" in caplog.text


def test_clipses_keys_without_counterpart(tmp_path, caplog):
    """As its bandpass and diagnostics files have them."""
    args = parse(
        tmp_path,
        "loss: {name: sanw_bandpass, m1: 0.2, floor: 1e-3}\ndiagnostics: {enabled: true, every: 10}\n",
    )
    assert args.loss_fn == "sanw_bandpass" and args.sanw_m1 == 0.2
    assert (
        "loss.floor is passed over" in caplog.text and "diagnostics is passed over" in caplog.text
    )


def test_the_command_line_wins_wherever_it_stands(tmp_path):
    assert parse(tmp_path, "lr: 1\nbatch-size: 3\n", "--lr", "2").lr == 2
    assert config_first(["--a", "--config", "x", "b", "--config=y"]) == [
        "--config",
        "x",
        "--config=y",
        "--a",
        "b",
    ]


def test_switches_and_lists(tmp_path):
    args = parse(
        tmp_path,
        "use-hard: true\nfalse_negative_mask: false\nsanw-normalize: true\nskip_scheduler: false\nname: null\n",
    )
    assert (
        args.use_hard
        and args.false_negative_mask is False
        and args.sanw_normalize is True
        and not args.skip_scheduler
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("batch_sise: 3\n", r"batch_sise.*did you mean 'batch_size'"),
        ("loss: {nam: clip_ce}\n", r"loss.nam"),
        ("- 1\n", "mapping"),
        ("a: [\n", "not a YAML file"),
    ],
)
def test_wrong_files(tmp_path, text, says):
    with pytest.raises(UserError) as caught:
        parse(tmp_path, text)
    assert re.search(says, str(caught.value), re.DOTALL)


def test_no_such_file(tmp_path):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(UserError, match="cannot be read"):
        parser.parse_args(["--config", str(tmp_path / "none.yaml")])
