"""The command: where embeddings come from, what it prints, what it refuses; with HELIP's command line."""

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardpairs.core.lock import locked
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.mining.options import REMOVED_BY, MiningOptions
from tests.mining.command import mine
from tests.mining.searches import themed


@pytest.fixture
def arrays(tmp_path):
    """a.npy and b.npy: 60 image and text embeddings."""
    image, text = themed(60, 12).astype(np.float16), themed(60, 8, 1).astype(np.float16)
    np.save(tmp_path / "a.npy", image)
    np.save(tmp_path / "b.npy", text)
    return image, text


def pair(folder):
    return "--image-embeddings", folder / "a.npy", "--text-embeddings", folder / "b.npy"


def test_embeddings_made_elsewhere(arrays, tmp_path):
    """A pair of .npy files, a folder of clip-retrieval in two parts, parquet columns in one file and in parts: the same table."""
    image, text = arrays
    for part, rows in enumerate((slice(0, 25), slice(25, 60))):
        for kind, array in (
            ("img_emb", image),
            ("text_emb", text),
        ):  # clip-retrieval: metadata without row numbers, or none
            (tmp_path / "cr" / kind).mkdir(parents=True, exist_ok=True)
            np.save(tmp_path / "cr" / kind / f"{kind}_{part}.npy", array[rows])
        (tmp_path / "parts").mkdir(exist_ok=True)
        lists = pa.FixedSizeListArray.from_arrays(pa.array(text[rows].ravel(), pa.float16()), 8)
        pq.write_table(
            pa.table({"image": image[rows].astype(np.float32).tolist(), "y": lists}),
            tmp_path / f"parts/{part}.parquet",
        )
    pq.write_table(
        pa.concat_tables([pq.read_table(path) for path in sorted((tmp_path / "parts").iterdir())]),
        tmp_path / "one.parquet",
    )
    named = pq.read_table(tmp_path / "one.parquet").rename_columns(
        ["image_embedding", "text_embedding"]
    )
    pq.write_table(named, tmp_path / "named.parquet")
    sources = {
        "npy": pair(tmp_path),
        "folder": ("--embeddings", tmp_path / "cr"),
        "named": ("--embeddings", tmp_path / "named.parquet"),
        "parquet": (
            "--image-embeddings",
            f"{tmp_path}/one.parquet:image",
            "--text-embeddings",
            f"{tmp_path}/one.parquet:y",
        ),
        "parts": (
            "--image-embeddings",
            f"{tmp_path}/parts:image",
            "--text-embeddings",
            f"{tmp_path}/parts:y",
        ),
    }
    tables = {}
    for name, source in sources.items():
        done = mine("--dataset", "x", "--save_path", tmp_path / name, "--topk", "5", *source)
        assert done.returncode == 0, done.stderr
        tables[name] = (tmp_path / name / "x_hard_sample.csv").read_bytes()
    assert len(set(tables.values())) == 1 and tables["npy"].count(b"\n") == 60


@pytest.mark.parametrize(
    ("spoil", "code", "says"),
    [
        (lambda a: a[:-1], 4, "59 image rows, 60 text rows"),
        (lambda a: np.where(np.arange(60)[:, None] == 7, np.nan, a), 6, "rows [7]"),
        (lambda a: a.astype(int), 3, "2-d floating array"),
        (lambda a: a.astype(object), 3, "not a readable .npy"),
        (lambda a: a[:, 0], 3, "2-d floating array"),
        (lambda a: a[:0], 4, "0 image rows, 60 text rows"),
    ],
)
def test_bad_embeddings(arrays, tmp_path, spoil, code, says):
    np.save(tmp_path / "a.npy", spoil(arrays[0]), allow_pickle=True)
    done = mine("--dataset", "x", "--save_path", tmp_path / "out", *pair(tmp_path))
    assert done.returncode == code and says in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out/x_hard_sample.csv").exists()


def test_columns_that_cannot_be_told_apart(arrays, tmp_path):
    pq.write_table(
        pa.table({"a": arrays[0].astype(np.float32).tolist(), "b": [0] * 60}),
        tmp_path / "one.parquet",
    )
    done = mine(
        "--dataset", "x", "--save_path", tmp_path / "o", "--embeddings", tmp_path / "one.parquet"
    )
    assert (
        done.returncode == 3
        and "columns of vectors: a" in done.stderr
        and "one.parquet:COLUMN" in done.stderr
    )


def test_what_it_prints(arrays, tmp_path):
    """The plan and the expected time first; what each filter removed last, the same numbers as in the manifest."""
    limits = ("--max-score", "0.5", "--range-min", "1", "--topk", "4", "--max-memory", "1G")
    done = mine("--dataset", "x", "--save_path", tmp_path, *limits, *pair(tmp_path))
    first, *_, last, _ = done.stderr.splitlines()
    assert (
        first.startswith("plan: 60 rows, 60 candidates, all lists at once")
        and ", about 0 s" in first
    )
    counts = HardPairTable.open(tmp_path / "x_hard_pairs", verify=True).manifest["counts"]
    assert (
        counts["candidates"] == counts["kept"] + sum(counts["removed"].values())
        and counts["removed"]["max_score"] > 0
    )
    assert last.startswith(f"{counts['candidates']} candidates = {counts['kept']} kept + ")
    assert set(counts["removed"]) == set(REMOVED_BY) and all(
        f"{name} {counts['removed'][name]}" in last for name in REMOVED_BY
    )
    assert json.loads(done.stdout)["rows"] == 60


def test_unusable_rows_are_left_out_and_named(arrays, tmp_path):
    image = arrays[0].copy()
    image[5], image[8, 0] = 0, np.inf
    np.save(tmp_path / "a.npy", image)
    done = mine(
        "--dataset",
        "x",
        "--save_path",
        tmp_path,
        "--topk",
        "50",
        "--drop-nonfinite",
        *pair(tmp_path),
    )
    table = HardPairTable.open(tmp_path / "x_hard_pairs", verify=True)
    assert done.returncode == 0 and table.rejected == {5: "zero_norm", 8: "non_finite"}
    assert table.lengths[5] == table.lengths[8] == 0 and not np.isin(table.indices, (5, 8)).any()


def test_the_papers_noise_rule_empties_short_lists(arrays, tmp_path):
    plain, ruled = tmp_path / "plain", tmp_path / "ruled"
    for out, rule in ((plain, "none"), (ruled, "paper")):
        mine(
            "--dataset",
            "x",
            "--save_path",
            out,
            "--topk",
            "20",
            "--noise-rule",
            rule,
            *pair(tmp_path),
        )
    before, after = (HardPairTable.open(out / "x_hard_pairs") for out in (plain, ruled))
    assert (before.lengths < 20).any() and (before.lengths == 20).any()
    assert (after.lengths == np.where(before.lengths == 20, 20, 0)).all()
    counts = after.manifest["counts"]
    assert counts["removed"]["noise_rule"] == before.lengths.sum() - after.lengths.sum()
    assert (
        counts["candidates"]
        == counts["kept"] + sum(counts["removed"].values())
        == before.manifest["counts"]["candidates"]
    )
    rule = ("--topk", "59", "--noise-rule", "paper")
    done = mine("--dataset", "x", "--save_path", tmp_path / "none", *rule, *pair(tmp_path))
    assert "no row has a hard pair; --noise-rule paper removed" in done.stderr
    assert "a model whose" not in done.stderr


def helip(folder, *more):
    return (
        "--dataset",
        "cc3m",
        "--save_path",
        folder / "out",
        "--topk",
        "5",
        "--mining_method",
        "image",
        "--approx",
        "40",
        *more,
    )


def test_helips_command_line(arrays, tmp_path, monkeypatch):
    embeddings = tmp_path / "data/cc3m/embeddings"
    for kind, array in (("img_emb", arrays[0]), ("text_emb", arrays[1])):
        (embeddings / kind).mkdir(parents=True)
        np.save(embeddings / kind / f"{kind}_0.npy", array)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARDPAIRS_DATA", str(tmp_path / "data"))
    assert mine(*helip(tmp_path)).returncode == 0
    by_folder = (tmp_path / "out/cc3m_hard_sample.csv").read_bytes()
    assert by_folder.count(b"\n") == 60
    monkeypatch.delenv("HARDPAIRS_DATA")
    done = mine(*helip(tmp_path))
    assert done.returncode == 2 and "HARDPAIRS_DATA" in done.stderr
    (tmp_path / "datasets.yaml").write_text(f"cc3m: {{embeddings: {embeddings}}}\n")
    assert (
        mine(*helip(tmp_path)).returncode == 0
        and (tmp_path / "out/cc3m_hard_sample.csv").read_bytes() == by_folder
    )


def test_helips_command_line_without_embeddings(shards, tmp_path, monkeypatch):
    """HELIP's encoder of captions is not installed: it says so, and which flags help."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets.yaml").write_text(f"cc3m: {{shards: {shards}}}\n")
    done = mine(*helip(tmp_path, "--start_tar", "0", "--end_tar", "1"))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    helps = ("pip install sentence-transformers", "--model", "--pretrained", "--embeddings")
    assert all(words in done.stderr for words in helps)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--embeddings", "E", "--model", "M"), "give either"),
        (("--image-embeddings", "A"), "give either"),
        (("--embeddings", "E", "--end_tar", "3"), "choose shards to embed"),
        (
            ("--embeddings", "E", "--pretrained", "nosuch.pt"),
            "--pretrained names the weights of --model",
        ),
        (("--embeddings", "E", "--commit-seconds", "-1"), "--commit-seconds must be 0 or more"),
        (("--embeddings", "E", "--commit-seconds", "nan"), "--commit-seconds must be 0 or more"),
        (("--embeddings", "E", "--save_path", "README.md"), "--save-path is no folder"),
        (("--embeddings", "E", "--save_path", "README.md/out"), "--save-path is no folder"),
        (("--embeddings", "E", "--topk", "0"), "must be a whole number from 1"),
        (("--embeddings", "E", "--approx", "0"), "must be a whole number from 1"),
        (("--embeddings", "E", "--approx-targets", "9"), "--approx-targets needs --approx"),
        (("--embeddings", "E", "--target-recall", "0.9"), "--target-recall needs the --candidates"),
        (("--embeddings", "E", "--candidates", "ivf", "--approx", "9"), "give one"),
        (("--embeddings", "E", "--max-memory", "lots"), "a size such as 800M"),
        (("--embeddings", ".", "--device", "abacus"), "no such device"),
        (("--embeddings", "E", "--mining_method", "audio"), "invalid choice"),
        (
            ("--embeddings", "E", "--duplicate-threshold", "nan"),
            "--duplicate-threshold must be above 0",
        ),
        (("--dataset", "../x"), "names files"),
    ],
)
def test_wrong_flags(flags, says, tmp_path):
    done = mine("--dataset", "x", "--save_path", tmp_path, *flags)
    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--relative-margin", "0.1"), "12 and 8 wide"),
        (("--mining-method", "cross-modal"), "--mining-method cross-modal compares images"),
        (("--range-min", "5", "--range-max", "5"), "--range-min must be below --range-max"),
        (
            ("--mining_method", "text", "--max-image-score", "0.5"),
            "does not look at the image similarity",
        ),
        (("--max-score", "1.5"), "--max-score must be at least -1"),
        (("--image-weight", "2"), "--image-weight must be at least 0"),
    ],
)
def test_filters_that_do_not_go_with_the_embeddings(arrays, tmp_path, flags, says):
    done = mine("--dataset", "x", "--save_path", tmp_path / "o", *flags, *pair(tmp_path))
    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr


def test_too_little_memory(arrays, tmp_path):
    done = mine(
        "--dataset", "x", "--save_path", tmp_path / "o", "--max-memory", "1M", *pair(tmp_path)
    )
    assert done.returncode == 5 and "--max-memory" in done.stderr and "at least" in done.stderr


def test_the_second_of_two_jobs_is_refused(arrays, tmp_path):
    flags = ("--dataset", "x", "--save_path", tmp_path / "o", *pair(tmp_path))
    with locked(tmp_path / "o/.x.lock", "it"):
        done = mine(*flags)
    assert done.returncode == 2 and "another job works on the hard pairs of x" in done.stderr
    assert mine(*flags).returncode == 0 and not (tmp_path / "o/.x.lock").exists()


def test_options_of_mining_stay_few():
    """A new flag is a decision: this list is changed with it."""
    names = {field.name for field in dataclasses.fields(MiningOptions)}
    assert names == {
        *(
            "top_k",
            "method",
            "noise_rule",
            "approx",
            "approx_targets",
            "candidates",
            "target_recall",
            "seed",
            "drop_nonfinite",
            "duplicate_threshold",
            "similarity_floor",
        ),
        *(
            "max_score",
            "min_score",
            "max_image_score",
            "min_image_score",
            "max_text_score",
            "min_text_score",
        ),
        *("absolute_margin", "relative_margin", "range_min", "range_max", "image_weight"),
    }
