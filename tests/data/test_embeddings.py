"""Embeddings on disk: written part by part, and those that others made."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.embeddings import (
    EmbeddedRows,
    open_embeddings,
    write_embeddings,
    write_streamed,
)
from hardpairs.mining.dataset import mine_dataset
from hardpairs.mining.options import MiningOptions


def vectors(count=12, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 4)).astype(np.float32), rng.normal(size=(count, 6)).astype(
        np.float32
    )


def test_parts_make_the_same_arrays_as_one(tmp_path):
    image, text = vectors()
    rows, captions, keys = (
        np.arange(12) * 2,
        [f"c{i}" for i in range(12)],
        [f"k{i}" for i in range(12)],
    )
    manifest = {"num_samples": 24}
    write_embeddings(
        tmp_path / "one",
        image=image,
        text=text,
        rows=rows,
        captions=captions,
        keys=keys,
        groups=rows,
        manifest=manifest,
    )
    cuts = [slice(0, 5), slice(5, 5), slice(5, 12)]
    parts = (
        EmbeddedRows(image[c], text[c], rows[c], captions[c], keys[c], rows[c], rows[c])
        for c in cuts
    )
    write_streamed(
        tmp_path / "many",
        parts,
        shapes=(image.shape, text.shape),
        dtype=np.float32,
        manifest=manifest,
    )
    for name in ("img_emb/img_emb_0.npy", "text_emb/text_emb_0.npy"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()
    one, many = (open_embeddings(tmp_path / name, verify=True) for name in ("one", "many"))
    assert (
        np.array_equal(one.rows, many.rows)
        and np.array_equal(one.positives, many.positives)
        and isinstance(many.image, np.memmap)
    )
    assert np.array_equal(np.load(tmp_path / "many/img_emb/img_emb_0.npy"), image)


def columns(image, text, **more):
    return pa.table({"image_embedding": list(image), "TXT_vec": list(text), **more})


def test_two_columns_of_a_parquet_file(tmp_path):
    image, text = vectors()
    pq.write_table(
        columns(image, text, caption=["same"] * 2 + [f"c{i}" for i in range(10)], url=["u"] * 12),
        tmp_path / "a.parquet",
    )
    found = open_embeddings(tmp_path / "a.parquet")
    assert (
        np.array_equal(found.image, image)
        and np.array_equal(found.text, text)
        and found.num_samples == 12
    )
    assert (
        found.positives[0] == found.positives[1] != found.positives[2] and found.fingerprint is None
    )
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(image.ravel()), 4)
    pq.write_table(pa.table({"img": fixed, "caption_emb": list(text)}), tmp_path / "b.parquet")
    assert np.array_equal(open_embeddings(tmp_path / "b.parquet").image, image)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda image, text: pa.table({"image": list(image)}), "columns of vectors: image"),
        (
            lambda image, text: pa.table(
                {"image": list(image), "img": list(image), "text": list(text)}
            ),
            "not one column",
        ),
        (
            lambda image, text: columns([*image[:-1], image[-1][:2]], text),
            "row 11 has 2 numbers, row 0 has 4",
        ),
        (lambda image, text: columns([*image[:-1], None], text), "row 11 is empty"),
        (lambda image, text: columns(image.astype(int), text), "lists of floating numbers"),
    ],
)
def test_other_parquet_files_are_refused(tmp_path, content, says):
    pq.write_table(content(*vectors()), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=says) as error:
        open_embeddings(tmp_path / "a.parquet")
    assert error.value.code == 3
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    with pytest.raises(UserError, match="not a readable parquet") as error:
        open_embeddings(tmp_path / "a.parquet")
    assert error.value.code == 3


def test_a_margin_needs_one_space(tmp_path):
    image, _ = vectors()
    rows = np.arange(12)
    options = {"captions": [str(i) for i in rows], "keys": [str(i) for i in rows], "groups": rows}
    write_embeddings(
        tmp_path,
        image=image,
        text=image,
        rows=rows,
        **options,
        manifest={"num_samples": 12, "one_space": False},
    )
    with pytest.raises(UserError, match="separate encoders") as error:
        mine_dataset(open_embeddings(tmp_path), MiningOptions(top_k=2, absolute_margin=0.1))
    assert error.value.code == 2


def test_rows_of_one_group_image_or_caption_are_known_positives(tmp_path):
    rows, vectors = np.arange(4), np.eye(4, 3, dtype=np.float32)
    facts = {
        "captions": ["a", "b", "c", "a"],
        "keys": list("wxyz"),
        "groups": np.array([1, 1, 2, 3]),
        "images": np.array([5, 6, 5, 7]),
    }
    write_embeddings(
        tmp_path, image=vectors, text=vectors, rows=rows, **facts, manifest={"num_samples": 4}
    )
    first, *others = open_embeddings(tmp_path).positives
    assert [(first == other).nonzero()[0].tolist() for other in others] == [[0], [1], [2]]


def foreign(folder, *metadata, count=6):
    """A folder as clip-retrieval makes it, with these parts of metadata."""
    for name in ("img_emb", "text_emb", "metadata"):
        (folder / name).mkdir(parents=True)
    for name in ("img_emb", "text_emb"):
        np.save(folder / name / f"{name}_0.npy", np.eye(count, 4, dtype=np.float32))
    for number, columns in enumerate(metadata):
        pq.write_table(pa.table(columns), folder / f"metadata/metadata_{number}.parquet")
    return folder


def positive_pairs(found):
    same = (found.positives[:, None] == found.positives[None]).any(axis=2)
    return [(i, j) for i in range(len(same)) for j in range(i) if same[i, j]]


@pytest.mark.parametrize(
    ("name", "values", "pairs"),
    [
        ("caption", [None] * 6, []),
        ("caption", [None] * 4 + ["a", "a"], [(5, 4)]),
        ("caption", ["a", None, "", " ", None, "a"], [(5, 0)]),
        ("group", ["x", None, "y", "", "x", None], [(4, 0)]),
        ("group", [7, None, 8, None, 7, 8], [(4, 0), (5, 2)]),
        ("group", [7.0, float("nan"), 8.0, float("nan"), 7.0, 8.0], [(4, 0), (5, 2)]),
        ("same_image", [-1, -2, -3, -1, -4, -5], [(3, 0)]),
    ],
)
def test_what_is_not_said_makes_no_positives(tmp_path, name, values, pairs):
    found = open_embeddings(foreign(tmp_path, {name: values[:4]}, {name: values[4:]}))
    assert positive_pairs(found) == pairs and found.positives.dtype == np.int64


def test_row_numbers_of_others_may_have_gaps(tmp_path):
    rows = [0, 2, 3, 5, 8, 9]
    pq.write_table(columns(*vectors(6), row=rows), tmp_path / "a.parquet")
    for found in (
        open_embeddings(tmp_path / "a.parquet"),
        open_embeddings(foreign(tmp_path / "folder", {"row": rows})),
    ):
        assert found.rows.tolist() == rows and found.num_samples == 10
    for number, (wrong, code) in enumerate(
        ((list("abcdef"), 3), ([0, 1, None, 3, 4, 5], 3), ([0, 2, 1, 3, 4, 5], 4))
    ):
        with pytest.raises(UserError, match="row") as error:
            open_embeddings(foreign(tmp_path / f"wrong_{number}", {"row": wrong}))
        assert error.value.code == code
