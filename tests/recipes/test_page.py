import shutil

from hardpairs.cli import open_test
from hardpairs.recipes.page import verdict_sentences
from hardpairs.recipes.table import RecipeRow


def row(name, gain, p):
    return RecipeRow(
        name, 10.0, 10.0, gain, (gain - 1, gain + 1), (gain - 1, gain + 1), p, p, 1, {}
    )


def test_the_first_sentence_says_whether_anything_helps():
    rows = [row("memory", 1.5, 0.01), row("hard-pairs", 0.2, 0.6), row("plain", 0.0, 1.0)]
    better, unclear = verdict_sentences(rows)
    assert "memory (+1.50)" in better and "hard-pairs (+0.20)" in unclear
    none = verdict_sentences([row("hard-pairs", -2.0, 0.01), row("base", 3.0, 0.001)])
    assert none == [
        "No recipe is shown to be better than plain training on these pairs.",
        "Worse: hard-pairs (-2.00).",
    ]


def test_the_page_has_every_recipe_and_fetches_nothing(study_folder, tmp_path):
    shutil.copytree(study_folder[0], tmp_path / "study")
    open_test.main([str(tmp_path / "study")])
    page = (tmp_path / "study/recipes.html").read_text()
    for name in ("base", "plain", "large-batch", "hard-pairs", "masked"):
        assert f'<th scope="row">{name}' in page
    assert page.count('class="bar"') == 4 and "<svg" in page
    assert "http" not in page.split("</style>")[1].replace("http://www.w3.org", "")
