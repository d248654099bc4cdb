"""The second model's choice, against a walk down the pairs that the first one proposes."""

import json

import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.core.progress import Progress
from hardpairs.data.embeddings import Embeddings
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.mining.api import Execution
from hardpairs.mining.dataset import mine_dataset
from hardpairs.mining.options import MiningOptions
from hardpairs.mining.rescore import Rescoring
from tests.mining.command import mine
from tests.mining.reference import reference
from tests.mining.searches import assert_same, one_space, search, themed

ROWS = np.sort(np.random.default_rng(0).choice(200, 120, replace=False))
GROUPS = np.random.default_rng(0).integers(0, 40, (120, 1))

CASES = {
    "plain": {},
    "one modality": {"method": "text", "max_text_score": 0.6},
    "limits": {"max_score": 0.5, "min_score": 0.05, "duplicate_threshold": 0.8},
    "ranks": {"range_min": 2, "range_max": 6, "image_weight": 0.3},
    "margin": {"relative_margin": 0.3},
    "cross-modal": {"method": "cross-modal", "absolute_margin": 0.05, "min_image_score": 0},
}


def first(**changes) -> Embeddings:
    """Return the first model's embeddings of 120 of 200 rows."""
    image, text = one_space(120)
    return Embeddings(image, text, ROWS, 200, {}, GROUPS, **changes)


def second() -> Embeddings:
    """Return a second model's embeddings, of more rows and another width."""
    rng = np.random.default_rng(5)
    rows = np.union1d(ROWS, np.arange(30))
    image = np.zeros((len(rows), 16), np.float32)
    image[np.searchsorted(rows, ROWS)] = one_space(120)[0] @ rng.normal(size=(24, 16))
    text = (image + 0.5 * rng.normal(size=image.shape)).astype(np.float32)
    return Embeddings(image, text, rows, 200, {})


@pytest.mark.parametrize("case", CASES)
def test_the_second_model_chooses_among_the_proposed_pairs(case):
    options = MiningOptions(top_k=5, **CASES[case])
    rescoring = Rescoring(second(), 20)
    mined = mine_dataset(first(), options, rescoring=rescoring)
    kept = rescoring.proposal(options)
    given = first()
    proposed = search(given.image, given.text, groups=GROUPS, **vars(kept)).indices
    at = np.searchsorted(second().rows, ROWS)
    pools = [frozenset(row[row >= 0].tolist()) for row in proposed]
    expected = reference(
        second().image[at], second().text[at], pool=pools.__getitem__, **vars(options)
    )
    result = mined.result
    assert (result.indices == -1)[np.setdiff1d(np.arange(200), ROWS)].all() and result.kept > 100
    indices = np.where(expected[0] >= 0, ROWS[expected[0]], -1)
    assert (result.indices[ROWS] == indices).all() and (result.scores[ROWS] == expected[1]).all()
    assert (result.kept, result.removed) == expected[2:]


def test_all_pairs_proposed_and_one_model_are_a_search_of_that_model():
    image, text = themed(90, 24), themed(90, 16, 1)
    given = Embeddings(image, text, np.arange(90), 90, {})
    plain = mine_dataset(given, MiningOptions(top_k=9, duplicate_threshold=2)).result
    options = MiningOptions(top_k=9, duplicate_threshold=2)
    again = mine_dataset(given, options, rescoring=Rescoring(given, 89)).result
    assert_same(again, (plain.indices, plain.scores, plain.kept, plain.removed))


def test_nothing_proposed_is_nothing_chosen(tmp_path):
    options = MiningOptions(top_k=5, duplicate_threshold=1e-9)
    execution = Execution(progress=Progress(tmp_path / "work", {}))
    mined = mine_dataset(first(), options, rescoring=Rescoring(second(), 20), execution=execution)
    assert mined.result.kept == 0 and (mined.result.indices == -1).all()


def test_what_does_not_fit_is_refused():
    options = MiningOptions(top_k=5, range_min=3)
    some = Embeddings(*(side[:60] for side in one_space(120)), ROWS[:60], 200, {})
    broken = second()
    broken.image[np.searchsorted(broken.rows, ROWS[7])] = np.nan
    for rescoring, message, code in (
        (Rescoring(second(), 7), "`rescore_candidates` must be at least 8", 2),
        (Rescoring(some, 20), "60 of 120 are missing", 4),
        (Rescoring(broken, 20), "not finite", 6),
    ):
        with pytest.raises(UserError, match=message) as error:
            mine_dataset(first(), options, rescoring=rescoring)
        assert error.value.code == code
    loose = MiningOptions(top_k=5, drop_nonfinite=True)
    mined = mine_dataset(first(), loose, rescoring=Rescoring(broken, 20))
    assert mined.rejected == {int(ROWS[7]): "non_finite"}
    assert not (mined.result.indices == ROWS[7]).any()


def test_the_command_records_both_models(tmp_path):
    for name, seed in (("one", 0), ("two", 2)):
        for kind, array in (
            ("img_emb", themed(60, 12, seed)),
            ("text_emb", themed(60, 12, seed + 1)),
        ):
            (tmp_path / name / kind).mkdir(parents=True)
            np.save(tmp_path / name / kind / f"{kind}_0.npy", array)
    words = ["--dataset", "x", "--save-path", tmp_path / "out", "--topk", "4"]
    words += ["--embeddings", tmp_path / "one"]
    done = mine(*words, "--rescore", tmp_path / "two")
    assert done.returncode == 0 and json.loads(done.stdout)["rows"] == 60, done.stderr
    table = HardPairTable.open(tmp_path / "out/x_hard_pairs", verify=True)
    assert table.manifest["rescored"]["candidates"] == 16
    assert table.manifest["options"]["topk"] == 4 and table.indices.shape == (60, 4)
    for flags, says in (
        (["--rescore-candidates", "9"], "--rescore-candidates needs --rescore"),
        (
            ["--rescore", tmp_path / "two", "--rescore-candidates", "3"],
            "--rescore-candidates must be at least 4",
        ),
        (["--rescore", tmp_path / "none"], "none"),
    ):
        done = mine(*words, *flags)
        assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr
