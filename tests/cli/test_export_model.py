"""The command that writes a model's folder."""

from __future__ import annotations

import json
from pathlib import Path

from hardpairs.cli.evaluate import main as evaluate
from hardpairs.cli.export_model import main
from tests.helpers import in_process
from tests.models.small_clip import NAME, write_checkpoint
from tests.photos.runs import write_photos


def test_a_run_is_exported_with_its_numbers(tmp_path: Path) -> None:
    checkpoint, data = write_checkpoint(tmp_path / "model"), write_photos(tmp_path)
    model = ["--model", NAME, "--pretrained", checkpoint]
    run = ["--data", data, "--out", tmp_path / "run", "--workers", "0", "--device", "cpu"]
    assert in_process(evaluate, *model, *run).returncode == 0
    out = tmp_path / "my-clip"
    done = in_process(main, *model, "--out", out, "--run", tmp_path / "run", "--license", "mit")
    assert done.returncode == 0 and done.stdout == f"{out}\n" and "local-dir:" in done.stderr
    measured = json.loads((tmp_path / "run/evaluation.json").read_text())["image_to_text_R@1"]
    assert f"| image to text R@1 | {measured:.4g} |" in (out / "README.md").read_text()


def test_wrong_command_lines(tmp_path: Path, checkpoint: Path) -> None:
    common = ["--out", tmp_path / "out", "--pretrained"]
    for model, more, says in (
        ("hardpairs-test", [checkpoint], "hardpairs-test has words or towers of ours"),
        ("ViT-B-32", ["nowhere.pt"], "no such checkpoint"),
        ("ViT-B-32", ["openai", "--run", tmp_path / "none"], "no such run folder"),
    ):
        done = in_process(main, "--model", model, *common, *more)
        assert done.returncode == 2 and says in done.stderr
    assert not (tmp_path / "out").exists()
