"""Files of weights: every flipped bit is noticed, and what holds code, NaN or nothing is refused in our words."""

import io
import pickle
import random
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils import serialization

from hardpairs.cli import embed, evaluate, merge, photos
from hardpairs.core.errors import UserError
from hardpairs.models import weight_files
from hardpairs.models.checkpoint import mapped
from hardpairs.models.weight_files import read_weights_file, save_checkpoint, save_safetensors
from tests.helpers import in_process, run

WEIGHTS = {"a": torch.arange(60.0).reshape(6, 10), "b": torch.ones(3, dtype=torch.float16)}
CONTENT = {"epoch": 2, "name": "run", "state_dict": WEIGHTS}


@pytest.fixture(params=["ours.pt", "ours.safetensors"])
def sealed(request, tmp_path):
    path = tmp_path / request.param
    if path.suffix == ".pt":
        save_checkpoint(CONTENT, path)
    else:
        save_safetensors(WEIGHTS, path)
    return path


def refused(path) -> str:
    """The message of a file that is refused, whatever was found of it before."""
    weight_files._verified.clear()
    with pytest.raises(UserError) as error:
        read_weights_file(path)
    assert error.value.code == 4 and "weights_only" not in str(error.value)
    return str(error.value)


def test_sealed_files_are_read_by_us_and_by_others(sealed):
    ours = read_weights_file(sealed)
    is_pt = sealed.suffix == ".pt"
    theirs = torch.load(sealed, weights_only=True) if is_pt else load_file(sealed)
    for content in (ours, theirs):
        weights = content["state_dict"] if is_pt else content
        assert all(torch.equal(weights[name], value) for name, value in WEIGHTS.items())
    if is_pt:
        assert zipfile.ZipFile(sealed).testzip() is None
        assert torch.load(sealed, weights_only=True, mmap=True)["epoch"] == 2


def test_every_flipped_bit_of_a_sealed_file_is_noticed(sealed):
    data, rng = sealed.read_bytes(), random.Random(0)
    for place in range(0, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 1 << rng.randrange(8)
        sealed.write_bytes(changed)
        try:
            weight_files._verified.clear()
            read_weights_file(sealed)
        except UserError as error:
            assert error.code == 4
        else:
            pytest.fail(f"byte {place} of {len(data)}: {data[place - 9 : place + 9]!r}")


def test_cuts_of_a_sealed_file_are_noticed(sealed):
    data = sealed.read_bytes()
    for size in range(0, len(data), 97):
        sealed.write_bytes(data[:size])
        refused(sealed)


def test_large_writes_and_small_ones_give_the_same_seal(tmp_path):
    save_checkpoint({"state_dict": {"a": torch.zeros(3_000_000)}}, tmp_path / "large.pt")
    assert len(read_weights_file(tmp_path / "large.pt")["state_dict"]["a"]) == 3_000_000


def test_a_foreign_file_is_verified_by_its_checksums(tmp_path):
    path = tmp_path / "theirs.pt"
    torch.save(CONTENT, path)
    assert read_weights_file(path)["epoch"] == 2
    data = bytearray(path.read_bytes())
    data[data.find(WEIGHTS["a"].numpy().tobytes()) + 41] ^= 4
    path.write_bytes(data)
    assert "the checksum of its entry" in refused(path)
    with serialization.config.patch({"save.compute_crc32": False}):
        torch.save(CONTENT, path)
    assert read_weights_file(path)["epoch"] == 2
    torch.save(CONTENT, path, _use_new_zipfile_serialization=False)
    assert read_weights_file(path)["epoch"] == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused(tmp_path, value, dtype):
    weights = torch.zeros(2, 3, dtype=dtype)
    weights[1, 2] = value
    torch.save({"state_dict": {"x": weights}}, tmp_path / "a.pt")
    assert "the weight x holds NaN or infinity" in refused(tmp_path / "a.pt")
    save_safetensors({"x": weights}, tmp_path / "a.safetensors")
    assert "the weight x holds NaN or infinity" in refused(tmp_path / "a.safetensors")


def test_masks_may_be_infinite_and_entries_of_any_size_are_looked_at_cheaply(tmp_path):
    weights = {
        "text.attn_mask": torch.full((3, 3), float("-inf")).triu(1),
        "claims": torch.zeros(1).expand(10**12),
        "none": torch.zeros(0),
        "numbers": torch.arange(3),
        "small": torch.ones(4).to(torch.float8_e4m3fn),
    }
    torch.save({"state_dict": weights, "optimizer": {"a": float("nan")}}, tmp_path / "a.pt")
    assert len(read_weights_file(tmp_path / "a.pt")["state_dict"]) == 5


def test_what_is_no_file_of_weights_is_told_in_our_words(tmp_path):
    class Canary:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    def saved(name, content, **options):
        torch.save(content, tmp_path / name, **options)
        return refused(tmp_path / name)

    assert "holds code or objects (" in saved("code.pt", {"state_dict": Canary()})
    assert "holds code or objects (" in saved(
        "old.pt", {"a": Canary()}, _use_new_zipfile_serialization=False
    )
    assert "holds code or objects (numpy" in saved("numpy.pt", {"a": np.float64(0.5)})
    assert not (tmp_path / "ran").exists()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "script.pt")
    assert "TorchScript" in refused(tmp_path / "script.pt")
    for name, data in (("text.pt", b"<html>"), ("text.safetensors", b"<html>"), ("a.pt", b"")):
        (tmp_path / name).write_bytes(data)
        assert ("empty" if not data else "torn") in refused(tmp_path / name)


def test_a_message_with_a_long_name_is_cut(tmp_path):
    """PyTorch searches its message in a time that grows with the square of the name's length."""
    (tmp_path / "long.pt").write_bytes(b"\x80\x02c" + b"a" * 20_000 + b"\nb\n.")
    assert "holds code or objects (aaa" in refused(tmp_path / "long.pt")
    with pytest.raises(pickle.UnpicklingError) as error:
        torch.load(tmp_path / "long.pt", weights_only=True)
    assert len(str(error.value)) < 10_000


def test_an_archive_of_several_disks_is_not_mapped(tmp_path):
    locator = b"PK\x06\x07" + bytes(8) + (5).to_bytes(8, "little") + (2).to_bytes(4, "little")
    (tmp_path / "disks.pt").write_bytes(bytes(80) + locator[:20] + b"PK\x05\x06" + bytes(18))
    with mapped(tmp_path / "disks.pt"):
        assert refused(tmp_path / "disks.pt")


def test_compressed_entries_are_refused_before_they_are_read(tmp_path):
    stored = io.BytesIO()
    torch.save({"state_dict": {"a": torch.zeros(1_000_000)}}, stored)
    with zipfile.ZipFile(stored) as whole, zipfile.ZipFile(tmp_path / "a.pt", "w") as bomb:
        for entry in whole.infolist():
            bomb.writestr(entry.filename, whole.read(entry), zipfile.ZIP_DEFLATED)
    assert (tmp_path / "a.pt").stat().st_size < 100_000
    assert "compressed" in refused(tmp_path / "a.pt")


def test_a_file_that_changes_is_verified_again(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(CONTENT, path)
    read_weights_file(path)
    data = bytearray(path.read_bytes())
    data[data.find(WEIGHTS["a"].numpy().tobytes()) + 9] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="sha256"):
        read_weights_file(path)


def flipped(checkpoint, folder) -> str:
    """A copy of a checkpoint with one bit of its weights changed."""
    data = bytearray(checkpoint.read_bytes())
    data[len(data) // 2] ^= 4
    (folder / "flipped.pt").write_bytes(data)
    return str(folder / "flipped.pt")


def test_commands_notice_a_flipped_bit(checkpoint, table, tmp_path):
    bad, images = flipped(checkpoint, tmp_path), table.parent / "images"
    model = ("--model", "hardpairs-test", "--device", "cpu")
    for main, *line in (
        (embed.main, *model, "--pretrained", bad, "--csv", table, "--out", tmp_path / "e"),
        (evaluate.main, *model, "--pretrained", bad, "--data", table, "--out", tmp_path / "v"),
        (merge.main, *model, checkpoint, bad, "--val-data", table, "--out", tmp_path / "m.pt"),
        (merge.main, *model, bad, checkpoint, "--val-data", table, "--out", tmp_path / "m.pt"),
        (photos.main, "index", images, *model, "--pretrained", bad, "--out", tmp_path / "i"),
    ):
        done = in_process(main, *line)
        assert done.returncode == 4 and "the checksum of its entry" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    assert not [name for name in "evi" if list((tmp_path / name).glob("[!.]*"))]


@pytest.mark.parametrize("flag", ["--resume", "--pretrained"])
def test_the_trainer_notices_a_flipped_bit(checkpoint, table, tmp_path, flag):
    bad = flipped(checkpoint, tmp_path)
    line = "--model hardpairs-test --device cpu --batching random --batch-size 8 --csv-separator ,"
    run_of = (
        "--epochs",
        "1",
        "--workers",
        "0",
        "--train-data",
        str(table),
        "--logs",
        str(tmp_path / "logs"),
        flag,
        bad,
    )
    done = run("python", "-m", "training.main", *line.split(), *run_of, cwd=tmp_path)
    assert done.returncode == 4 and "the checksum of its entry" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_the_trainer_seals_its_checkpoints_and_passes_over_damaged_ones(table, tmp_path):
    line = "--model hardpairs-test --device cpu --batching random --batch-size 8 --csv-separator ,"
    run_of = ("--workers", "0", "--train-data", str(table), "--logs", str(tmp_path), "--name", "r")
    words = ("python", "-m", "training.main", *line.split(), *run_of)
    done = run(*words, "--epochs", "2", "--max-steps", "4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    newest = tmp_path / "r/checkpoints/epoch_2.pt"
    data = newest.read_bytes()
    assert data[-weight_files.SEAL_BYTES :].startswith(weight_files.MARK)
    newest.write_bytes(data[:41] + bytes([data[41] ^ 1]) + data[42:])  # no checksum of the archive
    done = run(*words, "--epochs", "2", "--max-steps", "4", "--resume", "latest", cwd=tmp_path)
    assert done.returncode == 0 and "Ignoring" in done.stderr, done.stderr
    assert "epoch_1.pt' (epoch 1)" in done.stderr
