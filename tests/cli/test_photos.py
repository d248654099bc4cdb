"""The commands, as one types them: index, query and the demonstration modes of MiniCLIP."""

from __future__ import annotations

import io
import json
import os
import pty
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from hardpairs.cli.photos import main
from hardpairs.core.errors import UserError
from hardpairs.data.images import decode
from hardpairs.models.load import load_encoder
from hardpairs.photos.index import Index
from hardpairs.photos.terminal import image_protocol, image_text, shown_path
from tests.compat.test_miniclip_checkpoint import Lstm, Model, save
from tests.helpers import ROOT, picture, run

MODEL = "hardpairs-test"


@pytest.fixture
def index(tmp_path, checkpoint, capsys):
    """Twenty photographs and their index."""
    for i in range(20):
        path = tmp_path / f"photos/{i:02d}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(i))
    assert (
        main(
            [
                "index",
                str(tmp_path / "photos"),
                "--model",
                MODEL,
                "--pretrained",
                str(checkpoint),
                "--workers",
                "0",
            ]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["photos"] == 20 and told["index"] == str(tmp_path / "photos.index")
    return tmp_path / "photos.index"


def similarities(
    checkpoint, photos: int, *, text: str = "", image: bytes = b"", minus: str = ""
) -> np.ndarray:
    """Straight from the definition."""
    encoder = load_encoder(MODEL, str(checkpoint))

    def unit(features):
        return (features / features.norm()).numpy()

    with torch.inference_mode():
        pixels = [
            unit(encoder.model.encode_image(encoder.transform(decode(picture(i)))[None])[0])
            for i in range(photos)
        ]
        query = np.zeros_like(pixels[0])
        for sign, words in ((1, text), (-1, minus)):
            if words:
                query = query + sign * unit(
                    encoder.model.encode_text(encoder.tokenizer([words]))[0]
                )
        if image:
            query = query + unit(
                encoder.model.encode_image(encoder.transform(decode(image))[None])[0]
            )
    return np.stack(pixels) @ (query / np.linalg.norm(query))


@pytest.mark.parametrize(
    "parts", [("text",), ("image",), ("text", "image", "minus"), ("text", "minus")]
)
def test_query_against_the_definition(index, checkpoint, capsys, tmp_path, parts):
    (tmp_path / "asked.jpg").write_bytes(picture(500))
    given = {"text": "picture number 7", "image": picture(500), "minus": "number 3"}
    line = {
        "text": [given["text"]],
        "image": ["--image", str(tmp_path / "asked.jpg")],
        "minus": ["--minus", given["minus"]],
    }
    scores = similarities(checkpoint, 20, **{part: given[part] for part in parts})
    assert (
        main(
            [
                "query",
                str(index),
                *[word for part in parts for word in line[part]],
                "--top",
                "6",
                "--json",
            ]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert [hit["similarity"] for hit in found] == pytest.approx(
        np.sort(scores)[::-1][:6], abs=1e-5
    )
    for hit in found:
        number = int(hit["image_path"][-6:-4])
        assert (
            hit["similarity"] == pytest.approx(scores[number], abs=1e-5)
            and hit["id"] == Index.open(index).ids[number]
        )


def test_paths_for_pipes(index, capsys, tmp_path):
    assert main(["query", str(index), "picture number 7", "--top", "3"]) == 0
    paths = capsys.readouterr().out.splitlines()
    assert len(paths) == 3 and all(os.path.isfile(path) for path in paths)
    main(["query", str(index), "picture number 7", "--top", "3", "-0"])
    assert capsys.readouterr().out == "".join(f"{path}\0" for path in paths)
    main(["query", str(index), "picture number 7", "--top", "3", "--scores"])
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [path for _, path in lines] == paths and all(
        -1 <= float(score) <= 1 for score, _ in lines
    )
    main(["query", str(index), "picture", "--top", "1000000"])
    assert len(capsys.readouterr().out.splitlines()) == 20


def test_photographs_that_are_gone_are_named_and_left_out(index, capsys):
    main(["query", str(index), "picture number 7", "--top", "3"])
    first, second, third = capsys.readouterr().out.splitlines()
    os.unlink(first)
    main(["query", str(index), "picture number 7", "--top", "2"])
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [second, third]
    assert (
        f"1 photo is gone since the index was made: {first}\n" in printed.err
        and "to remove" in printed.err
    )


@pytest.mark.parametrize("kept", [0, 2])
def test_most_photographs_are_gone(tmp_path, checkpoint, capsys, kept):
    """The list is gone down until enough are there: the two that are left are last in it."""
    photos, index = tmp_path / "photos", tmp_path / "photos.index"
    photos.mkdir()
    for i in range(130):
        (photos / f"{i:03d}.jpg").write_bytes(picture(i))
    assert (
        main(
            [
                "index",
                str(photos),
                "--model",
                MODEL,
                "--pretrained",
                str(checkpoint),
                "--workers",
                "0",
            ]
        )
        == 0
    )
    main(["query", str(index), "picture number 7", "--top", "130"])
    listed = capsys.readouterr().out.splitlines()[-130:]
    for path in listed[: 130 - kept]:
        os.unlink(path)
    assert main(["query", str(index), "picture number 7", "--top", "1"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == listed[130 - kept :][:1]
    assert f"{130 - kept} photos are gone" in told.err and ("nothing is left" in told.err) == (
        not kept
    )


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "nothing to search for"),
        (["  \n\x00 "], 2, "nothing to search for"),
        (["a", "--minus", "a"], 2, "leaves out everything"),
        (["--image", "none.jpg"], 2, "cannot read the image"),
        (["--image", __file__], 3, "not_an_image"),
        (["x", "--model", "RN50"], 2, "needs its weights"),
    ],
)
def test_questions_that_are_refused(index, arguments, code, says):
    with pytest.raises(UserError, match=says) as error:
        main(["query", str(index), *arguments])
    assert error.value.code == code


def test_an_index_of_another_model_is_refused(index, checkpoint, tmp_path):
    other = torch.load(checkpoint, weights_only=True)
    other["state_dict"]["logit_scale"] += 1
    torch.save(other, tmp_path / "other.pt")
    with pytest.raises(UserError, match="another model") as error:
        main(["query", str(index), "picture", "--pretrained", str(tmp_path / "other.pt")])
    assert error.value.code == 4 and "--pretrained" in error.value.fix
    for wrong, says in (
        (tmp_path / "none", "no such index"),
        (tmp_path / "photos", "no such index"),
    ):
        with pytest.raises(UserError, match=says):
            main(["query", str(wrong), "picture"])


def test_words_that_the_model_has_never_read_are_told(index, capsys):
    assert main(["query", str(index), "picture number 7", "--minus", "a zebra"]) == 0
    told = capsys.readouterr()
    assert "never read: a, zebra." in told.err and told.out
    assert main(["query", str(index), "picture number 7"]) == 0
    assert "never read" not in capsys.readouterr().err


def test_sources_that_are_none(tmp_path, checkpoint):
    (tmp_path / "captions.json").write_text("[]")
    for line, says in (
        ([str(tmp_path / "nowhere")], "no such folder"),
        (
            [str(tmp_path / "captions.json"), "--out", str(tmp_path / "a")],
            "neither an image nor a folder",
        ),
        (
            [
                str(tmp_path),
                "--out",
                str(tmp_path / "b"),
                "--model",
                MODEL,
                "--pretrained",
                str(checkpoint),
            ],
            "the sources hold no photo",
        ),
    ):
        with pytest.raises(UserError, match=says):
            main(["index", *line])
    assert [path.name for path in tmp_path.iterdir()] == [
        "captions.json"
    ]  # no folder that looks like an index


def test_a_megabyte_of_query_is_cut(index, capsys):
    assert main(["query", str(index), "picture number 7 " * 60_000, "--top", "1"]) == 0
    assert capsys.readouterr().out


def test_as_a_process(index, tmp_path):
    """Exit codes, nothing but data on stdout, and a reader that leaves."""
    done = run(
        "python",
        "-m",
        "tools.photo_search",
        "query",
        str(index),
        "picture number 7",
        "--top",
        "2",
        "--preview",
    )
    assert (
        done.returncode == 0
        and len(done.stdout.splitlines()) == 2
        and "for a terminal" in done.stderr
    )
    done = run("python", "-m", "tools.photo_search", "query", str(tmp_path / "none"), "x")
    assert (
        done.returncode == 2
        and done.stderr.startswith("error: no such index")
        and "Traceback" not in done.stderr
    )


def test_previews_in_a_terminal(index):
    """In a real pseudo-terminal."""
    parent, child = pty.openpty()
    line = [
        sys.executable,
        "-m",
        "tools.photo_search",
        "query",
        str(index),
        "picture number 7",
        "--top",
        "1",
        "--preview",
    ]
    environment = {**os.environ, "TERM": "xterm", "TERM_PROGRAM": ""}
    process = subprocess.Popen(
        line, cwd=ROOT, stdout=child, stderr=subprocess.DEVNULL, env=environment
    )
    os.close(child)
    shown = b""
    try:
        while data := os.read(parent, 1 << 16):
            shown += data
    except OSError:  # the terminal's other side is closed
        pass
    os.close(parent)
    assert process.wait() == 0 and shown.count("▀".encode()) > 100 and b".jpg" in shown


def test_kinds_of_terminal():
    assert (
        image_protocol({"TERM": "xterm-kitty"}) == "kitty"
        and image_protocol({"TERM_PROGRAM": "iTerm.app"}) == "iterm2"
        and image_protocol({}) == "blocks"
    )
    assert image_protocol({"TERM": "xterm-kitty", "TMUX": "x"}) == "blocks"
    image = Image.open(io.BytesIO(picture(3)))
    assert image_text(image.copy(), "iterm2").startswith("\x1b]1337;File=inline=1")
    kitty = image_text(image.copy(), "kitty")
    assert kitty.count("\x1b_G") == kitty.count("\x1b\\") > 0 and "s=32,v=32" in kitty
    lines = image_text(Image.new("RGB", (80, 40), (255, 0, 0)), "blocks").splitlines()
    assert (
        len(lines) == 10 and lines[0].count("▀") == 40 and "38;2;255;0;0;48;2;255;0;0" in lines[0]
    )
    assert "\x1b" not in shown_path("evil\x1b]0;title\x07.jpg")


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
