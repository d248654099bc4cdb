import pytest

from hardpairs.core.errors import UserError
from hardpairs.recipes.recipe import RECIPES, parse_setting, read_recipes


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_with_a_name_is_valid(name):
    plain, *rest = read_recipes([name])
    assert plain.name == "plain"
    assert all(setting.config.batching for recipe in rest for setting in recipe.settings)


def test_flags_become_the_trainers_configuration():
    setting = parse_setting("--batching hard-pairs --hard-topk 7 --mined text --batch-factor 2")
    assert (setting.config.batches.hard_topk, setting.mined, setting.batch_factor) == (7, "text", 2)
    placed = setting.with_paths("emb", "mined")
    assert placed.config.batches.hard_pairs == "mined"
    masked = parse_setting("--false-negative-embeddings EMBEDDINGS").with_paths("emb", None)
    assert masked.config.loss.false_negative_embeddings == "emb"


@pytest.mark.parametrize(
    "text, message",
    [
        ("--hard-topk 7", "nothing uses it"),
        ("--batching hard-pairs --hard-topk 0", "at least 1"),
        ("--mined text", "no hard pairs"),
        ("--loss-fn supcon", "compares labeled images"),
        ("--loss-fn nothing", "no loss is called"),
        ("--margin-similarity cosine", "no effect"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        parse_setting(text, "mine")


@pytest.mark.parametrize("text", ["no colon", ": --hard-topk 3", "plain: --hard-topk 3"])
def test_a_recipe_needs_a_name_of_its_own(text):
    with pytest.raises(UserError, match="name"):
        read_recipes([], [text])
