"""Several tables of one data set, under names that tell them apart."""

from __future__ import annotations

import shutil

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.hard_pairs import table_folder, write_table
from hardpairs.data.open_tables import open_tables
from hardpairs.data.opening import open_samples
from tests.helpers import ragged_table


def write(folder, name="pairs", count=40, seed=0, **manifest):
    return write_table(table_folder(folder, name), *ragged_table(count, 6, seed), manifest)


def test_names_are_the_methods_the_files_or_the_paths(tmp_path):
    write(tmp_path / "a", options={"mining_method": "HPM"})
    write(tmp_path / "b", options={"mining_method": "image"})
    write(tmp_path / "c", "others", options={"mining_method": "HPM"})
    a, b, c = (tmp_path / name for name in "abc")
    assert list(open_tables([a, b], None)) == ["HPM", "image"]
    assert list(open_tables([a, c], None)) == ["pairs", "others"]
    write(tmp_path / "d", options={"mining_method": "HPM"})
    inside = [str(folder / "pairs_hard_pairs") for folder in (a, tmp_path / "d")]
    assert list(open_tables([a, tmp_path / "d"], None)) == inside
    with pytest.raises(UserError, match="given twice") as error:
        open_tables([a, a / "pairs_hard_pairs"], None)
    assert error.value.code == 2
    write(a, "more")
    with pytest.raises(UserError, match="holds several tables") as error:
        open_tables([a], None)
    assert error.value.code == 2 and "more_hard_pairs" in error.value.fix


def test_helips_files_stand_for_the_table_beside_them(hard_pairs, table):
    samples = open_samples(table)
    for data in (None, samples):
        (opened,) = open_tables([hard_pairs], data).values()
        assert len(opened.lengths) == 40 and opened.fingerprint == samples.fingerprint
    alone = hard_pairs.with_name("alone_hard_sample.csv")
    shutil.copy(hard_pairs, alone)
    assert len(next(iter(open_tables([alone], samples).values())).lengths) == 40
    with pytest.raises(UserError, match="does not say how many rows") as error:
        open_tables([alone], None)
    assert error.value.code == 2


def test_tables_of_different_data_are_refused(hard_pairs, table, tmp_path):
    write(tmp_path / "short", count=30)
    write(tmp_path / "other", dataset_fingerprint="0" * 64)
    for other, says in (("short", "40 and 30 rows"), ("other", "other data")):
        with pytest.raises(UserError, match=says) as error:
            open_tables([hard_pairs, tmp_path / other], None)
        assert error.value.code == 4
    with pytest.raises(UserError, match="other data") as error:
        open_tables([tmp_path / "other"], open_samples(table))
    assert error.value.code == 4
