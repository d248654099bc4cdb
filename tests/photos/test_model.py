"""Weights that are named by a tag: from the cache without asking the network, and what is said where they are not in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import open_clip
import pytest
import torch

from tests.helpers import run
from tests.photos.web import Served

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
COMMIT = "0123456789012345678901234567890123456789"
PRELUDE = """
import os, socket, sys
os.environ["HF_HUB_OFFLINE"] = "0"
import open_clip
from open_clip import pretrained

open_clip.add_model_config({configs!r})
pretrained._PRETRAINED["tiny"] = {{"acme": {{"hf_hub": "acme/tiny/"}}}}


def refuse(name):
    real = getattr(socket, name) if name == "getaddrinfo" else getattr(socket.socket, name)
    def asked(*arguments, **options):
        host = arguments[0] if name == "getaddrinfo" else arguments[1][0] if isinstance(arguments[1], tuple) else "localhost"
        if host in ("127.0.0.1", "localhost", "::1", None):
            return real(*arguments, **options)
        print("NETWORK", host, file=sys.stderr, flush=True)
        raise OSError("refused by the test")
    return asked


socket.getaddrinfo = refuse("getaddrinfo")
socket.socket.connect, socket.socket.connect_ex = refuse("connect"), refuse("connect_ex")
import json
from huggingface_hub import constants

constants.HF_HUB_OFFLINE = False
constants.HF_HUB_CACHE = {cache!r}
from hardpairs.core.errors import run_command
from hardpairs.cli.photos import main
for line in json.loads(sys.argv[1]):
    try:
        run_command(lambda: main(line))
    except SystemExit as stop:
        print("EXIT", stop.code or 0, file=sys.stderr, flush=True)
"""
"""Runs command lines one after the other: a process of its own takes seconds to start."""


@pytest.fixture
def tagged(tmp_path: Path):
    """The start of a command line: a model ``tiny`` whose tag ``acme`` is in the cache, and no network."""
    configs, cache = tmp_path / "configs", tmp_path / "cache/hub/models--acme--tiny"
    configs.mkdir()
    (configs / "tiny.json").write_text(json.dumps(TINY))
    torch.manual_seed(0)
    open_clip.add_model_config(configs)
    model = open_clip.create_model("tiny")
    (cache / "refs").mkdir(parents=True)
    (cache / "refs/main").write_text(COMMIT)
    (cache / "snapshots" / COMMIT).mkdir(parents=True)
    torch.save(model.state_dict(), cache / "snapshots" / COMMIT / "open_clip_pytorch_model.bin")
    program = PRELUDE.format(configs=str(configs), cache=str(tmp_path / "cache/hub"))
    return "python", "-c", program


def codes(stderr: str) -> list[int]:
    return [int(code) for code in re.findall(r"^EXIT (\d+)$", stderr, re.MULTILINE)]


def test_a_search_asks_nothing_of_the_network(tagged, photos, tmp_path):
    index = str(tmp_path / "index")
    make = ["index", str(photos), "--model", "tiny", "--pretrained", "acme", "--workers", "0"]
    lines = [[*make, "--out", index], ["query", index, "a dog", "--top", "3"]]
    made = run(*tagged, json.dumps(lines))
    assert codes(made.stderr) == [0, 0] and "NETWORK" not in made.stderr, (
        made.stderr
    )  # not even to index, when the weights are there
    assert all(Path(line).is_file() for line in made.stdout.splitlines()[-3:])
    serve = [["serve", index, "--compare-with", index, "--port", "0"]]
    errors = tmp_path / "served"
    with Served(json.dumps(serve), errors=errors, command=tagged) as address:
        assert httpx.get(address, timeout=60).status_code == 200
    assert "NETWORK" not in errors.read_text()

    (tmp_path / "cache/hub").rename(tmp_path / "cache/gone")
    lines = [["query", index, "a dog"], ["serve", index], [*make, "--out", f"{index}-2"]]
    refused = run(*tagged, json.dumps(lines))
    assert codes(refused.stderr) == [3, 3, 3]
    query, served, new, _ = re.split(r"^EXIT 3\n", refused.stderr, flags=re.MULTILINE)
    for told in (query, served):
        assert "NETWORK" not in told and "--pretrained FILE" in told
        assert told.startswith("error: the weights are not on this machine\n")
    assert "NETWORK huggingface.co" in new and "without a network give a file" in new
