"""What batches follow from is checked against the data."""

import dataclasses
import logging

import numpy as np
import pytest

from hardpairs.batches import BatchContext, open_stored_embeddings, open_table
from hardpairs.batches.sources import HardPairSource, identity
from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples


@pytest.fixture
def other(table):
    """Data with other captions."""
    path = table.with_name("other.csv")
    path.write_text(table.read_text().replace("number 3\n", "number three\n"))
    return open_samples(path)


def test_hard_pairs_of_the_data(table, hard_pairs):
    samples = open_samples(table)
    opened = open_table(str(hard_pairs), samples, verify=True)
    assert opened.fingerprint == samples.fingerprint
    by_source = HardPairSource(hard_pairs=str(hard_pairs)).open(BatchContext(samples, 4))
    assert np.array_equal(by_source.indices, opened.indices)


def test_files_of_other_data_are_refused(other, hard_pairs, embeddings):
    for open_source in (open_table, open_stored_embeddings):
        path = hard_pairs if open_source is open_table else embeddings
        with pytest.raises(UserError) as error:
            open_source(str(path), other)
        assert error.value.code == 4


def test_embeddings_of_another_number_of_rows_are_refused(table, embeddings):
    path = table.with_name("short.csv")
    path.write_text("\n".join(table.read_text().splitlines()[:-1]))
    with pytest.raises(UserError, match="40 rows, the data has 39"):
        open_stored_embeddings(str(embeddings), open_samples(path))


def test_hard_pairs_without_a_fingerprint_are_taken_with_a_warning(table, tmp_path, caplog):
    rows = [",".join(map(str, [row, (row + 1) % 40, (row + 2) % 40])) for row in range(40)]
    (tmp_path / "foreign.csv").write_text("\n".join(rows) + "\n")
    with caplog.at_level(logging.WARNING):
        opened = open_table(str(tmp_path / "foreign.csv"), open_samples(table))
    assert opened.indices[3].tolist() == [4, 5] and "has no fingerprint" in caplog.text


def test_a_warning_before_the_log_is_set_up_leaves_it_alone(table, tmp_path, monkeypatch):
    """A handler that it left behind would print every later line of the trainer's log again."""
    rows = [",".join(map(str, [row, (row + 1) % 40])) for row in range(40)]
    (tmp_path / "foreign.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.setattr(logging.root, "handlers", [])
    open_table(str(tmp_path / "foreign.csv"), open_samples(table))
    assert logging.root.handlers == []


def test_an_identity_follows_the_files(table, embeddings):
    stored = open_stored_embeddings(str(embeddings), open_samples(table))
    assert identity(stored, str(embeddings)) == stored.manifest["sha256"]
    foreign = dataclasses.replace(stored, manifest={})
    first = identity(foreign, str(embeddings))
    assert identity(foreign, str(embeddings)) == first
    path = next((embeddings / "text_emb").glob("*.npy"))
    path.write_bytes(path.read_bytes() + b"0")
    assert identity(foreign, str(embeddings)) != first
