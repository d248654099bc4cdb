import json
import shutil

import numpy as np
import pytest

from hardpairs.cli import open_test
from hardpairs.core.errors import UserError
from hardpairs.recipes.study import open_study


@pytest.fixture(scope="module")
def opened(study_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("opened") / "study"
    shutil.copytree(study_folder[0], out)
    open_test.main([str(out)])
    return out


def test_the_test_rows_were_never_trained_on_or_chosen_by(opened):
    study = open_study(opened)
    with np.load(opened / "test-queries.npz") as queries:
        for split in range(2):
            fold = study.fold(split)
            rows = queries[f"rows/{split}/image_to_text"]
            assert np.isin(rows, fold.test).all()
            texts = study.samples.texts
            seen = texts[np.concatenate([fold.train, fold.val])]
            assert not np.isin(texts[fold.test], seen).any()


def test_training_beats_the_untrained_heads(opened):
    record = json.loads((opened / "test.json").read_text())
    study = open_study(opened)
    from hardpairs.recipes.training import measure

    start = measure(study.new_heads(0), study.features, study.fold(0).test)["mean_R@1"]
    assert record["metrics"]["base"][0][0]["mean_R@1"] > start + 0.2


def test_it_is_opened_once(opened):
    first = json.loads((opened / "test.json").read_text())
    open_test.main([str(opened)])
    assert json.loads((opened / "test.json").read_text()) == first
    validation = json.loads((opened / "validation.json").read_text())
    validation["plain"][0]["rate"] = 1.0
    (opened / "validation.json").write_text(json.dumps(validation))
    with pytest.raises(UserError, match="opened before") as error:
        open_test.main([str(opened)])
    assert error.value.code == 4
