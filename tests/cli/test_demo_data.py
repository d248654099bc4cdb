"""Demonstration data: what is written is what is declared, is repeatable, and is served safely."""

from __future__ import annotations

import contextlib
import csv
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hardpairs.cli.demo_data import main
from hardpairs.core.errors import Exit, UserError
from hardpairs.demo import build as build_module
from hardpairs.demo import emoji, photograph, scenes
from hardpairs.demo.build import Options, build, subjects_of
from hardpairs.demo.serve import PictureServer
from hardpairs.demo.tables import move_table
from tests.helpers import listen_to_ctrl_c

ROOT = Path(__file__).resolve().parents[2]


def scene_options(**changes: object) -> Options:
    return Options(**{"kind": "scenes", "pairs": 30, "views": 2, "seed": 0, **changes})


def read_table(path: Path) -> list[list[str]]:
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    assert header == "caption\turl\tgroup"
    return [line.split("\t") for line in lines]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# what is written


def test_tables_and_pictures_are_what_the_manifest_says(tmp_path: Path) -> None:
    assert build(tmp_path, scene_options(pairs=31))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["rows"] == {
        "train": 31,
        "val": 16,
        "test": 32,
    }  # 16 scenes of 2, 1 and 2 views; the last one shows once
    broken = {entry["file"] for entry in manifest["broken"]}
    for split, count in manifest["rows"].items():
        good = [
            row
            for row in read_table(tmp_path / f"{split}.tsv")
            if "/".join(row[1].rsplit("/", 2)[1:]) not in broken
        ]
        assert len(good) == count
        for caption, url, group in good:
            picture = Image.open(tmp_path / "images" / "/".join(url.rsplit("/", 2)[1:]))
            picture.load()
            assert picture.size == (64, 64) and caption and int(group) >= 0


def test_broken_entries_fail_as_declared(tmp_path: Path) -> None:
    build(tmp_path, scene_options())
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert [entry["fault"] for entry in manifest["broken"]] == [
        "not found",
        "html",
        "cut",
        "empty caption",
    ] * 2
    in_table = {
        "/".join(url.rsplit("/", 2)[1:]): caption
        for caption, url, _ in read_table(tmp_path / "train.tsv")
    }
    for entry in manifest["broken"]:
        file = tmp_path / "images" / entry["file"]
        assert in_table[entry["file"]] == entry["caption"]
        assert file.exists() == (entry["fault"] != "not found")
        if entry["fault"] in ("html", "cut"):
            with pytest.raises(OSError):
                Image.open(io.BytesIO(file.read_bytes())).load()
        assert (entry["caption"] == "") == (entry["fault"] == "empty caption")


@pytest.mark.parametrize("kind", ["scenes", "emoji"])
def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path: Path, kind: str) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        build(tmp_path / name, Options(kind, 8, 2, seed))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def test_photographs_of_a_drawing_do_not_depend_on_how_many_are_made(tmp_path: Path) -> None:
    every = len(emoji.openmoji_drawings())
    few, more = Options("emoji", 3, 1, 0), Options("emoji", 6, 2, 0)
    build(tmp_path / "few", few)
    build(tmp_path / "more", more)
    assert every > 1900
    assert {
        name: data
        for name, data in contents(tmp_path / "few/images").items()
        if "0000" in name and "_00.jpg" in name
    } == {
        name: data
        for name, data in contents(tmp_path / "more/images").items()
        if "0000" in name and "_00.jpg" in name
    }


# doing it again


def test_finished_data_is_not_made_again(tmp_path: Path) -> None:
    assert build(tmp_path, scene_options())
    assert not build(tmp_path, scene_options())


def test_other_options_in_the_same_folder_are_refused_and_force_replaces(tmp_path: Path) -> None:
    build(tmp_path, scene_options())
    with pytest.raises(UserError, match="`pairs` 30, asked 31") as caught:
        build(tmp_path, scene_options(pairs=31))
    assert caught.value.code == Exit.MISMATCH and "`force`" in caught.value.fix
    assert build(tmp_path, scene_options(pairs=31), force=True)


def test_a_missing_picture_is_noticed(tmp_path: Path) -> None:
    build(tmp_path, scene_options())
    next((tmp_path / "images/val").iterdir()).unlink()
    with pytest.raises(UserError, match="missing or changed") as caught:
        build(tmp_path, scene_options())
    assert caught.value.code == Exit.MISMATCH


def test_an_interrupted_run_is_started_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build_module, "_write_tables", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, scene_options())
    assert not (tmp_path / "manifest.json").exists()
    assert build(tmp_path, scene_options())
    assert not (tmp_path / "unfinished.json").exists()


def test_ctrl_c_leaves_one_message_and_the_same_command_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.demo_data", "--out", str(tmp_path), "--pairs", "15344"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=listen_to_ctrl_c,
    )
    while not (tmp_path / "images/train").is_dir() or not any(
        (tmp_path / "images/train").iterdir()
    ):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    message = process.communicate(timeout=120)[1]
    assert process.returncode == Exit.INTERRUPTED
    assert "interrupted" in message and "Traceback" not in message
    assert build(tmp_path, scene_options())  # ours, unfinished: started over


def test_a_folder_that_somebody_else_filled_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "holiday.jpg").write_bytes(b"mine")
    for force in (False, True):
        with pytest.raises(UserError) as caught:
            build(tmp_path, scene_options(), force=force)
        assert caught.value.code == Exit.BAD_INPUT
    assert contents(tmp_path) == {"images/holiday.jpg": b"mine"}


@pytest.mark.parametrize(
    "changes", [{"pairs": 0}, {"views": 0}, {"seed": -1}, {"second_vendor": "x"}]
)
def test_options_that_make_no_sense_are_usage_errors(changes: dict[str, object]) -> None:
    with pytest.raises(UserError) as caught:
        scene_options(**changes)
    assert caught.value.code == Exit.USAGE


def test_more_pairs_than_drawings_says_how_many_there_can_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs 5000 drawings") as caught:
        build(tmp_path, Options("emoji", 5000, 1, 0))
    assert caught.value.code == Exit.USAGE and "at most --pairs 19" in caught.value.fix


# scenes


def test_scenes_are_distinct_and_captions_say_what_is_shown() -> None:
    made = scenes.scenes(400, np.random.default_rng(0))
    assert len({scene.caption for scene in made}) == len(made) == 400
    for scene in made:
        assert scene.first != scene.second
        where = Image.open(io.BytesIO(scenes.picture(scene, np.random.default_rng(1)))).convert(
            "RGB"
        )
        centres = [
            colour_centre(where, scenes.COLOURS[thing.colour])
            for thing in (scene.first, scene.second)
        ]
        if scene.first.colour != scene.second.colour:
            axis = 0 if scene.sideways else 1
            assert centres[0][axis] + 10 < centres[1][axis], scene.caption


def colour_centre(picture: Image.Image, colour: tuple[int, int, int]) -> tuple[float, float]:
    near = np.abs(np.asarray(picture, np.float32) - colour).sum(-1) < 60
    rows, columns = np.nonzero(near)
    return float(columns.mean()), float(rows.mean())


def test_captions_name_the_relation_from_either_side() -> None:
    circle, square = scenes.Thing("", "red", "circle"), scenes.Thing("", "orange", "square")
    assert (
        scenes.Scene(circle, square, sideways=True, mirrored=False).caption
        == "a red circle left of an orange square"
    )
    assert (
        scenes.Scene(circle, square, sideways=True, mirrored=True).caption
        == "an orange square right of a red circle"
    )
    assert (
        scenes.Scene(circle, square, sideways=False, mirrored=True).caption
        == "an orange square below a red circle"
    )


def test_many_scenes_use_size_words() -> None:
    most = scenes.most_scenes()
    made = scenes.scenes(most, np.random.default_rng(0))
    assert len({scene.caption for scene in made}) == most > 40_000
    assert all(scene.first.size and scene.second.size for scene in made)
    with pytest.raises(ValueError):
        scenes.scenes(most + 1, np.random.default_rng(0))


def test_three_hundred_scenes_take_seconds(tmp_path: Path) -> None:
    start = time.perf_counter()
    subprocess.run(
        [
            sys.executable,
            "-m",
            "tools.demo_data",
            "--out",
            tmp_path,
            "--kind",
            "scenes",
            "--pairs",
            "300",
        ],
        check=True,
        cwd=ROOT,
    )
    assert time.perf_counter() - start < 15  # 1 s on an idle machine


# emoji


def test_names_are_official_distinct_and_plain() -> None:
    drawings = emoji.openmoji_drawings()
    captions = {drawing.caption for drawing in drawings}
    assert len(captions) == len(drawings)
    assert {
        "bullet train",
        "man mechanic",
        "flag of Norway",
        "flag of Scotland",
        "keycap asterisk",
        "A button blood type",
    } <= captions
    assert not any(set(caption) & set("_:()!\t\n") or "  " in caption for caption in captions)
    assert len(emoji.openmoji_drawings(skin_tones=True)) > 3900


def test_identical_drawings_share_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"flag of Norway", "flag of Svalbard & Jan Mayen", "flag of France"}
    chosen = [drawing for drawing in emoji.openmoji_drawings() if drawing.caption in wanted]
    monkeypatch.setattr(emoji, "openmoji_drawings", lambda: chosen)
    build(tmp_path, Options("emoji", 3, 1, 0))
    groups = {caption: group for caption, _, group in read_table(tmp_path / "val.tsv")}
    assert (
        groups["flag of Norway"]
        == groups["flag of Svalbard & Jan Mayen"]
        != groups["flag of France"]
    )


def test_groups_join_by_concept_and_by_look() -> None:
    assert build_module.groups_of(["a", "b", "c", "a"], ["x", "x", "y", "y"]) == [0, 0, 0, 0]
    assert build_module.groups_of(["a", "b"], ["x", "y"]) == [0, 1]


def test_colour_hidden_under_transparency_stays_hidden(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (64, 64), (255, 0, 0, 0))  # red, but invisible
    picture.paste((0, 0, 255, 255), (24, 24, 40, 40))
    picture.save(tmp_path / "a.png")
    sticker = photograph.cut_out(emoji.rasterise(tmp_path / "a.png"))
    pixels = np.asarray(sticker, np.int32)
    assert (pixels[..., 0] <= pixels[..., 3] + 1).all()  # premultiplied
    assert pixels[0, 0].tolist() == [0, 0, 0, 0]
    assert (pixels[..., 0] > pixels[..., 2] + 8).sum() == 0  # nothing reddish


def test_photographs_differ_and_are_small_jpegs() -> None:
    drawing = next(drawing for drawing in emoji.openmoji_drawings() if drawing.caption == "banana")
    sticker = photograph.cut_out(emoji.rasterise(drawing.path))
    shots = [photograph.photograph(sticker, np.random.default_rng(seed)) for seed in range(6)]
    assert len(set(shots)) == 6
    assert all(Image.open(io.BytesIO(shot)).size == (64, 64) and len(shot) < 6000 for shot in shots)
    assert photograph.photograph(sticker, np.random.default_rng(3)) == shots[3]


# second vendor


def vendor_folder(folder: Path, layout: str, mode: str = "RGBA") -> Path:
    stems = {"1F34C": "banana", "1F6B2": "bicycle", "1F47B": "ghost"}
    pictures = folder / ("img/google/64" if layout == "emoji.json" else ".")
    pictures.mkdir(parents=True)
    for number, stem in enumerate(stems):
        Image.new(
            mode,
            (64, 64),
            40 + 60 * number if mode in "LAP" else (250, 60 * number, 30, 255)[: len(mode)],
        ).save(pictures / f"{stem.lower()}.png")
    if layout == "emoji.json":
        content = [
            {"unified": stem, "image": f"{stem.lower()}.png", "has_img_google": True}
            for stem in stems
        ]
        content.append({"unified": "1F600", "image": "gone.png", "has_img_google": False})
    else:
        content = {f"{stem.lower()}.png": name for stem, name in stems.items()}
    (folder / layout).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("layout", ["emoji.json", "names.json"])
def test_second_vendor_joins_the_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    vendor = vendor_folder(tmp_path / "vendor", layout)
    chosen = [
        drawing
        for drawing in emoji.openmoji_drawings()
        if drawing.caption in ("banana", "bicycle", "zebra")
    ]
    monkeypatch.setattr(emoji, "openmoji_drawings", lambda: chosen)
    build(tmp_path / "out", Options("emoji", 5, 1, 0, str(vendor)))
    rows = read_table(tmp_path / "out/val.tsv")
    groups: dict[str, set[str]] = {}
    for caption, _, group in rows:
        groups.setdefault(caption, set()).add(group)
    assert sorted(caption for caption, _, _ in rows) == [
        "banana",
        "banana",
        "bicycle",
        "bicycle",
        "zebra",
    ]  # no ghost: no match
    assert (
        all(len(numbers) == 1 for numbers in groups.values())
        and len(set.union(*groups.values())) == 3
    )


def test_both_drawings_of_a_concept_are_taken(tmp_path: Path) -> None:
    subjects = [
        build_module.Subject(f"{vendor}-{number}", str(number), "", None)
        for vendor in "ab"
        for number in range(50)
    ]
    picked = build_module._pick(subjects, 20, np.random.default_rng(0))
    concepts = [subject.concept for subject in picked]
    assert len(picked) == 20 and len(set(concepts)) == 10
    assert concepts != [
        subject.concept for subject in build_module._pick(subjects, 20, np.random.default_rng(1))
    ]


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "LA", "P", "L"])
def test_png_modes(tmp_path: Path, mode: str) -> None:
    Image.new("RGBA", (32, 32), (9, 90, 200, 255)).convert("L" if mode == "LA" else mode).convert(
        mode
    ).save(tmp_path / "a.png")
    assert emoji.rasterise(tmp_path / "a.png").mode == "RGBa"


def test_a_folder_of_no_known_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"emoji\.json") as caught:
        emoji.vendor_drawings(tmp_path)
    assert caught.value.code == Exit.BAD_INPUT
    (tmp_path / "names.json").write_text('{"1f34c.png": "banana"}')
    with pytest.raises(UserError, match=r"1f34c\.png is named but not there"):
        emoji.vendor_drawings(tmp_path)
    (tmp_path / "names.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        emoji.vendor_drawings(tmp_path)


# the server


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, object]]]:
    command = [
        sys.executable,
        "-m",
        "tools.demo_data",
        "--out",
        str(folder),
        "--kind",
        "scenes",
        "--pairs",
        "20",
        "--views",
        "2",
        "--serve",
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("serving "), line
        yield process, json.loads((folder / "server.json").read_text())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def get(connection: http.client.HTTPConnection, path: str) -> tuple[int, str, bytes]:
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.headers["Content-Type"], response.read()


@pytest.mark.parametrize(
    "signals", [(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT, signal.SIGTERM)]
)
def test_serves_what_the_tables_name_until_stopped(
    tmp_path: Path, signals: tuple[signal.Signals, ...]
) -> None:
    with serving(tmp_path) as (process, server):
        assert server["pid"] == process.pid
        connection = http.client.HTTPConnection(
            str(server["url"]).removeprefix("http://"), timeout=10
        )
        for _, url, _ in read_table(tmp_path / "test.tsv"):
            assert url.startswith(f"{server['url']}/")
            file = url.removeprefix(str(server["url"]))
            assert get(connection, file) == (
                200,
                "image/jpeg",
                (tmp_path / f"images{file}").read_bytes(),
            )  # one kept-alive connection
        for number in (
            signal.SIGSTOP,
            *signals,
            signal.SIGCONT,
        ):  # several arrive together, as Ctrl-C in the quickstart sends them
            process.send_signal(number)
        assert process.wait(timeout=60) == 0
        assert not (tmp_path / "server.json").exists()


def test_serves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "images/train").mkdir(parents=True)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "images/train/a.jpg").write_bytes(b"picture")
    (tmp_path / "images/train/notes.txt").write_bytes(b"notes")
    os.symlink(tmp_path / "secret.jpg", tmp_path / "images/train/link.jpg")
    server = PictureServer(tmp_path / "images")
    with running(server):
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
        assert get(connection, "/train/a.jpg")[0] == 200
        for path in (
            "/",
            "/train",
            "/train/",
            "/train/../../secret.jpg",
            "/../secret.jpg",
            "/%2e%2e/secret.jpg",
            "/train/b.jpg",
            "/train/notes.txt",
            "/train/link.jpg",
        ):
            assert get(connection, path)[0] == 404, path


@contextlib.contextmanager
def running(server: PictureServer) -> Iterator[None]:
    import threading

    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_port_in_use_is_a_usage_error(tmp_path: Path) -> None:
    with (
        PictureServer(tmp_path) as server,
        pytest.raises(UserError, match="cannot be opened") as caught,
    ):
        PictureServer(tmp_path, server.server_address[1])
    assert caught.value.code == Exit.USAGE


def test_moving_a_table_changes_its_urls_alone(tmp_path: Path) -> None:
    build(tmp_path, scene_options(pairs=4))
    before = read_table(tmp_path / "train.tsv")
    move_table(tmp_path / "train.tsv", "http://127.0.0.1:9")
    for (caption, old, group), moved in zip(
        before, read_table(tmp_path / "train.tsv"), strict=True
    ):
        assert moved == [caption, old.replace("127.0.0.1:8000", "127.0.0.1:9"), group]


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--out", str(tmp_path), "--kind", "scenes", "--pairs", "4", "--views", "2"]
    assert main([*command, "--port", "4321"]) == 0
    assert all(
        url.startswith("http://127.0.0.1:4321/") for _, url, _ in read_table(tmp_path / "val.tsv")
    )
    assert main(command) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "finished already" in captured.err


# class folders


def test_class_folders_share_no_class_and_every_query_has_an_answer(tmp_path: Path) -> None:
    from hardpairs.demo.classes import build_classes

    options = scene_options(pairs=80, views=4, layout="classes")
    assert build_classes(tmp_path, options) and not build_classes(tmp_path, options)
    classes = {
        part: {path.name for path in (tmp_path / part).iterdir()}
        for part in ("train", "validation", "test/query", "test/gallery")
    }
    assert (len(classes["train"]), len(classes["validation"]), len(classes["test/query"])) == (
        12,
        4,
        4,
    )
    assert (
        not classes["train"] & classes["validation"]
        and not (classes["train"] | classes["validation"]) & classes["test/gallery"]
    )
    assert classes["test/query"] == classes["test/gallery"]
    assert (
        len(list((tmp_path / "test/query").rglob("*.jpg"))) == 4
        and len(list((tmp_path / "test/gallery").rglob("*.jpg"))) == 12
    )
    with open(tmp_path / "news.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16 and all(
        Path(row["image_path"]).is_file() and row["text"] for row in rows
    )
    assert len({row["label"] for row in rows}) == 4
    next((tmp_path / "train").rglob("*.jpg")).unlink()
    with pytest.raises(UserError, match="missing or changed"):
        build_classes(tmp_path, options)
    assert build_classes(tmp_path, options, force=True)


def test_two_vendors_are_query_and_gallery(tmp_path: Path) -> None:
    from hardpairs.demo.classes import build_classes

    vendor = tmp_path / "vendor"
    vendor.mkdir()
    drawings = emoji.openmoji_drawings()
    for drawing in drawings[:40]:
        emoji.rasterise(drawing.path).convert("RGBA").rotate(90).save(vendor / f"{drawing.key}.png")
    (vendor / "names.json").write_text(
        json.dumps({f"{drawing.key}.png": drawing.caption for drawing in drawings[:40]})
    )
    assert build_classes(
        tmp_path / "out",
        scene_options(
            kind="emoji",
            pairs=2 * (len(drawings) + 40),
            second_vendor=str(vendor),
            layout="classes",
        ),
    )
    query, gallery = (
        {path.name for path in (tmp_path / "out/test" / side).iterdir()}
        for side in ("query", "gallery")
    )
    assert query == gallery and 0 < len(query) < 40


def test_misread_text_is_a_text_and_the_same_each_time() -> None:
    from hardpairs.demo.classes import misread

    said = [
        misread("Flag of Curaçao, woman's hat", np.random.default_rng(seed)) for seed in (1, 1, 2)
    ]
    assert said[0] == said[1] != said[2] and all(said)
    assert misread(" ", np.random.default_rng(0))


# a captioned collection


def test_a_collection_has_two_captions_of_each_photograph_and_drawings_that_pairs_leave(
    tmp_path: Path,
) -> None:
    from hardpairs.data.samples import open_samples
    from hardpairs.demo.collection import build_collection, in_a_word

    options = scene_options(kind="emoji", pairs=60, views=2, layout="captions")
    assert build_collection(tmp_path, options) and not build_collection(tmp_path, options)
    samples = open_samples(tmp_path / "captions.json")
    assert (
        len(set(samples.images)) == 60 == len(list((tmp_path / "images").glob("*.jpg")))
        and 60 < len(samples) <= 120
    )
    assert all(in_a_word(caption) in samples.captions for caption in samples.captions)
    others = subjects_of(scene_options(kind="emoji", pairs=1800, views=1))
    assert len(others) == 1800 and not {subject.concept for subject in others} & {
        subject.concept for subject in subjects_of(options)
    }
    assert (
        main(
            [
                "--out",
                str(tmp_path / "b"),
                "--layout",
                "captions",
                "--pairs",
                "60",
                "--views",
                "2",
                "--kind",
                "scenes",
            ]
        )
        == 0
    )
    (tmp_path / "images/00000_00.jpg").unlink()
    with pytest.raises(UserError, match="missing or changed"):
        build_collection(tmp_path, options)
