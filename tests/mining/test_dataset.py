"""Hard pairs of a data set: rows that are left out, and the files."""

import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.embeddings import Embeddings
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.mining.dataset import content_hash, mine_dataset, write_mined
from hardpairs.mining.options import MiningOptions
from tests.mining.searches import search, themed

ROWS = np.sort(np.random.default_rng(0).choice(60, 40, replace=False))


def embeddings(**changes) -> Embeddings:
    """Return embeddings of 40 of 60 rows, of which position 3 is zero and 5 is not finite."""
    image, text = themed(40, 12), themed(40, 12, 1)
    image[3], text[5, 2] = 0, np.inf
    return Embeddings(**{"image": image, "text": text, "rows": ROWS, "num_samples": 60} | changes)


def test_rows_are_those_of_the_data_set():
    options = MiningOptions(top_k=5, drop_nonfinite=True)
    given = embeddings(manifest={"rejected": {"1": "truncated_image"}})
    mined = mine_dataset(given, options, reject={int(ROWS[7]): "marked", 99: "elsewhere"})
    left_out = {int(ROWS[3]): "zero_norm", int(ROWS[5]): "non_finite", int(ROWS[7]): "marked"}
    assert mined.rejected == {1: "truncated_image", 99: "elsewhere", **left_out}
    expected = search(given.image, given.text, 5, exclude=np.array([3, 5, 7]))
    assert mined.result.indices.shape == (60, 5) and mined.result.kept == expected.kept
    for position, row in enumerate(ROWS):
        own = expected.indices[position]
        assert (mined.result.indices[row] == np.where(own >= 0, ROWS[own], -1)).all()
    others = np.setdiff1d(np.arange(60), ROWS)
    assert (mined.result.indices[others] == -1).all() and not mined.result.scores[others].any()


def test_recall_is_that_of_the_rows_wherever_they_stand():
    options = MiningOptions(top_k=5, drop_nonfinite=True, approx=20)
    given = embeddings(manifest={})
    expected = search(given.image, given.text, 5, approx=20, exclude=np.array([3, 5])).recall
    assert mine_dataset(given, options).result.recall == expected and expected.pairs.value > 0.2


def test_what_is_refused():
    with pytest.raises(UserError, match="1 embeddings are not finite") as error:
        mine_dataset(embeddings(manifest={}), MiningOptions())
    assert error.value.code == 6
    options = MiningOptions(relative_margin=0.1, drop_nonfinite=True)
    with pytest.raises(UserError, match="separate encoders") as error:
        mine_dataset(embeddings(manifest={"one_space": False}), options)
    assert error.value.code == 2


def test_cross_modal_pairs_need_one_space():
    image, apart = themed(40, 12), themed(40, 12, 1)
    options = MiningOptions(top_k=5, method="cross-modal")
    for text, manifest, message, code in (
        (apart[:, :9], {}, "12 and 9 wide", 2),
        (apart, {"one_space": False}, "separate encoders", 2),
        (apart, {}, "trained apart", 3),
    ):
        with pytest.raises(UserError, match=message) as error:
            mine_dataset(embeddings(image=image, text=text, manifest=manifest), options)
        assert error.value.code == code
    text = image + 0.1 * apart
    mined = mine_dataset(embeddings(image=image, text=text, manifest={}), options)
    expected = search(image, text, 5, method="cross-modal")
    assert mined.result.kept == expected.kept > 0


def test_the_noise_rule_empties_short_lists():
    options = MiningOptions(top_k=5, drop_nonfinite=True, min_score=0.1)
    plain = mine_dataset(embeddings(manifest={}), options).result
    paper = MiningOptions(top_k=5, drop_nonfinite=True, min_score=0.1, noise_rule="paper")
    ruled = mine_dataset(embeddings(manifest={}), paper).result
    full = plain.indices[:, -1] >= 0
    assert full.any() and not full[ROWS].all()
    assert (ruled.indices == np.where(full[:, None], plain.indices, -1)).all()
    assert (ruled.scores == np.where(full[:, None], plain.scores, 0)).all()
    assert ruled.removed["noise_rule"] == plain.kept - ruled.kept > 0
    assert ruled.counts["candidates"] == plain.counts["candidates"]


def test_the_table_holds_the_result(tmp_path):
    given, options = embeddings(manifest={"model": "m"}), MiningOptions(drop_nonfinite=True)
    mined = mine_dataset(given, options)
    write_mined(tmp_path, "toy", mined, given, options)
    table = HardPairTable.open(tmp_path / "toy_hard_pairs", verify=True)
    width = table.indices.shape[1]
    assert (table.indices == mined.result.indices[:, :width]).all()
    assert table.manifest["options"] == options.for_manifest()
    assert table.manifest["counts"] == mined.result.counts
    assert table.manifest["embeddings"]["model"] == "m" and table.rejected == mined.rejected
    assert (tmp_path / "toy_hard_sample.csv").exists()


def test_the_hash_is_of_all_that_decides():
    base = content_hash(embeddings(manifest={}))
    assert base == content_hash(embeddings(manifest={"other": 1}))
    for name, value in (
        ("image", themed(40, 12)),
        ("rows", ROWS + 1),
        ("positives", np.zeros((40, 1), np.int64)),
    ):
        assert content_hash(embeddings(manifest={}, **{name: value})) != base
