import json
import shutil

import numpy as np
import pytest

from hardpairs.cli import open_test
from hardpairs.recipes.study import open_study
from hardpairs.recipes.table import markdown, recipe_rows, validation_markdown


@pytest.fixture(scope="module")
def opened(study_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("tables") / "study"
    shutil.copytree(study_folder[0], out)
    open_test.main([str(out)])
    return out


def test_gains_are_differences_of_means(opened):
    test = json.loads((opened / "test.json").read_text())["metrics"]
    rows = {row["recipe"]: row for row in json.loads((opened / "recipes.json").read_text())["rows"]}
    means = {
        name: np.mean([[run["mean_R@1"] for run in seeds] for seeds in splits])
        for name, splits in test.items()
    }
    for name, row in rows.items():
        assert row["recall"] == pytest.approx(100 * means[name])
        assert row["gain"] == pytest.approx(100 * (means[name] - means["plain"]))
    assert rows["plain"]["gain"] == 0 and rows["base"]["validation"] is None


def test_a_clear_difference_is_called_one_and_chance_is_not(opened):
    study = open_study(opened)
    validation = json.loads((opened / "validation.json").read_text())
    test = json.loads((opened / "test.json").read_text())
    for splits, verdict in (([0.5, 0.501], "better"), ([0.1, 0.9], "unclear")):
        test["metrics"]["masked"] = [[{"mean_R@1": value}] * 2 for value in splits]
        test["metrics"]["plain"] = [[{"mean_R@1": value}] * 2 for value in (0.1, 0.101)]
        with np.load(opened / "test-queries.npz") as queries:
            rows = recipe_rows(study, validation, test, queries)
        assert next(row for row in rows if row.recipe == "masked").verdict == verdict


def test_the_table_says_what_the_reference_is(opened):
    text = (opened / "recipes.md").read_text()
    assert "| plain |" in text and "the reference" in text
    rows = json.loads((opened / "recipes.json").read_text())["rows"]
    assert len(text.splitlines()) == 2 + len(rows) == 2 + 5
    validation = json.loads((opened / "validation.json").read_text())
    assert "--batching hard-pairs" in validation_markdown(validation)
    assert markdown([]).count("\n") == 2
