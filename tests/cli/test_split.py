"""The command: near duplicates by look and by stored embeddings stay on one side, and the training believes that they are no negatives."""

import csv
import json

import numpy as np
import pytest

from hardpairs.cli.split import main
from hardpairs.core.errors import UserError
from hardpairs.data.embeddings import write_embeddings
from hardpairs.data.opening import open_samples
from tests.helpers import picture, run


@pytest.fixture
def photos(tmp_path):
    """Thirty pictures with two captions each; 5 and 20 are the same bytes, and 29 cannot be read."""
    (tmp_path / "photos/images").mkdir(parents=True)
    entries = []
    for i in range(30):
        (tmp_path / f"photos/images/{i}.jpg").write_bytes(
            b"" if i == 29 else picture(5 if i == 20 else i)
        )
        entries += [
            {"file_name": f"{i}.jpg", "caption": f"{word} {i}"} for word in ("mug", "chair")
        ]
    (tmp_path / "photos/captions.json").write_text(json.dumps(entries))
    return tmp_path / "photos/captions.json"


def part_of(folder):
    listed = json.loads((folder / "split.json").read_text())
    return {
        int(name.removesuffix(".jpg")): part for part, names in listed.items() for name in names
    }


def test_the_command_and_its_second_run(photos, tmp_path):
    command = (
        "python",
        "-m",
        "tools.split_pairs",
        "--captions_json",
        str(photos),
        "--out",
        str(tmp_path / "split"),
    )
    done = run(*command)
    assert (
        done.returncode == 0
        and "train 21 images (42 captions), val 4 images (8 captions), test 5 images (10 captions)"
        in done.stderr
    )
    photos.write_text(photos.read_text().replace("mug 7", "cup 7"))
    done = run(*command)
    assert (
        done.returncode == 4
        and "was changed since it was split" in done.stderr
        and "Traceback" not in done.stderr
    )


def test_pictures_that_moved_keep_their_parts(photos, tmp_path, capsys):
    """And a wrong folder is told before anything is split."""
    command = ["--data", str(photos), "--out", str(tmp_path / "split")]
    with pytest.raises(UserError, match="no such --image-root"):
        main([*command, "--image-root", str(tmp_path / "nowhere")])
    assert not (tmp_path / "split").exists()
    main(command)
    before = {name: (tmp_path / "split" / name).read_text() for name in ("split.json", "train.csv")}
    (photos.parent / "images").rename(tmp_path / "elsewhere")
    main([*command, "--image-root", str(tmp_path / "elsewhere")])
    assert (tmp_path / "split/split.json").read_text() == before[
        "split.json"
    ] and "split already" in capsys.readouterr().err
    assert (tmp_path / "split/train.csv").read_text() == before["train.csv"].replace(
        f"{photos.parent}/images", f"{tmp_path}/elsewhere"
    )


def test_what_is_not_there_is_counted(photos, tmp_path, capsys):
    (photos.parent / "images/3.jpg").unlink()
    main(["--data", str(photos), "--out", str(tmp_path / "split")])
    assert "no stage will use: missing_image 2" in capsys.readouterr().err


def test_what_looks_the_same_stays_together(photos, tmp_path, capsys):
    main(["--data", str(photos), "--out", str(tmp_path / "plain")])
    assert (
        part_of(tmp_path / "plain")[5] != part_of(tmp_path / "plain")[20]
    )  # or this test shows nothing
    main(["--data", str(photos), "--out", str(tmp_path / "split"), "--near-duplicates"])
    parts = part_of(tmp_path / "split")
    assert (
        parts[5] == parts[20]
        and "2 images in 1 group of near duplicates" in capsys.readouterr().err
    )
    assert sum(parts[i] != part for i, part in part_of(tmp_path / "plain").items()) == 1
    samples = open_samples(tmp_path / f"split/{parts[5]}.csv")
    rows = [row for row in range(len(samples)) if samples.keys[row].split(".")[0] in ("5", "20")]
    assert (
        len(rows) == 4
        and len(set(samples.groups[rows])) == 1
        and len(np.unique(samples.groups)) == len(np.unique(samples.images)) - 1
    )


def test_what_is_near_in_stored_embeddings_stays_together(photos, tmp_path):
    samples, rng = open_samples(photos), np.random.default_rng(0)
    image = np.repeat(rng.normal(size=(30, 16)), 2, axis=0).astype(np.float32)
    image[[2 * 20, 2 * 20 + 1]] = image[2 * 9] * 3  # of any length
    kept = np.arange(2, 60)  # image 0 was not embedded
    write_embeddings(
        tmp_path / "emb",
        image=image[kept],
        text=image[kept],
        rows=kept,
        captions=[samples.captions[row] for row in kept],
        keys=[samples.keys[row] for row in kept],
        groups=samples.groups[kept],
        manifest={"dataset_fingerprint": samples.fingerprint, "num_samples": 60},
    )
    main(
        [
            "--data",
            str(photos),
            "--out",
            str(tmp_path / "split"),
            "--embeddings",
            str(tmp_path / "emb"),
        ]
    )
    with open(tmp_path / "split/train.csv") as file:
        rows = [
            row for row in csv.DictReader(file) if row["filepath"].endswith(("/20.jpg", "/9.jpg"))
        ]
    assert len(rows) == 4 and len({row["group"] for row in rows}) == 1
    photos.write_text(photos.read_text().replace("mug 7", "cup 7"))
    with pytest.raises(UserError) as error:
        main(
            [
                "--data",
                str(photos),
                "--out",
                str(tmp_path / "other"),
                "--embeddings",
                str(tmp_path / "emb"),
            ]
        )
    assert error.value.code == 4
