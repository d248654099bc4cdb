"""tools.jaccard as a command."""

import csv
import json

import numpy as np
import pytest

from hardpairs.cli.jaccard import main
from hardpairs.data.opening import open_samples
from hardpairs.linking.cuts import split_by_label
from hardpairs.linking.rows import row_labels


@pytest.fixture
def news(tmp_path):
    """20 stories, each in three papers with some words changed; a scan of a paper holds all its stories."""
    rng = np.random.default_rng(0)
    with open(tmp_path / "news.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_path", "text", "label"])
        for story in range(20):
            words = rng.choice(500, 30)
            for paper in range(3):
                text = " ".join(
                    f"w{word if rng.random() > 0.15 else rng.integers(500)}" for word in words
                )
                writer.writerow([f"{story}-{paper}_scan{paper}.jpg", text, f"s{story}"])
    return tmp_path


def flags(folder, *more):
    return [
        "--data",
        f"{folder}/news.csv",
        "--csv-img-key",
        "image_path",
        "--csv-caption-key",
        "text",
        "--csv-label-key",
        "label",
        *more,
    ]


def test_the_grid_is_searched_on_other_labels_than_the_report(news, capsys):
    assert main(flags(news, "--out", f"{news}/out")) == 0
    told = json.loads(capsys.readouterr().out)
    assert (
        told["test"]["ari"] > 0.7 and told["test"]["labels"] == 12 and told["validation_ari"] > 0.9
    )
    with open(news / "out/clusters.csv") as file:
        assert len(list(csv.DictReader(file))) == 60
    with open(news / "out/links.csv") as file:
        links = list(csv.DictReader(file))
    assert len(links) == told["links"] and all(
        float(link["jaccard"]) >= told["threshold"] for link in links
    )


def test_n_and_threshold_are_chosen_on_labels_that_the_report_does_not_use(tmp_path, capsys):
    """Ten stories of two texts of 20 words. The four to choose by share 4 words: an index of 4/36. The others share 14, and 4 with another story's."""
    samples = _stories(tmp_path, [""] * 20)
    chosen_by = split_by_label(row_labels(samples, np.arange(20)), 0.4, 42)[0] >= 0
    texts = [""] * 20
    for place, row in enumerate(np.flatnonzero(chosen_by)):
        texts[row] = " ".join(
            [*(f"story{place // 2}x{k}" for k in range(4)), *(f"own{row}x{k}" for k in range(16))]
        )
    for place, row in enumerate(np.flatnonzero(~chosen_by)):
        shared = [
            *(f"two{place // 4}x{k}" for k in range(4)),
            *(f"other{place // 2}x{k}" for k in range(10)),
        ]
        texts[row] = " ".join([*shared, *(f"own{row}x{k}" for k in range(6))])
    _stories(tmp_path, texts)
    assert main(flags(tmp_path, "--out", f"{tmp_path}/out")) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["n"], told["threshold"], told["validation_ari"]) == (1, 0.05, 1) and told["test"][
        "labelled_rows"
    ] == 12
    assert (
        main(flags(tmp_path, "--out", f"{tmp_path}/other", "--n", "1", "--threshold", "0.2")) == 0
    )
    other = json.loads(capsys.readouterr().out)
    assert (
        other["test"]["ari"] == 1 > told["test"]["ari"] and other["all"]["ari"] > told["all"]["ari"]
    )


def _stories(folder, texts):
    """A table of texts, two for each label."""
    with open(folder / "news.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(
            [
                ["image_path", "text", "label"],
                *([f"{row}.jpg", text or "none", f"s{row // 2}"] for row, text in enumerate(texts)),
            ]
        )
    return open_samples(
        folder / "news.csv", image_key="image_path", caption_key="text", group_key="label"
    )


def test_rows_of_one_source_are_never_linked(news, capsys):
    lines = (news / "news.csv").read_text().splitlines()
    lines.append(lines[1].replace("0-0_", "copy_"))  # the same text in the same scan
    (news / "news.csv").write_text("\n".join(lines) + "\n")
    fixed = ("--n", "2", "--threshold", "0.9")
    main(flags(news, "--out", f"{news}/a", *fixed))
    main(flags(news, "--out", f"{news}/b", *fixed, "--same-source", "_(.*)"))
    with_copy, without = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert with_copy["links"] == without["links"] + 1
