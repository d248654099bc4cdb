import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from hardpairs.recipes.plan import OTHER_WIDTH, Plan, RunName, plan_study
from hardpairs.recipes.recipe import read_recipes
from hardpairs.recipes.whole_models import WholeModel

SIZES = {"splits": 1, "seeds": 1, "epochs": 1, "batch_size": 8, "rates": [1e-3]}


def test_towers_of_two_widths_get_a_width_of_their_own(pairs):
    samples = open_samples(pairs[0])
    recipes = read_recipes(["hard-pairs"])
    plan = plan_study(samples, {}, str(pairs[1]), recipes, **SIZES)
    assert plan.width == OTHER_WIDTH and plan.fingerprint == samples.fingerprint
    assert list(plan.recipes) == ["plain", "hard-pairs"] and len(plan.recipes["hard-pairs"]) == 2
    assert plan_study(samples, {}, str(pairs[1]), recipes, **SIZES, width=7).width == 7


def test_whole_models_compare_images_with_captions_in_one_space_only(pairs):
    samples = open_samples(pairs[0])
    recipes = read_recipes(["hard-pairs-cross-modal"])
    plan_study(samples, {}, str(pairs[1]), recipes, **SIZES)  # heads have a space of their own
    whole = WholeModel("ViT-B-32", "start.pt", "0")
    with pytest.raises(UserError, match="not of one space") as error:
        plan_study(samples, {}, str(pairs[1]), recipes, **SIZES, whole=whole)
    assert error.value.code == 2


def test_a_folder_without_a_readable_plan_is_refused(tmp_path):
    for text in (None, "{", '{"data": "x"}'):
        if text is not None:
            (tmp_path / "study.json").write_text(text)
        with pytest.raises(UserError, match="holds no study") as error:
            Plan.read(tmp_path)
        assert error.value.code == 3


def test_runs_have_different_names():
    runs = [RunName(0, "a", s, r, seed) for s in (0, 1) for r in (1e-4, 1e-3) for seed in (0, 1)]
    assert len({run.stem for run in runs}) == 8
