"""Links to a reference list."""

import csv
import json

import numpy as np
import pytest

from hardpairs.cli.link import main
from hardpairs.core.errors import UserError
from tests.linking.stories import crossed, flags, write_opposed


def test_links_to_a_reference_list(news, capsys):
    folder, _ = news
    assert (
        main(
            [
                *flags(folder, "--im-wt", "1"),
                "--reference",
                f"{folder}/emb",
                "--reference-data",
                f"{folder}/news.csv",
                "--k",
                "3",
            ]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert (
        told["precision@1"] == 1
        and told["hit@3"] == 1
        and 0.8 < told["precision@3"] <= 1
        and told["queries"] == 87
    )
    with open(folder / "out/links.csv") as file:
        links = list(csv.DictReader(file))
    assert (
        len(links) == 270
        and links[0]["row"] == links[0]["reference_row"] == "0"
        and float(links[0]["score"]) == pytest.approx(1)
    )


def test_one_query_is_linked_and_one_row_is_no_cluster(news, capsys):
    folder, _ = news
    for side in ("img_emb", "text_emb"):
        (folder / f"one/{side}").mkdir(parents=True)
        np.save(
            folder / f"one/{side}/{side}_0.npy", np.load(folder / f"emb/{side}/{side}_0.npy")[5:6]
        )
    assert (
        main(
            [
                "--embeddings",
                f"{folder}/one",
                "--reference",
                f"{folder}/emb",
                "--out",
                f"{folder}/out",
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out) == {"rows": 1, "references": 90}
    with open(folder / "out/links.csv") as file:
        assert [link["reference_row"] for link in csv.DictReader(file)] == ["5"]
    assert (
        main(
            [
                "--embeddings",
                f"{folder}/emb",
                "--reference",
                f"{folder}/one",
                "--out",
                f"{folder}/out",
            ]
        )
        == 0
    )
    with pytest.raises(UserError, match="nothing to link it to") as error:
        main(["--embeddings", f"{folder}/one", "--threshold", "0.2", "--out", f"{folder}/out"])
    assert error.value.code == 3


def test_a_list_of_other_weights_is_refused(news, checkpoint, tmp_path):
    folder, _ = news
    (tmp_path / "list").mkdir()
    write_opposed(tmp_path / "list", crossed)
    data = flags(folder, "--model", "hardpairs-test", "--pretrained", str(checkpoint))[2:]
    with pytest.raises(UserError, match="embedded by other weights") as error:
        main([*data, "--reference", f"{tmp_path}/list/emb"])
    assert error.value.code == 4
