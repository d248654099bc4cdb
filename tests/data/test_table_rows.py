"""Tables: their paths, and the labels and shards of their rows."""

from hardpairs.cli.list_shards import main
from hardpairs.data.opening import open_samples
from tests.data.facts import write_collections
from tests.helpers import picture


def test_rows_without_a_group_are_groups_of_their_own(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(
        "filepath,title,label\na.jpg,one,7\nb.jpg,two,\nc.jpg,three,\nd.jpg,four,999\ne.jpg,five,999\nf.jpg,six,7\n"
    )
    samples = open_samples(path, group_key="label", unlabelled=("999",))
    assert samples.labelled.tolist() == [True, False, False, False, False, True]
    assert samples.group(0) == samples.group(5) and len(set(samples.groups.tolist())) == 5
    assert (
        len(set(open_samples(path, group_key="label").groups.tolist())) == 4
    )  # 999 is a label like any other, unless one says so


def test_paths_of_a_table_are_those_of_the_working_folder_or_its_own(tmp_path, monkeypatch):
    """Their texts stay the rows' identity."""
    for folder, number in (("data/images", 1), ("images", 2)):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "0.jpg").write_bytes(picture(number))
    table = tmp_path / "data/pairs.csv"
    table.write_text(f"filepath,title\nimages/0.jpg,a\n{tmp_path}/images/0.jpg,b\nimages/9.jpg,c\n")
    monkeypatch.chdir(tmp_path / "data/images")
    beside = open_samples(table)
    assert (beside.image_bytes(0), beside.image_bytes(1)) == (picture(1), picture(2))
    assert beside.image_path(2) == f"{tmp_path}/data/images/9.jpg"
    monkeypatch.chdir(tmp_path)
    here = open_samples(table)
    assert here.image_bytes(0) == picture(2) and here.fingerprint == beside.fingerprint


def test_joined_tables_of_equal_shards_are_told_apart_by_path(tmp_path, caplog):
    """Each table was made of one collection; the rows of both are in one file."""
    collections = write_collections(tmp_path)
    lines = []
    for number, shard in enumerate(collections):
        assert main(["--shards", shard, "--out", str(tmp_path / "t.csv")]) == 0
        lines += (tmp_path / "t.csv").read_text().splitlines()[min(number, 1) :]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    samples = open_samples(tmp_path / "t.csv")
    assert len(set(samples.images.tolist())) == len(set(samples.groups.tolist())) == 16
    assert "the columns shard and key are equal on rows of different images" in caplog.text
