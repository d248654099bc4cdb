"""The page of the batches: the command, its numbers against naive ones, and what a stranger's caption may not do."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from hardpairs.batches import HardPairBatchSampler, RandomBatchSampler
from hardpairs.cli.inspect_batches import main
from hardpairs.core.errors import UserError
from hardpairs.reporting.batch_page import seen_lines
from hardpairs.reporting.batch_statistics import Seen, alike, global_batches, seen, similarities
from tests.batches.helpers import random_table

COMMA = ("--csv-separator", ",")


def test_counts_of_an_epoch_against_a_loop():
    sampler = HardPairBatchSampler(
        41, random_table(41, 5), batch_size=6, accumulate=2, exclude=np.array([3])
    )
    found = seen(sampler, 1)
    counts, targets = [0] * 41, [0] * 41
    for number in range(len(sampler)):
        plan = sampler.plan(number, 1)
        for row, role in zip(plan.rows, plan.roles, strict=True):
            counts[row] += 1
            targets[row] += role == 0
    assert found.all == {
        times: counts.count(times) - (times == 0)
        for times in sorted(set(counts))
        if counts.count(times) - (times == 0)
    }
    assert (
        found.targets == {1: 38, 2: 2} == {times: targets.count(times) for times in (1, 2)}
        and found.left_out == 1
    )
    assert sum(found.roles.values()) == 12 * sampler.steps and found.roles["targets"] == 42


def test_similarity_and_collisions_by_hand():
    rows = np.array([0, 2, 3])
    image = np.array([[1, 0], [0, 2], [0, 1]], np.float32)
    text = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    embeddings = SimpleNamespace(image=image, text=text, rows=rows)
    # cosines: (0,2) (0 + 1)/2; (0,3) 0; (2,3) (1 + 0)/2; row 1 has no embedding
    assert similarities(embeddings, np.array([3, 1, 0, 2])) == pytest.approx((1 / 3, 0.5))
    assert np.isnan(similarities(embeddings, np.array([1, 0]))).all()
    sampler = RandomBatchSampler(4, batch_size=4)
    positives = np.array([[0, 5], [0, 6], [1, 5], [2, 7]])
    found = alike(sampler, 0, positives, embeddings)
    assert (found.mean, found.top) == pytest.approx((1 / 3, 0.5)) and (
        found.collisions,
        found.batches_with,
    ) == (2, 1)
    assert alike(sampler, 0, positives, None).mean is None


def test_rare_counts_are_joined():
    counted = Seen({1: 6}, {1: 2, 7: 1, 8: 1, 15: 1, 128: 1}, {"targets": 6}, 0)
    assert seen_lines(counted) == [
        ("1", "6", "2"),
        ("7", "0", "1"),
        ("8 to 15", "0", "2"),
        ("128 to 255", "0", "1"),
    ]


def test_accumulated_micro_batches_are_one_global_batch():
    sampler = RandomBatchSampler(20, batch_size=2, accumulate=3)
    assert [len(batch.rows) for batch in global_batches(sampler, 0)] == [6] * sampler.steps


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
        and "40 targets and 40 mined partners" in printed
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
    from hardpairs.data.samples import open_samples

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
