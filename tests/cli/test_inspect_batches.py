"""The command ``inspect batches``, and what a stranger's caption may not do on its page."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from hardpairs.batches import HardPairBatchSampler
from hardpairs.cli.inspect_batches import main
from hardpairs.core.errors import UserError

COMMA = ("--csv-separator", ",")


def test_the_command(table, hard_pairs, embeddings, tmp_path, capsys):
    out = tmp_path / "batches.html"
    flags = (
        "--train-data",
        str(table),
        *COMMA,
        "--use-hard",
        "--hard-dict-dir",
        str(hard_pairs),
        "--batch-size",
        "4",
        "--name",
        "run",
    )
    assert (
        main(
            [
                "--out",
                str(out),
                "--embeddings",
                str(embeddings),
                "--processes",
                "2",
                "--shown",
                "3",
                *flags,
            ]
        )
        == 0
    )
    printed, page = capsys.readouterr().out, out.read_text()
    assert (
        "40 rows make 10 global batches of 8 in an epoch, on 2 processes." in printed
        and "40 targets and 40 hard pairs" in printed
    )
    assert re.search(r"^1 +40 ", printed, re.MULTILINE)  # each row is a target once
    for line in (
        "mean cosine of two rows of a batch",
        "pairs of a batch with equal group or caption",
    ):
        assert line in printed and line in page
    assert (
        page.count("<h3>Batch") == 3
        and page.count("data:image/jpeg") == 24
        and page.count('class="link"') == 12
    )
    assert not re.search(r"(src|href)=\"(?!data:)", page) and "<script" not in page
    whole = HardPairBatchSampler(40, SimpleNamespace(**vars_of(hard_pairs)), batch_size=8).batch(0)
    assert all(f"picture number {row}<" in page for row in whole)


def vars_of(hard_pairs):
    folder = hard_pairs.parent / "pairs_hard_pairs"
    return {name: np.load(folder / f"{name}.npy") for name in ("indices", "lengths", "scores")}


@pytest.mark.parametrize(
    ("batching", "own"),
    [
        ("topical", ("--topical-clusters", "8", "--p-topical", "1")),
        ("neighbourhood", ("--neighbourhood-size", "5")),
    ],
)
def test_batches_of_similar_rows_are_harder_than_random_ones(
    table, embeddings, tmp_path, capsys, batching, own
):
    from hardpairs.data.hard_pairs import table_folder, write_table
    from hardpairs.data.opening import open_samples

    near = (np.arange(40) // 5 * 5)[:, None] + np.array(
        [[0, 1, 2, 3, 4]]
    )  # the bunches of the embeddings
    indices = np.array([[j for j in row if j != i] for i, row in enumerate(near)])
    folder = table_folder(tmp_path, "near")
    write_table(
        folder,
        indices,
        np.full(indices.shape, 0.5),
        {"dataset_fingerprint": open_samples(table).fingerprint},
    )
    source = {
        "topical": ("--batching-embeddings", str(embeddings)),
        "neighbourhood": ("--hard-dict-dir", str(folder)),
    }[batching]
    flags = (
        "--train-data",
        str(table),
        *COMMA,
        "--batching",
        batching,
        *source,
        *own,
        "--batch-size",
        "5",
    )  # the size of a bunch
    assert main(["--out", str(tmp_path / "x.html"), "--embeddings", str(embeddings), *flags]) == 0
    line = next(
        line
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("mean cosine of two rows")
    )
    ours, theirs = (float(number.replace("−", "-")) for number in line.split()[-2:])
    assert ours > theirs + 0.2


def test_a_strangers_caption_stays_text(table, tmp_path, capsys):
    table.write_text(table.read_text().replace("picture number 3\n", "<script>alert(1)</script>\n"))
    assert (
        main(
            [
                "--out",
                str(tmp_path / "x.html"),
                "--train-data",
                str(table),
                *COMMA,
                "--batching",
                "random",
                "--batch-size",
                "20",
            ]
        )
        == 0
    )
    page = (tmp_path / "x.html").read_text()
    assert "<script" not in page and "&lt;script&gt;alert(1)" in page


def test_openclips_own_batches_cannot_be_shown(table, tmp_path):
    with pytest.raises(UserError, match="leave the batches to OpenCLIP") as error:
        main(["--out", str(tmp_path / "x.html"), "--train-data", str(table), *COMMA])
    assert error.value.code == 2 and not (tmp_path / "x.html").exists()


def test_batches_of_embeddings_to_come_cannot_be_shown(table, tmp_path):
    """The run makes them from its start model, which is not there yet."""
    flags = ["--batching", "class-neighbours", "--batch-size", "12"]
    with pytest.raises(UserError, match="before its first epoch") as error:
        main(["--out", str(tmp_path / "x.html"), "--train-data", str(table), *COMMA, *flags])
    assert error.value.code == 2 and "--batching-embeddings" in error.value.text()
