"""The commands, as one types them: index, query and the demonstration modes of MiniCLIP."""

from __future__ import annotations

import json
import os
import pty
import select
from pathlib import Path

import numpy as np
import pytest
import torch

from hardpairs.cli.photos import main
from hardpairs.core.errors import UserError
from hardpairs.data.images import decode
from hardpairs.models.load import load_encoder
from hardpairs.photos.index import Index
from tests.helpers import ROOT, picture, run
from tests.processes import start

MODEL = "hardpairs-test"


def index_photos(folder, checkpoint) -> int:
    """Index a folder with the small model, beside the folder."""
    model = ["--model", MODEL, "--pretrained", str(checkpoint)]
    return main(["index", str(folder), *model, "--workers", "0"])


@pytest.fixture
def index(tmp_path, checkpoint, capsys):
    """Twenty photographs and their index."""
    for i in range(20):
        path = tmp_path / f"photos/{i:02d}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(i))
    assert index_photos(tmp_path / "photos", checkpoint) == 0
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
    assert index_photos(photos, checkpoint) == 0
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
    line = ["python", "-m", "tools.photo_search", "query", str(index), "picture number 7"]
    environment = {"TERM": "xterm", "TERM_PROGRAM": ""}
    process = start(
        [*line, "--top", "1", "--preview"],
        environment,
        ROOT,
        Path(os.ttyname(child)),
        Path(os.devnull),
    )
    shown = b""
    while process.is_alive() or select.select([parent], [], [], 0)[0]:
        if select.select([parent], [], [], 0.05)[0]:
            shown += os.read(parent, 1 << 16)
    os.close(child)
    os.close(parent)
    assert process.exitcode == 0 and shown.count("▀".encode()) > 100 and b".jpg" in shown
