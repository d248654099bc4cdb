"""Rows by number: what is equal, and what can be used."""

import pytest

from hardpairs.cli.list_shards import main
from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from tests.data.facts import with_facts
from tests.helpers import picture, write_tar


@pytest.mark.parametrize("from_table", [False, True])
def test_rows_with_one_group_image_or_caption_are_known_positives(tmp_path, from_table):
    rows = [with_facts("a", "1"), with_facts("a", "2"), with_facts("b", "1"), with_facts("c", "")]
    for i, row in enumerate(rows):
        row["txt"] = f"caption {i}".encode()
    rows[3]["txt"] = b"caption 0"
    write_tar(tmp_path / "00000.tar", {f"{i:09d}": row for i, row in enumerate(rows)})
    samples = open_samples(tmp_path)
    if from_table:
        assert main(["--shards", str(tmp_path), "--out", str(tmp_path / "pairs.csv")]) == 0
        samples = open_samples(tmp_path / "pairs.csv")
    first, *others = samples.positives
    assert [(first == other).nonzero()[0].tolist() for other in others] == [[0], [1], [2]]


def test_without_groups_the_image_is_the_group(tmp_path):
    write_tar(
        tmp_path / "00000.tar",
        {"0": with_facts(None, "1"), "1": with_facts(None, "1"), "2": with_facts(None, "")},
    )
    samples = open_samples(tmp_path)
    assert samples.group(0) == samples.group(1) != samples.group(2) and samples.positives.shape == (
        3,
        2,
    )


def test_nothing_usable_is_told_with_what_there_is(tmp_path):
    members = {f"s{i}": {"input.jpg": picture(i), "outputs.txt": b"a hill"} for i in range(3)}
    samples = open_samples(write_tar(tmp_path / "0.tar", members))
    with pytest.raises(UserError) as error:
        samples.check_usable()
    assert error.value.code == 3 and ".input.jpg, .outputs.txt" in error.value.why
    assert "`image_key`" in error.value.fix and "`caption_key`" in error.value.fix
