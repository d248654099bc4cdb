"""An index against a plain loop over the model, and what a second run opens, moves, forgets and keeps."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import signal
import time

import numpy as np
import pytest
import torch
from PIL import Image

from hardpairs.core.errors import UserError
from hardpairs.core.lock import locked
from hardpairs.data import images
from hardpairs.data.images import decode
from hardpairs.data.manifest import read_manifest
from hardpairs.models.load import load_encoder
from hardpairs.photos import update
from hardpairs.photos.index import Index
from hardpairs.photos.photo_files import read_photo
from hardpairs.photos.update import UNFINISHED, UNREADABLE_LIST
from tests.helpers import ROOT, picture, sample, write_tar
from tests.photos.conftest import MODEL
from tests.processes import start


def vectors(index: Index) -> dict[str, np.ndarray]:
    return {
        f"{file.path}{file.key}": index.embeddings[row]
        for row, file in enumerate(index.photos.files())
    }


def naive(checkpoint, images: list[bytes]) -> np.ndarray:
    """One picture at a time, straight from the definition."""
    encoder = load_encoder(MODEL, str(checkpoint))
    rows = []
    for data in images:
        with torch.inference_mode():
            features = encoder.model.encode_image(encoder.transform(decode(data))[None])[0]
        rows.append((features / features.norm()).numpy())
    return np.stack(rows)


@pytest.fixture
def opened(monkeypatch):
    """Paths of files that are opened."""
    paths = []
    from hardpairs.photos import encoding

    monkeypatch.setattr(
        encoding, "read_photo", lambda file: paths.append(file.path) or read_photo(file)
    )
    return paths


def test_embeddings_are_the_models(photos, make_index, checkpoint, tmp_path):
    done = make_index(batch_size=5)
    index = Index.open(tmp_path / "index")
    paths = sorted(photos.rglob("*.jpg"))
    assert (done.photos, done.new, done.unreadable) == (12, 12, {}) and list(
        index.photos.paths
    ) == list(map(str, paths))
    np.testing.assert_allclose(
        index.embeddings, naive(checkpoint, [path.read_bytes() for path in paths]), atol=1e-5
    )
    assert isinstance(index.embeddings, np.memmap) and index.manifest["weights"].startswith(
        "sha256:"
    )
    assert not (tmp_path / "index" / UNFINISHED).exists()


def test_workers_change_nothing(make_index, tmp_path):
    make_index(out=tmp_path / "a", batch_size=4)
    make_index(out=tmp_path / "b", batch_size=4, workers=2)
    a, b = Index.open(tmp_path / "a"), Index.open(tmp_path / "b")
    assert a.embeddings.tobytes() == b.embeddings.tobytes() and list(a.photos.files()) == list(
        b.photos.files()
    )


def test_a_second_run_opens_nothing_and_loads_no_model(make_index, opened, tmp_path, monkeypatch):
    make_index()
    opened.clear()
    before = (tmp_path / "index/manifest.json").read_bytes()
    monkeypatch.setattr(
        "hardpairs.photos.model.ModelName.load",
        lambda *_, **__: pytest.fail("the model is not needed"),
    )
    done = make_index()
    assert (done.photos, done.new, done.moved, done.forgotten) == (12, 0, 0, 0) and opened == []
    assert (tmp_path / "index/manifest.json").read_bytes() == before


def test_changed_moved_new_and_removed(photos, make_index, opened, checkpoint, tmp_path):
    make_index()
    old = vectors(Index.open(tmp_path / "index"))
    opened.clear()
    (photos / "summer/00.jpg").write_bytes(picture(100))  # changed
    (photos / "summer/01.jpg").rename(photos / "winter/moved.jpg")
    (photos / "summer/02.jpg").unlink()
    (photos / "winter/new.jpg").write_bytes(picture(101))
    done = make_index()
    index = Index.open(tmp_path / "index")
    now = vectors(index)
    assert (done.photos, done.new, done.moved, done.forgotten) == (12, 2, 1, 2)
    assert sorted(opened) == sorted(
        str(photos / name) for name in ("summer/00.jpg", "winter/moved.jpg", "winter/new.jpg")
    )
    expected = naive(checkpoint, [picture(100), picture(101)])
    np.testing.assert_allclose(now[str(photos / "summer/00.jpg")], expected[0], atol=1e-5)
    np.testing.assert_allclose(now[str(photos / "winter/new.jpg")], expected[1], atol=1e-5)
    assert (now[str(photos / "winter/moved.jpg")] == old[str(photos / "summer/01.jpg")]).all()
    for name in ("summer/03.jpg", "winter/11.jpg"):
        assert (now[str(photos / name)] == old[str(photos / name)]).all()
    assert str(photos / "summer/02.jpg") not in now
    kept = {"manifest.json", UNREADABLE_LIST, *read_manifest(tmp_path / "index")["files"]}
    assert {
        path.name for path in (tmp_path / "index").iterdir()
    } == kept  # the files before are gone


def test_a_whole_folder_that_moved_is_not_encoded_again(photos, make_index, tmp_path):
    make_index()
    photos.rename(tmp_path / "elsewhere")
    done = make_index(tmp_path / "elsewhere")
    assert (done.new, done.moved, done.forgotten) == (0, 12, 12)


def test_unreadable_files_are_listed_and_not_tried_again(photos, make_index, opened, tmp_path):
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "page.png").write_text("<html>not found</html>")
    (photos / "cut.jpg").write_bytes(picture(1)[:-20])
    buffer = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(buffer, "PNG")
    (photos / "bomb.png").write_bytes(buffer.getvalue())
    reasons = {"empty_image": 1, "not_an_image": 1, "truncated_image": 1, "too_many_pixels": 1}
    assert make_index().unreadable == reasons
    listed = (tmp_path / "index" / UNREADABLE_LIST).read_text().splitlines()
    assert f"too_many_pixels\t{photos / 'bomb.png'}" in listed and len(listed) == 4
    opened.clear()
    assert make_index().unreadable == reasons and opened == []
    (photos / "empty.jpg").write_bytes(picture(50))
    done = make_index()
    assert (
        done.new == 1
        and "empty_image" not in done.unreadable
        and opened == [str(photos / "empty.jpg")]
    )


def test_pictures_in_shards_by_offset(shards, make_index, checkpoint, tmp_path):
    done = make_index(shards)
    index = Index.open(tmp_path / "index")
    assert done.photos == 19 and done.passed_over == {
        "sample without an image": 1
    }  # number 9 has none; 3 has no caption, and is there
    numbers = [number for number in range(20) if number != 9]
    np.testing.assert_allclose(
        index.embeddings, naive(checkpoint, list(map(picture, numbers))), atol=1e-5
    )
    assert (
        index.photos.notes[0] == "picture number 0"
        and index.photos.notes[3] == ""
        and index.photos.keys[0] == "000000000"
    )
    write_tar(
        shards / "00001.tar", {f"{i}": sample(i) for i in (7, 300)}
    )  # a shard that is downloaded again, with one sample more
    done = make_index(shards)
    assert (done.photos, done.new, done.moved) == (17, 1, 1)


def test_upright_and_captions_beside(photos, make_index, checkpoint, tmp_path):
    image = Image.open(io.BytesIO(picture(3, size=64)))
    image.paste((255, 0, 0), (0, 0, 64, 10))
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned
    turned = tmp_path / "one/turned.jpg"
    turned.parent.mkdir()
    image.save(turned, exif=exif, quality=95)
    turned.with_suffix(".txt").write_text("a red edge\n")
    make_index(turned.parent)
    index = Index.open(tmp_path / "index")
    np.testing.assert_allclose(
        index.embeddings, naive(checkpoint, [turned.read_bytes()]), atol=1e-5
    )
    sideways = load_encoder(MODEL, str(checkpoint))
    with torch.inference_mode():
        wrong = sideways.model.encode_image(
            sideways.transform(Image.open(turned).convert("RGB"))[None]
        )[0]
    assert not np.allclose(index.embeddings[0], (wrong / wrong.norm()).numpy(), rtol=0, atol=1e-4)
    assert index.photos.notes[0] == "a red edge"


def test_captions_that_are_written_later(photos, make_index, opened, tmp_path):
    """A second run takes them without opening a picture; null is none."""

    def told(**names: str) -> None:
        make_index()
        index = Index.open(tmp_path / "index")
        notes = {
            os.path.basename(file.path)[:2]: note
            for file, note in zip(index.photos.files(), index.photos.notes, strict=True)
        }
        assert {name: note for name, note in notes.items() if note} == {
            name[1:]: note for name, note in names.items()
        }

    told()
    opened.clear()
    (photos / "summer/00.txt").write_text("a mug\n")
    told(_00="a mug")
    (photos / "summer/00.txt").write_text("a red mug\n")
    (photos / "winter/06.txt").write_text("snow")
    told(_00="a red mug", _06="snow")
    entries = [
        {"file_name": "winter/06.jpg", "caption": None},
        {"file_name": "winter/07.jpg", "caption": " a hill "},
    ]
    (photos / "captions.json").write_text(
        json.dumps([*entries, {"file_name": "winter/07.jpg", "caption": "trees"}])
    )
    told(_00="a red mug", _06="snow", _07="a hill · trees")
    (photos / "captions.json").unlink()
    (photos / "summer/00.txt").unlink()
    told(_06="snow")
    before = (tmp_path / "index/manifest.json").stat().st_mtime_ns
    told(_06="snow")
    assert opened == [] and (tmp_path / "index/manifest.json").stat().st_mtime_ns == before


def test_a_torn_tar_is_listed_and_the_others_are_indexed(photos, make_index, tmp_path):
    whole = write_tar(photos / "a.tar", {"0": sample(200)}).read_bytes()
    (photos / "b.tar").write_bytes(whole[:-9000])
    (photos / "c.tar").write_bytes(b"no tar")
    for new in (13, 0):
        done = make_index()
        assert (done.photos, done.new, done.unreadable) == (13, new, {"torn_tar": 2})
    assert f"torn_tar\t{photos / 'b.tar'}\n" in (tmp_path / "index" / UNREADABLE_LIST).read_text()
    write_tar(photos / "b.tar", {"0": sample(201)})
    done = make_index()
    assert (done.photos, done.new, done.unreadable) == (14, 1, {"torn_tar": 1})
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone/c.tar").write_bytes(b"no tar")
    with pytest.raises(UserError, match="and no undamaged tar") as error:
        make_index(tmp_path / "alone", out=tmp_path / "other")
    assert error.value.code == 3


def test_heic(photos, make_index, monkeypatch, tmp_path):
    heif = pytest.importorskip("pillow_heif")
    image = Image.open(io.BytesIO(picture(5, size=64)))
    (tmp_path / "heic").mkdir()
    heif.from_pillow(image).save(tmp_path / "heic/telephone.HEIC", quality=90)
    monkeypatch.setattr(images, "can_read_heic", lambda: False)
    monkeypatch.setattr(update, "can_read_heic", lambda: False)
    assert make_index(tmp_path / "heic").unreadable == {images.HEIC_REASON: 1}
    monkeypatch.undo()
    assert make_index(tmp_path / "heic").photos == 1  # tried again, since it can be read now
    decoded = np.asarray(decode((tmp_path / "heic/telephone.HEIC").read_bytes()), int)
    assert np.abs(decoded - np.asarray(image, int)).mean() < 12


def test_names_that_are_no_text(photos, make_index, tmp_path):
    name = os.fsencode(str(photos)) + b"/caf\xe9 \n.jpg"
    with open(name, "wb") as file:
        file.write(picture(60))
    assert make_index().new == 13 and make_index().new == 0
    assert os.fsdecode(name) in list(Index.open(tmp_path / "index").photos.paths)


def test_another_model_is_refused(photos, make_index, checkpoint, tmp_path):
    make_index()
    other = torch.load(checkpoint, weights_only=True)
    other["state_dict"]["logit_scale"] += 1
    torch.save(other, tmp_path / "other.pt")
    for changed in (False, True):
        if changed:
            (photos / "new.jpg").write_bytes(picture(99))
        with pytest.raises(UserError, match="another model") as error:
            make_index(pretrained=str(tmp_path / "other.pt"))
        assert error.value.code == 4 and "`out`" in error.value.fix
    assert len(Index.open(tmp_path / "index")) == 12
    shutil.copy(
        checkpoint, tmp_path / "copy.pt"
    )  # the same weights under another name are the same model
    assert make_index(pretrained=str(tmp_path / "copy.pt")).new == 1


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (lambda photos, index: shutil.rmtree(photos), 2, "no such file or folder"),
        (
            lambda photos, index: [path.unlink() for path in photos.rglob("*.jpg")],
            3,
            "a drive that is not mounted",
        ),
        (lambda photos, index: (index / "manifest.json").write_text("{}"), 4, "damaged"),
    ],
)
def test_what_is_refused(photos, make_index, tmp_path, change, code, says):
    make_index()
    change(photos, tmp_path / "index")
    with pytest.raises(UserError, match=says) as error:
        make_index()
    assert error.value.code == code


def test_other_folders_are_left_alone(photos, make_index, tmp_path):
    with pytest.raises(UserError, match="holds something else") as error:
        make_index(out=photos)
    assert error.value.code == 2
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match="the sources hold no photo") as error:
        make_index(tmp_path / "nothing", out=tmp_path / "b")
    assert error.value.code == 3


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_anywhere_what_was_embedded_is_kept(photos, make_index, checkpoint, tmp_path, how):
    """A real process that is stopped among 160 pictures."""
    for i in range(160):
        (photos / f"more{i}.jpg").write_bytes(picture(1000 + i, size=40))
    code = "from hardpairs.photos import update; update.COMMIT_ROWS = 16; "
    code += "from hardpairs.core.errors import run_command; "
    code += "from hardpairs.cli.photos import main; run_command(main)"
    line = ["python", "-c", code, "index", str(photos), "--out", str(tmp_path / "index")]
    line += ["--batch-size", "8", "--model", MODEL, "--pretrained", str(checkpoint)]
    line += ["--workers", "0"]  # those of a killed process hold its lock for a while
    errors = tmp_path / "errors"
    process = start(line, {}, ROOT, tmp_path / "printed", errors)
    while len(list((tmp_path / "index" / UNFINISHED).glob("*.npz"))) < 3:
        assert process.is_alive(), errors.read_text()
        time.sleep(0.005)
    os.kill(process.pid, how)
    process.join(60)
    told = errors.read_text()
    if how == signal.SIGINT:
        assert process.exitcode == 130 and "Traceback" not in told and "goes on from there" in told
        assert (
            48 <= len(Index.open(tmp_path / "index")) < 172
            and not (tmp_path / "index" / UNFINISHED).exists()
        )
    else:
        assert not (tmp_path / "index/manifest.json").exists()
    done = make_index()
    index = Index.open(tmp_path / "index")
    assert done.photos == 172 and done.new <= 172 - 48
    whole = make_index(out=tmp_path / "whole")
    assert whole.new == 172 and list(index.photos.files()) == list(
        Index.open(tmp_path / "whole").photos.files()
    )
    np.testing.assert_allclose(
        index.embeddings, Index.open(tmp_path / "whole").embeddings, atol=1e-5
    )


def test_stopped_before_the_first_batch_the_sources_are_known(make_index, tmp_path, monkeypatch):
    from hardpairs.photos import encoding, update

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(encoding, "encode_pixels", stop)
    with pytest.raises(KeyboardInterrupt):
        make_index()
    monkeypatch.undo()
    assert len(Index.open(tmp_path / "index")) == 0
    assert update.update_index([], tmp_path / "index").photos == 12


@pytest.mark.parametrize(
    "name", ["embeddings-1.npy", "photos-1.npz", "unread-1.npz", "manifest.json", UNREADABLE_LIST]
)
def test_a_first_commit_that_failed_is_finished_by_the_same_run(make_index, tmp_path, name):
    """The disk is full at each of its files, one after the other."""
    replace = os.replace

    def fail(source, target):
        if os.path.basename(target) == name:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        replace(source, target)

    with pytest.MonkeyPatch.context() as full, pytest.raises(OSError, match="No space left"):
        full.setattr(os, "replace", fail)
        make_index()
    done = make_index()
    assert (done.photos, len(Index.open(tmp_path / "index"))) == (12, 12)


def test_one_writer_at_a_time(make_index, tmp_path):
    with locked(tmp_path / "index/.lock", "this index of photos"):
        with pytest.raises(UserError, match="another job works on this index of photos") as error:
            make_index()
        assert error.value.code == 2
        assert re.fullmatch(rf"process {os.getpid()} on \S+ since [-\d]+ [:\d]+", error.value.where)
    assert make_index().new == 12
    assert not (tmp_path / "index/.lock").exists()
