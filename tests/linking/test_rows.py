"""The rows that are linked: refused where they are not of the data, pooled or by a head."""

import json

import numpy as np
import pytest

from hardpairs.cli.link import main
from hardpairs.core.errors import UserError
from hardpairs.linking.rows import mean_cosine
from tests.linking.stories import crossed, flags, write_opposed


def test_mean_cosine_is_that_of_all_pairs():
    rows = np.random.default_rng(0).normal(size=(20, 3)) + 1
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    assert mean_cosine(unit) == pytest.approx(
        np.mean([unit[i] @ unit[j] for i in range(20) for j in range(20) if i != j])
    )
    assert mean_cosine(unit[:1]) == 0


def test_rows_without_a_direction_are_named(news):
    folder, _ = news
    image = np.load(folder / "emb/img_emb/img_emb_0.npy")
    image[5] = np.nan
    np.save(folder / "img_emb_0.npy", image)
    (folder / "plain/img_emb").mkdir(parents=True)
    (folder / "plain/text_emb").mkdir()
    (folder / "img_emb_0.npy").rename(folder / "plain/img_emb/img_emb_0.npy")
    (folder / "plain/text_emb/text_emb_0.npy").write_bytes(
        (folder / "emb/text_emb/text_emb_0.npy").read_bytes()
    )
    with pytest.raises(UserError, match="zero or not finite") as error:
        main(["--embeddings", f"{folder}/plain", "--threshold", "0.2", "--out", f"{folder}/out"])
    assert error.value.code == 6 and "[5]" in error.value.text()


def test_embeddings_of_other_data_are_refused(news):
    folder, _ = news
    lines = (folder / "news.csv").read_text().splitlines()
    (folder / "news.csv").write_text(
        "\n".join([*lines[:-1], lines[-1].replace("story", "tale")]) + "\n"
    )
    with pytest.raises(UserError) as error:
        main(flags(folder))
    assert error.value.code == 4


def test_a_head_links_by_what_it_was_trained_for(news, tmp_path, capsys):
    """An MLP head's output, from the checkpoint; by itself where the head has layers, and not where mean is asked for."""
    import torch

    from hardpairs.models.head import EmbeddingHead, embed_with

    folder, _ = news
    torch.manual_seed(0)
    head = EmbeddingHead("mlp", 32, projection=8)
    state = {f"embedding_head.{name}": value for name, value in head.state_dict().items()}
    torch.save({"state_dict": state, "embedding_head": head.options}, tmp_path / "epoch_1.pt")
    assert main(flags(folder, "--head", str(tmp_path / "epoch_1.pt"))) == 0
    by_head = json.loads(capsys.readouterr().out)
    assert by_head["image_weight"] == "head"
    assert main(flags(folder, "--pooling-type", "mean")) == 0
    assert json.loads(capsys.readouterr().out)["threshold"] != by_head["threshold"]
    unit = torch.nn.functional.normalize(torch.randn(5, 32), dim=1).numpy()
    assert embed_with(head.eval(), unit, unit).shape == (5, 8)


def with_head(checkpoint, place, head):
    """A checkpoint that carries a head, too."""
    import torch

    content = torch.load(checkpoint, weights_only=True)
    state = {f"embedding_head.{name}": value for name, value in head.state_dict().items()}
    torch.save(
        {
            **content,
            "state_dict": {**content["state_dict"], **state},
            "embedding_head": head.options,
        },
        place,
    )
    return str(place)


@pytest.mark.parametrize("learned", [False, True])
def test_a_pooling_heads_weight_is_used_where_none_is_given(
    news, checkpoint, tmp_path, capsys, learned
):
    from hardpairs.models.head import EmbeddingHead

    folder, _ = news
    place = with_head(
        checkpoint,
        tmp_path / "head.pt",
        EmbeddingHead("pooled", 32, image_weight=0.8, learned=learned),
    )
    with_model = flags(folder, "--model", "hardpairs-test", "--pretrained", place)[2:]
    for more, weight in (((), 0.8), (("--im-wt", "0.3"), 0.3), (("--pooling-type", "mean"), 0.5)):
        assert main([*with_model, *more]) == 0
        printed = capsys.readouterr()
        assert json.loads(printed.out)["image_weight"] == pytest.approx(weight)
        assert ("its head gives the image a weight of 0.800" in printed.err) == (weight == 0.8)


def test_embeddings_of_other_weights_than_the_heads_are_refused(tmp_path):
    import torch

    from hardpairs.models.head import EmbeddingHead

    write_opposed(tmp_path, crossed)
    head = EmbeddingHead("mlp", 80, projection=8)
    state = {f"embedding_head.{name}": value for name, value in head.state_dict().items()}
    torch.save({"state_dict": state, "embedding_head": head.options}, tmp_path / "epoch_1.pt")
    with pytest.raises(UserError, match="embedded by other weights") as error:
        main(flags(tmp_path, "--head", str(tmp_path / "epoch_1.pt")))
    assert error.value.code == 4 and "sha256:0" in error.value.text()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--pooling-type", "mlp"), "no checkpoint with a head"),
        (("--pooling-type", "mean", "--head", "x.pt"), "contradict each other"),
    ],
)
def test_heads_that_are_not_there(news, more, says):
    with pytest.raises(UserError, match=says):
        main(flags(news[0], *more))
