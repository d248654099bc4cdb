"""Readers of what users write, of answers of people, and of logs of runs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from hardpairs.compat import _translated_config
from hardpairs.compat.clippings_tables import read_rows
from hardpairs.core.progress import read_recipe
from hardpairs.linking.label_studio import cluster_pairs, read_label_studio
from hardpairs.models.huggingface import is_folder
from hardpairs.models.model_folder import folder_config
from hardpairs.models.prompts import read_names
from hardpairs.training.hooks.config_file import config_flags, read_config
from hardpairs.training.logs import read_log, read_params, read_validation, read_weights
from tests.fuzz.reader import Reader, json_lines, json_reader

CONFIG = b"lr: 1e-3\nsanw-alpha: 0.5\nlist: [1, 2]\nanchor: &x 5\nuse: *x\n"
CLIPSE = b"""\
loss: {name: sanw_debias, lam: 4.0, geometry_align: {enabled: true, weight: 1}}
optim: {lr: 1e-4, betas: [0.9, 0.98]}
amp: true
dataset: {root: "${ROOT}", topical: {enabled: true, k: 7}}
"""
EXPERIMENT = b"""\
experiment: e
backbones: [{name: a, model_name: b, pretrained_tag: c}]
dataset: {path: d}
training: {epochs: 10, seeds: [13, 17]}
methods: {base: {loss_fn: baseline}, sanw: {loss_fn: sanw_debias, sanw_alpha: 0.1}}
"""
MODEL = {"model_cfg": {"embed_dim": 4, "vision_cfg": {}, "text_cfg": {}}, "preprocess_cfg": {}}
ANSWERS = [
    {"id1": "a", "id2": "b", "caption1": "a cat", "caption2": "a dog", "choice": answer}
    for answer in ("Same", "Different", "Unsure")
]
STEPS = b"epoch,step,loss,lr\n0,0,2.5,1e-3\n0,1,2.25,\n1,2,nan,1e-4\n"
NEWS = b'image_path,text,label\na.jpg,"a, b",1\nb.jpg,c,2\n'


def _config(path: Path) -> object:
    parser = argparse.ArgumentParser()
    for name in ("lr", "sanw-alpha", "list", "anchor", "use"):
        parser.add_argument(f"--{name}")
    return config_flags(parser, read_config(str(path)), str(path))


def _clipse(path: Path) -> object:
    return _translated_config(str(path), [])


def option_readers(folder: Path) -> Iterator[Reader]:
    """Yield the readers."""
    yield Reader("config/c.yaml", CONFIG, _config)
    yield Reader("config/clipse.yaml", CLIPSE, _clipse, share=2)
    yield Reader("config/experiment.yaml", EXPERIMENT, _clipse, share=1)
    yield json_reader("names/n.json", {"a": "cat"}, lambda path: read_names(str(path)))
    yield json_reader("model/open_clip_config.json", MODEL, lambda path: folder_config(path.parent))
    yield json_reader(
        "hub/config.json", {"model_type": "clip"}, lambda path: is_folder(str(path.parent))
    )
    yield json_reader("work/recipe.json", {"seed": 1}, read_recipe)
    yield json_reader("answers/a.json", ANSWERS, lambda p: cluster_pairs(read_label_studio(p)[0]))
    yield Reader("news/n.csv", NEWS, read_rows)
    yield Reader("news/m.csv", NEWS, lambda path: read_rows(path, header=False))
    yield Reader("run/metrics.csv", STEPS, read_log)
    yield Reader("run/weights.csv", b",".join([b"1"] * 22) + b"\n", read_weights)
    yield Reader("run/params.txt", b"lr: 0.001\nname: a: b\nseed: 5\nx: None\n", read_params)
    numbers = json_lines({"epoch": i, "image_to_text_R@1": i / 4} for i in range(3))
    yield Reader("run/results.jsonl", numbers, read_validation)
