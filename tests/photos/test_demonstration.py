"""The demonstration modes of MiniCLIP: flags, files and checkpoints as its README names them."""

from __future__ import annotations

import io
import json
import os
import shutil

import pytest
import torch
from PIL import Image

from hardpairs.cli.photos import main
from hardpairs.core.errors import UserError
from hardpairs.photos.index import Index
from tests.compat.test_miniclip_checkpoint import Lstm, Model, save
from tests.helpers import picture
from tests.photos.conftest import MODEL


@pytest.fixture
def seeds(tmp_path, checkpoint):
    """MiniCLIP's folders: data/captions.json, data/images, checkpoints."""
    (tmp_path / "data/images").mkdir(parents=True)
    for i in range(12):
        (tmp_path / f"data/images/image_{i}.jpg").write_bytes(picture(i))
    entries = [
        {"file_name": f"image_{i % 12}.jpg", "caption": f"picture number {i}"} for i in range(24)
    ]
    (tmp_path / "data/captions.json").write_text(json.dumps(entries))
    folders = [
        "--captions_json",
        "data/captions.json",
        "--image_root",
        "data/images",
        "--results_dir",
        "results",
    ]
    return [
        *folders,
        "--model",
        MODEL,
        "--pretrained",
        str(checkpoint),
        "--model_type",
        "transformer",
    ]


def test_flags_of_the_demonstration(seeds, tmp_path, monkeypatch, capsys):
    """As MiniCLIP's README has them: --model_type alone asks for queries."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("picture number 3\nquit\n"))
    assert main([*seeds[-2:], *seeds[:-2]]) == 0
    assert "Top 5 results for 'picture number 3':" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["--batch", "--help"])
    assert stop.value.code == 0 and "--captions-json" in capsys.readouterr().out


def test_automatic_mode_writes_the_seeds_files(seeds, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--mode", "automatic", *seeds]) == 0
    content = json.loads((tmp_path / "results/demo_results_transformer.json").read_text())
    assert (
        set(content) == {"model_type", "mode", "timestamp", "queries"}
        and content["mode"] == "automatic"
    )
    captions = {f"picture number {i}" for i in range(24)}
    assert len({query["query"] for query in content["queries"]} & captions) == 5
    for query in content["queries"]:
        assert [result["rank"] for result in query["results"]] == [1, 2, 3, 4, 5]
        assert all(
            set(result) == {"path", "filename", "score", "rank"} for result in query["results"]
        )
        scores = [result["score"] for result in query["results"]]
        assert scores == sorted(scores, reverse=True)
    with Image.open(tmp_path / "results/demo_results_transformer.png") as drawn:
        assert drawn.width > 900 and len(drawn.convert("RGB").resize((40, 40)).getcolors(1600)) > 20
    (index,) = tmp_path.glob("results/photos_transformer-*.index")
    assert len(Index.open(index)) == 12


def test_interactive_mode(seeds, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "sys.stdin", io.StringIO("picture number 3\n\nwhat: a/b $x$ <b>?\nQuit\nnever asked\n")
    )
    assert main(["--mode", "interactive", *seeds]) == 0
    drawn = sorted(path.name for path in (tmp_path / "results").glob("query_*.png"))
    assert drawn == [
        "query_1_picture_number_3_transformer.png",
        "query_2_what_a_b_x_b_transformer.png",
    ]
    printed = capsys.readouterr().out
    assert "Top 5 results for 'picture number 3':" in printed and "never asked" not in printed


def test_miniclips_own_file_is_imported_once_and_again_when_it_is_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/images").mkdir(parents=True)
    (tmp_path / "checkpoints").mkdir()
    for i in range(4):
        (tmp_path / f"data/images/{i}.jpg").write_bytes(picture(i))

    def train(seed: int) -> None:
        torch.manual_seed(seed)
        save(tmp_path, Model(Lstm)).replace(tmp_path / "checkpoints/best_model_lstm.pth")
        (tmp_path / "captions.json").replace(tmp_path / "data/captions.json")

    def made() -> dict[str, int]:
        places = [*tmp_path.glob("results/*.pt"), *tmp_path.glob("results/*.index/[!.]*")]
        return {str(path): path.stat().st_mtime_ns for path in places}

    train(0)
    assert main(["--model_type", "lstm", "--batch"]) == 0
    first = made()
    with monkeypatch.context() as patch:
        patch.setattr(
            "hardpairs.compat.miniclip_checkpoint.import_checkpoint",
            lambda *_: pytest.fail("it is imported"),
        )
        for line in (["--model_type", "lstm", "--batch"], ["--mode", "automatic"]):
            assert main(line) == 0 and made() == first
    train(1)
    assert main(["--batch"]) == 0
    assert (
        first.items() < made().items()
        and len(list(tmp_path.glob("results/*.index")))
        == len(list(tmp_path.glob("results/*.pt")))
        == 2
    )


def test_runs_of_ours_are_found(seeds, checkpoint, tmp_path, monkeypatch):
    """In --logs, in the run's folder, and beside best.pt; of two runs the newer one of this type."""
    monkeypatch.chdir(tmp_path)
    for time, (name, model) in enumerate(
        [("old", MODEL), ("new", MODEL), ("other", "miniclip-lstm")]
    ):
        (tmp_path / f"logs/{name}/checkpoints").mkdir(parents=True)
        (tmp_path / f"logs/{name}/params.txt").write_text(f"batch_size: 8\nmodel: {model}\n")
        shutil.copy(checkpoint, tmp_path / f"logs/{name}/checkpoints/best.pt")
        os.utime(tmp_path / f"logs/{name}/checkpoints/best.pt", (time, time))
    line = ["demo", "--mode", "automatic", "--name", MODEL, *seeds[:4], "--index", "demo.index"]
    for place in ("logs", "logs/new", "logs/new/checkpoints"):
        assert main([*line, "--checkpoint_dir", place]) == 0
        manifest = Index.open("demo.index").manifest
        assert manifest["model"] == MODEL and manifest["pretrained"] == str(
            tmp_path / "logs/new/checkpoints/best.pt"
        )


def test_a_demonstration_without_checkpoint_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no such checkpoint") as error:
        main(["--mode", "automatic"])
    assert error.value.code == 2
