"""The same bytes for every kill, restart and number of processes; nothing lost, little memory."""

import itertools
import json
import os
import signal
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

from hardpairs.cli import embed as embed_command
from hardpairs.cli import mine as mine_command
from hardpairs.core import atomic, lease, temporary
from hardpairs.core.errors import UserError
from hardpairs.core.temporary import temporary_file
from hardpairs.data.embeddings import open_embeddings
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.images import decode
from hardpairs.data.manifest import read_manifest, write_manifest
from hardpairs.data.opening import open_samples
from hardpairs.embedding.embed import embed, embed_to_folder
from hardpairs.embedding.parts import Parts
from tests.embedding.colors import RANDOM, simple_encoders
from tests.helpers import ROOT, picture, torchrun
from tests.object_store import make_store
from tests.processes import start


def content(folder):
    files = (
        "manifest.json",
        "img_emb/img_emb_0.npy",
        "text_emb/text_emb_0.npy",
        "metadata/metadata_0.parquet",
    )
    assert sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    ) == sorted(files)
    return [(folder / name).read_bytes() for name in files]


@pytest.mark.parametrize(
    ("part_rows", "batch_size", "workers"),
    [(1, 4, 0), (3, 2, 0), (7, 7, 0), (8, 3, 2), (100, 1, 0), (100, 256, 2)],
)
def test_against_one_row_at_a_time(shards, tmp_path, capsys, part_rows, batch_size, workers):
    samples, encoders = open_samples(shards), simple_encoders()
    embed_to_folder(
        samples,
        encoders,
        tmp_path / "e",
        part_rows=part_rows,
        batch_size=batch_size,
        workers=workers,
    )
    assert (
        "20 pairs = 18 embedded + 2 rejected {'empty_caption': 1, 'missing_image': 1}"
        in capsys.readouterr().err
    )
    found = open_embeddings(tmp_path / "e", verify=True)
    assert (
        found.rows.tolist() == [row for row in range(20) if row not in (3, 9)]
        and found.num_samples == 20
    )
    for place, row in enumerate(found.rows.tolist()):
        image = encoders.image.encode(
            encoders.image.transform(decode(samples.image_bytes(row)))[None]
        )[0].numpy()
        text = encoders.text.encode(encoders.text.prepare([samples.caption(row)]))[0].numpy()
        np.testing.assert_allclose(found.image[place], image / np.linalg.norm(image), rtol=1e-5)
        np.testing.assert_allclose(found.text[place], text / np.linalg.norm(text), rtol=1e-5)
    assert isinstance(found.image, np.memmap) and found.image.dtype == np.float32
    assert (found.positives[:, 0] == samples.groups[found.rows]).all()
    assert len(content(tmp_path / "e")) == 4  # and nothing unfinished is left


def test_what_was_seen_is_kept_or_rejected(table, tmp_path, capsys):
    (tmp_path / "images/4.jpg").write_bytes(b"<html>")
    (tmp_path / "images/5.jpg").unlink()
    (tmp_path / "images/6.jpg").write_bytes(picture(6)[:-20])
    (tmp_path / "images/7.jpg").write_bytes(b"")
    table.write_text(table.read_text().replace("picture number 8\n", " \n"))
    for size in (2, 40):  # a whole part of bad rows; bad rows among good ones
        embed_to_folder(
            open_samples(table),
            simple_encoders(),
            tmp_path / f"{size}",
            part_rows=size,
            workers=0,
            max_bad_fraction=0.2,
        )
        manifest = open_embeddings(tmp_path / f"{size}", verify=True).manifest
        assert manifest["rejected"] == {
            "4": "not_an_image",
            "5": "missing_file",
            "6": "truncated_image",
            "7": "empty_image",
            "8": "empty_caption",
        }
        assert manifest["kept"] + len(manifest["rejected"]) == manifest["num_samples"] == 40
    assert content(tmp_path / "2")[1:3] == content(tmp_path / "40")[1:3]


def test_what_a_killed_process_left_goes_even_if_another_has_ended_its_work(table, tmp_path):
    """Two processes may join the parts; the second one looked for such files before."""
    out = tmp_path / "e"
    embed_to_folder(open_samples(table), simple_encoders(), out, workers=0)
    for folder in (out, out / "img_emb"):
        with pytest.raises(RuntimeError), temporary_file(folder / "manifest.json") as name:
            left = Path(name)
            temporary._forget()  # the lock ends with the process
            raise RuntimeError
        assert left.exists()
    temporary._forget()
    embed_to_folder(open_samples(table), simple_encoders(), out, workers=0)
    assert not [*out.rglob("*.tmp")] and len(content(out)) == 4


def test_memory_holds_one_part(table, tmp_path, monkeypatch):
    """Arrays of a part are gone when the next is saved, and when the next is read to be joined."""
    alive, saved, most = [], [], []

    def save(self, number, part):
        most.append(sum(reference() is not None for reference in alive))
        alive.extend(weakref.ref(array) for array in (part.image, part.text))
        saved.append(len(part.rows))
        original_save(self, number, part)

    def load(self, number, *names):
        most.append(sum(reference() is not None for reference in alive))
        found = original_load(self, number, *names)
        alive.extend(
            weakref.ref(array) for array in found.values() if isinstance(array, np.ndarray)
        )
        return found

    original_save, original_load = Parts.save, Parts.load
    monkeypatch.setattr(Parts, "save", save)
    monkeypatch.setattr(Parts, "load", load)
    embed_to_folder(
        open_samples(table), simple_encoders(), tmp_path / "e", part_rows=4, batch_size=2, workers=0
    )
    assert saved == [4] * 10
    assert max(most) <= 3  # image, text and rows of the part before


def test_killed_anywhere_the_same_command_goes_on(table, tmp_path):
    """After a real kill, finished parts are not made again, and the bytes are the same."""
    command = [
        "--csv",
        str(table),
        *RANDOM,
        "--part-rows",
        "3",
        "--batch-size",
        "2",
        "--workers",
        "0",
    ]
    embed_command.main([*command, "--out", str(tmp_path / "whole")])
    slow = (
        "import sys, time\nfrom hardpairs.cli import embed\nfrom hardpairs.embedding import parts\n"
        "save = parts.Parts.save\n"
        "def saved(*a):\n    save(*a)\n    time.sleep(.2)\n"
        "parts.Parts.save = saved\nembed.main(sys.argv[1:])"
    )
    out = tmp_path / "killed"
    line = ["python", "-c", slow, *command, "--out", str(out)]
    process = start(line, {}, ROOT, tmp_path / "printed", tmp_path / "errors")
    while process.is_alive() and len(list(out.glob(".unfinished/part_*.npz"))) < 4:
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    finished = {path.name: path.stat().st_mtime_ns for path in out.glob(".unfinished/part_*.npz")}
    assert 4 <= len(finished) < 14 and not (out / "manifest.json").exists()
    kept = []
    original = Parts.remove
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Parts, "remove", lambda self: (kept.append(dict(_times(out))), original(self))
        )
        embed_command.main([*command, "--out", str(out)])
    assert finished.items() <= kept[0].items() and len(kept[0]) == 14
    assert content(out) == content(tmp_path / "whole")


def _times(out):
    return {path.name: path.stat().st_mtime_ns for path in out.glob(".unfinished/part_*.npz")}


def test_stopped_at_every_file_operation(shards, tmp_path, monkeypatch):
    """Each fsync and rename may be the last; the next start finishes the folder, none before."""
    samples = open_samples(shards)
    options = {"part_rows": 8, "batch_size": 4, "workers": 0}
    embed_to_folder(samples, simple_encoders(), tmp_path / "whole", **options)
    expected, finished = content(tmp_path / "whole"), []
    for last in range(100):
        out, calls = tmp_path / str(last), itertools.count()

        def until(original, calls=calls, last=last):
            def call(*arguments):
                if next(calls) >= last:
                    raise Killed
                return original(*arguments)

            return call

        with monkeypatch.context() as patch:
            for name in ("fsync", "replace"):
                patch.setattr(atomic.os, name, until(getattr(os, name)))
            try:
                embed_to_folder(samples, simple_encoders(), out, **options)
            except Killed:
                finished.append((out / "manifest.json").exists())
            else:
                break
        embed_to_folder(samples, simple_encoders(), out, **options)
        assert content(out) == expected
    # Key, three parts, three files and the manifest: three operations each, and flushed folders.
    # The manifest is renamed last; after it folders are flushed, and nothing else.
    assert finished == sorted(finished) and finished.count(False) >= 23 and finished[-1]


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.fixture
def store(tmp_path, monkeypatch):
    return make_store(tmp_path.name, monkeypatch)


def in_store(store):
    """Return the content of each file under a URL, by its name there."""
    return {
        path.removeprefix(store.path).lstrip("/"): store.fs.cat_file(path)
        for path in store.fs.find(store.path)
    }


def test_a_store_gets_the_same_files(shards, tmp_path, store, monkeypatch, capsys):
    samples, options = open_samples(shards), {"part_rows": 3, "batch_size": 2, "workers": 0}
    embed_to_folder(samples, simple_encoders(), tmp_path / "e", **options)
    embed_to_folder(samples, simple_encoders(), store, **options)
    assert [*in_store(store).values()] == [
        path.read_bytes() for path in sorted((tmp_path / "e").rglob("*.*"))
    ]
    with monkeypatch.context() as patch:
        patch.setattr(Parts, "save", lambda *a: pytest.fail("a part was made"))
        embed_to_folder(samples, simple_encoders(), store, **options)
    assert "already embedded: memory://" in capsys.readouterr().err
    found = open_embeddings(store, allow_remote=True)
    assert found.num_samples == 20 and len(found.rows) == 18
    with pytest.raises(UserError, match="other embeddings: weights differs") as error:
        embed_to_folder(samples, simple_encoders(2.0), store, **options)
    assert error.value.code == 4


def test_stopped_at_every_change_of_a_store(shards, tmp_path, store, monkeypatch):
    """A process may end before any object appears or goes; the next start finishes the work."""
    samples, options = open_samples(shards), {"part_rows": 8, "batch_size": 4, "workers": 0}
    monkeypatch.setattr(lease, "is_gone", lambda holder: True)  # it was this process
    monkeypatch.setattr(lease.Leases, "_sign", lambda self: None)
    embed_to_folder(samples, simple_encoders(), store / "whole", **options)
    expected, finished = in_store(store / "whole"), []
    changes = (MemoryFile, "commit"), (MemoryFileSystem, "pipe_file"), (MemoryFileSystem, "rm_file")
    for last in range(100):
        out, calls = store / str(last), itertools.count()

        def until(original, calls=calls, last=last):
            def call(*arguments, **options):
                if next(calls) >= last:
                    raise Killed
                return original(*arguments, **options)

            return call

        with monkeypatch.context() as patch:
            for owner, name in changes:
                patch.setattr(owner, name, until(getattr(owner, name)))
            try:
                embed_to_folder(samples, simple_encoders(), out, **options)
            except Killed:
                finished.append("manifest.json" in in_store(out))
            else:
                break
        embed_to_folder(samples, simple_encoders(), out, **options)
        assert in_store(out) == expected
    # Key, three parts, three files and the manifest; four leases are made and given back.
    assert finished == sorted(finished) and finished.count(False) >= 16 and finished[-1]


def test_a_store_with_other_content_is_refused(shards, store):
    samples, options = open_samples(shards), {"part_rows": 8, "batch_size": 4, "workers": 0}
    (store / "foreign/img_emb/img_emb_0.npy").write_bytes(b"")
    with pytest.raises(UserError, match="made elsewhere") as error:
        embed_to_folder(samples, simple_encoders(), store / "foreign", **options)
    assert error.value.code == 4 and [*in_store(store / "foreign")] == ["img_emb/img_emb_0.npy"]
    Parts(store / "half", {"seed": 0}, 20, 8, 4).claim()
    with pytest.raises(UserError, match="unfinished embeddings of another kind") as error:
        embed_to_folder(samples, simple_encoders(), store / "half", **options)
    assert error.value.code == 4
    parts = Parts(store / "torn", {"seed": 0}, 20, 8, 4)
    parts.claim()
    (parts.folder / "part_00000001.npz").write_bytes(b"PK torn")
    assert parts.unfinished() == [0, 2]
    with pytest.raises(UserError, match="damaged unfinished embeddings") as error:
        parts.load(1, "rows")
    assert error.value.code == 4 and "part_00000001.npz" in error.value.where


def test_two_processes_give_the_same_bytes(shards, tmp_path):
    command = (
        "--shards",
        str(shards),
        *RANDOM,
        "--part-rows",
        "3",
        "--batch-size",
        "2",
        "--workers",
        "1",
        "--device",
        "cpu",
    )
    embed_command.main([*command, "--out", str(tmp_path / "one")])
    done = torchrun(2, "-m", "mining.embed", *command, "--out", str(tmp_path / "two"))
    assert done.returncode == 0 and "18 embedded + 2 rejected" in done.stderr, done.stderr
    assert done.stderr.count("pairs/s") <= 1  # of rank 0, where it made some
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_stale_or_foreign_folder_is_refused(table, shards, tmp_path):
    data, out = open_samples(table), tmp_path / "e"
    embed_to_folder(data, simple_encoders(), out, workers=0)
    whole = content(out)
    for other, what in (
        (open_samples(shards), "dataset_fingerprint, num_samples, groups"),
        (None, "weights"),
    ):
        with pytest.raises(UserError, match=f"other embeddings: {what} differ") as error:
            embed_to_folder(
                other or data, simple_encoders() if other else simple_encoders(2.0), out, workers=0
            )
        assert error.value.code == 4 and content(out) == whole
    (tmp_path / "foreign/img_emb").mkdir(parents=True)
    np.save(tmp_path / "foreign/img_emb/img_emb_0.npy", np.zeros((3, 2), np.float32))
    with pytest.raises(UserError, match="made elsewhere") as error:
        embed_to_folder(data, simple_encoders(), tmp_path / "foreign", workers=0)
    assert error.value.code == 4
    parts = Parts(tmp_path / "half", {"dataset_fingerprint": "0" * 64}, 40, 8, 4)
    parts.claim()
    with pytest.raises(
        UserError, match="unfinished embeddings of another kind: batch_size, dataset_fingerprint"
    ) as error:
        embed_to_folder(data, simple_encoders(), tmp_path / "half", workers=0, part_rows=8)
    assert error.value.code == 4 and (tmp_path / "half/.unfinished/key.json").exists()


@pytest.mark.parametrize("part_rows", [2, 40])
def test_too_many_bad_pictures_stop_it_and_a_larger_share_goes_on(
    table, tmp_path, monkeypatch, part_rows
):
    command = [
        "--csv",
        str(table),
        *RANDOM,
        "--workers",
        "0",
        "--part-rows",
        str(part_rows),
        "--out",
    ]
    for i in (1, 2, 20):
        (tmp_path / f"images/{i}.jpg").write_bytes(b"<html>")
    embed_command.main([*command, str(tmp_path / "handful")])
    assert len(open_embeddings(tmp_path / "handful").rows) == 37
    (tmp_path / "images/21.jpg").write_bytes(b"")
    out = tmp_path / "e"
    with pytest.raises(
        UserError, match="4 of 40 images cannot be read, more than 0.01 of them"
    ) as error:
        embed_command.main([*command, str(out)])
    assert (
        error.value.code == 3
        and error.value.why == "empty_image 1, not_an_image 3"
        and "images/1.jpg" in error.value.where
    )
    made = len(_times(out))
    assert (
        made == (11 if part_rows == 2 else 1) and not (out / "manifest.json").exists()
    )  # no part is made in vain
    with monkeypatch.context() as patch:
        patch.setattr(Parts, "save", lambda *a: pytest.fail("a part was made"))
        with pytest.raises(UserError, match="4 of 40"):
            embed_command.main([*command, str(out)])
    embed_command.main([*command, str(out), "--max-bad-fraction", ".1"])
    assert len(open_embeddings(out).rows) == 36
    with pytest.raises(UserError, match=r"must lie in \[0, 1\]") as error:
        embed_command.main([*command, str(out), "--max-bad-fraction", "nan"])
    assert error.value.code == 2


def test_nothing_left_to_embed(table, tmp_path):
    for file in (tmp_path / "images").iterdir():
        file.write_bytes(b"no")
    with pytest.raises(UserError, match="no pair could be embedded") as error:
        embed_to_folder(
            open_samples(table), simple_encoders(), tmp_path / "e", workers=0, max_bad_fraction=1
        )
    assert error.value.code == 3 and "'not_an_image': 40" in str(error.value)
    (tmp_path / "captions.json").write_text('[{"file_name": "a.jpg", "caption": ""}]')
    with pytest.raises(UserError, match="no row of the data can be used") as error:
        embed_to_folder(
            open_samples(tmp_path / "captions.json"), simple_encoders(), tmp_path / "f", workers=0
        )
    assert error.value.code == 3


def test_numbers_that_are_none_are_never_written(table, tmp_path):
    with pytest.raises(UserError, match="not finite") as error:
        embed_to_folder(
            open_samples(table), simple_encoders(float("nan")), tmp_path / "e", workers=0
        )
    assert error.value.code == 6 and not list(tmp_path.rglob("*.np[yz]"))


def test_pictures_elsewhere_are_other_data(tmp_path, monkeypatch):
    entries = [{"file_name": f"{i}.jpg", "caption": f"picture {i}"} for i in range(3)]
    (tmp_path / "captions.json").write_text(json.dumps(entries))
    for root, first in (("a", 0), ("b", 10)):
        (tmp_path / root).mkdir()
        for i in range(3):
            (tmp_path / root / f"{i}.jpg").write_bytes(picture(first + i))
            (tmp_path / root / f"{i}.txt").write_text(f"picture {i}")
    monkeypatch.chdir(tmp_path)
    for named in ("captions", "folder"):
        a, a_again, b = (
            open_samples("captions.json", image_root=root)
            if named == "captions"
            else open_samples(root)
            for root in ("a", tmp_path / "a", "b")
        )
        out = tmp_path / f"out_{named}"
        embed_to_folder(a, simple_encoders(), out, workers=0)
        embed_to_folder(a_again, simple_encoders(), out, workers=0)
        with pytest.raises(UserError, match="other embeddings: first_image differs") as error:
            embed_to_folder(b, simple_encoders(), out, workers=0)
        assert error.value.code == 4
        unfinished = Parts(
            tmp_path / f"half_{named}", {"first_image": str(tmp_path / "a/0.jpg")}, 3, 8192, 256
        )
        unfinished.claim()
        with pytest.raises(UserError, match="another kind: .*first_image") as error:
            embed_to_folder(b, simple_encoders(), unfinished.out, workers=0)
        assert error.value.code == 4


def test_other_groups_are_other_data(table, tmp_path):
    header, *rows = table.read_text().splitlines()
    out = tmp_path / "e"

    def write(name):
        table.write_text(
            "\n".join([f"{header},group", *(f"{row},{name(i)}" for i, row in enumerate(rows))])
        )

    for name in (
        lambda i: f"x{i // 2}",
        lambda i: f"other {i // 2}",
    ):  # the same rows belong together
        write(name)
        embed_to_folder(open_samples(table), simple_encoders(), out, workers=0)
    write(lambda i: i // 3)
    with pytest.raises(UserError, match="other embeddings: groups differs") as error:
        embed_to_folder(open_samples(table), simple_encoders(), out, workers=0)
    assert error.value.code == 4
    _forget(out, "groups")
    embed_to_folder(
        open_samples(table), simple_encoders(), out, workers=0
    )  # a folder that does not say them passes


def _forget(folder, *names):
    """Makes a manifest of those that were written before they said this."""
    manifest = read_manifest(folder)
    write_manifest(
        folder,
        {key: value for key, value in manifest.items() if key not in (*names, "files", "sha256")},
        manifest["files"],
    )


def test_in_memory_is_the_same(shards, tmp_path):
    samples = open_samples(shards)
    found = embed(samples, simple_encoders(), batch_size=4, workers=0)
    embed_to_folder(samples, simple_encoders(), tmp_path / "e", part_rows=5, workers=0)
    stored = open_embeddings(tmp_path / "e")
    np.testing.assert_allclose(found.image, stored.image, rtol=1e-6)
    assert found.rows.tolist() == stored.rows.tolist() and found.rejected == {
        3: "empty_caption",
        9: "missing_image",
    }


def test_mining_embeds_with_all_its_processes(shards, tmp_path, monkeypatch):
    """Each part, which is small here, is made once, by one of the ranks."""
    monkeypatch.setenv("HARDPAIRS_DATA", str(shards.parent))
    saved = tmp_path / "saved"  # one file per part: lines that two processes print can mix
    saved.mkdir()
    monkeypatch.setenv("SAVED", str(saved))
    told = (
        "import os, pathlib, sys\nfrom hardpairs.cli import mine\n"
        "from hardpairs.embedding import embed, parts\n"
        "embed.embed_to_folder.__kwdefaults__['part_rows'] = 4\n"
        "save = parts.Parts.save\ndef saved(self, number, part):\n"
        "    rank = os.environ['RANK']\n"
        "    (pathlib.Path(os.environ['SAVED']) / f'{number}-{rank}').touch()\n"
        "    save(self, number, part)\n"
        "parts.Parts.save = saved\nmine.main(sys.argv[1:])\n"
    )
    (tmp_path / "told.py").write_text(told)
    command = [
        "--dataset",
        "shards",
        "--topk",
        "3",
        "--duplicate-threshold",
        "2",
        *RANDOM,
        "--device",
        "cpu",
        "--save_path",
    ]
    done = torchrun(2, str(tmp_path / "told.py"), *command, str(tmp_path / "two"))
    assert done.returncode == 0 and "20 pairs = 18 embedded + 2 rejected" in done.stderr, (
        done.stderr
    )
    made = sorted(path.name.partition("-")[0] for path in saved.iterdir())
    assert made == [*"01234"]
    mine_command.main([*command, str(tmp_path / "one")])
    table = "shards_hard_sample.csv"
    assert (tmp_path / "one" / table).read_bytes() == (tmp_path / "two" / table).read_bytes()


def test_mining_embeds_a_named_dataset_first(shards, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HARDPAIRS_DATA", str(shards.parent))
    out = str(tmp_path / "out")
    command = [
        "--dataset",
        "shards",
        "--save_path",
        out,
        "--topk",
        "3",
        "--duplicate-threshold",
        "2",
        *RANDOM,
        "--device",
        "cpu",
    ]
    mine_command.main([*command, "--start_tar", "0", "--end_tar", "1"])
    assert "12 pairs = 10 embedded + 2 rejected" in capsys.readouterr().err
    table = HardPairTable.open(tmp_path / "out/shards_hard_pairs", verify=True)
    assert len(table.lengths) == 12 and table.rejected == {3: "empty_caption", 9: "missing_image"}
    mine_command.main([*command, "--start_tar", "0", "--end_tar", "1"])
    assert "already embedded" in capsys.readouterr().err
