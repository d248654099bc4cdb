"""One numbering for all containers; errors that say what to type."""

import json

import pytest

from hardpairs.cli.list_shards import main
from hardpairs.core.errors import UserError
from hardpairs.data.samples import open_samples
from hardpairs.data.splits import split_into
from tests.helpers import picture, sample, write_tar


def test_captions_json_shares_groups_by_image(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(picture(1))
    (tmp_path / "captions.json").write_text(
        json.dumps(
            [{"file_name": "a.jpg", "caption": "one"}, {"file_name": "a.jpg", "caption": "two"}]
        )
    )
    samples = open_samples(tmp_path / "captions.json")
    assert samples.group(0) == samples.group(1) and samples.image_bytes(1) == picture(1)
    (tmp_path / "captions.json").write_text(
        json.dumps([{"file_name": "../x.jpg", "caption": "one"}])
    )
    with pytest.raises(UserError, match="leaves the image folder"):
        open_samples(tmp_path / "captions.json")


def with_facts(group, digest):
    """Members of a sample as img2dataset writes them, with or without a group and a hash of the image."""
    facts = {
        "url": "http://x/1.jpg",
        **({"group": group} if group else {}),
        **({"sha256": digest} if digest else {}),
    }
    return {"jpg": picture(1), "txt": b"some words", "json": json.dumps(facts).encode()}


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


def test_braces_that_do_not_close(tmp_path):
    with pytest.raises(UserError, match="braces") as error:
        open_samples(f"{tmp_path}/{{0000")
    assert error.value.code == 2


def test_a_file_of_no_known_kind_is_told_as_such(tmp_path):
    (tmp_path / "README.md").write_text("# pairs")
    with pytest.raises(UserError, match="unknown kind of data") as error:
        open_samples(tmp_path / "README.md")
    assert error.value.code == 2


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


def test_labels_of_shards(tmp_path):
    samples = {f"{i:04d}": sample(i, json=b"{}", cls=str(i // 2).encode()) for i in range(4)}
    del samples["0003"]["cls"]
    opened = open_samples(write_tar(tmp_path / "0.tar", samples).parent)
    assert opened.labelled.tolist() == [True, True, True, False] and opened.group(
        0
    ) == opened.group(1) != opened.group(2) != opened.group(3)


def test_values_that_mean_no_label(tmp_path):
    """In a table, in class folders, in shards; 999.0 is how pandas writes an int beside empty values."""
    path = tmp_path / "t.csv"
    path.write_text(
        "filepath,title,label\na.jpg,a,999\nb.jpg,b,999.0\nc.jpg,c, \nd.jpg,d, 7\ne.jpg,e,7\n"
    )
    samples = open_samples(path, group_key="label", unlabelled=("999",))
    assert samples.labelled.tolist() == [False, False, False, True, True] and samples.group(
        3
    ) == samples.group(4)
    for i, name in enumerate(("fox/a.jpg", "unknown/b.jpg", "unknown/c.jpg")):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(picture(i))
    samples = open_samples(tmp_path / "tree", unlabelled=("unknown",))
    assert samples.labelled.tolist() == [True, False, False] and samples.group(1) != samples.group(
        2
    )


def test_a_key_of_the_json_as_label(tmp_path):
    samples = {
        f"{i:04d}": sample(i, json=json.dumps({"story": f"s{i // 2}", "group": i}).encode())
        for i in range(4)
    }
    folder = write_tar(tmp_path / "0.tar", samples).parent
    assert len(set(open_samples(folder).groups.tolist())) == 4
    assert (
        len(set(open_samples(folder, group_key="story").groups.tolist())) == 2
    )  # though the index on disk was made for the other key
    assert len(set(open_samples(folder).groups.tolist())) == 4
    with pytest.raises(UserError, match="no sample's json has 'topic'") as error:
        open_samples(folder, group_key="topic")
    assert error.value.code == 3


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


@pytest.fixture
def collections(tmp_path):
    """Two collections whose shards and keys have equal names."""
    paths = []
    for number, name in enumerate(("cc3m", "cc12m")):
        rows = {f"{i:09d}": with_facts(None, "") for i in range(8)}
        for i, members in enumerate(rows.values()):
            members |= {"jpg": picture(10 * number + i), "txt": f"{name} {i}".encode()}
        paths.append(str(write_tar(tmp_path / name / "00000.tar", rows)))
    return paths


def test_shards_of_equal_names_are_different(tmp_path, collections):
    samples = open_samples(collections)
    assert len(set(samples.images.tolist())) == 16 and set(samples.shards) == {
        "cc3m/00000",
        "cc12m/00000",
    }
    command = ["--shards", *collections, "--out", str(tmp_path / "t.csv")]
    assert main([*command, "--extract", str(tmp_path / "out")]) == 0
    table = open_samples(tmp_path / "t.csv")
    assert table.fingerprint == samples.fingerprint and len(set(table.groups.tolist())) == 16
    assert [table.image_bytes(i) for i in range(16)] == [samples.image_bytes(i) for i in range(16)]
    split_into(tmp_path / "split", samples)
    names = json.loads((tmp_path / "split/split.json").read_text())
    assert len({name for part in names.values() for name in part}) == 16
    parts = [open_samples(tmp_path / f"split/{part}.csv") for part in names]
    assert sum(len(set(part.images.tolist())) for part in parts) == 16


def test_joined_tables_of_equal_shards_are_told_apart_by_path(tmp_path, collections, caplog):
    """Each table was made of one collection; the rows of both are in one file."""
    lines = []
    for number, shard in enumerate(collections):
        assert main(["--shards", shard, "--out", str(tmp_path / "t.csv")]) == 0
        lines += (tmp_path / "t.csv").read_text().splitlines()[min(number, 1) :]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    samples = open_samples(tmp_path / "t.csv")
    assert len(set(samples.images.tolist())) == len(set(samples.groups.tolist())) == 16
    assert "the columns shard and key are equal on rows of different images" in caplog.text


def test_nothing_usable_is_told_with_what_there_is(tmp_path):
    members = {f"s{i}": {"input.jpg": picture(i), "outputs.txt": b"a hill"} for i in range(3)}
    samples = open_samples(write_tar(tmp_path / "0.tar", members))
    with pytest.raises(UserError) as error:
        samples.check_usable()
    assert error.value.code == 3 and ".input.jpg, .outputs.txt" in error.value.why
    assert "`image_key`" in error.value.fix and "`caption_key`" in error.value.fix


def test_half_of_an_emoji_is_one_sign(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture(0))
    (tmp_path / "captions.json").write_text(
        json.dumps([{"file_name": "a.jpg", "caption": "a red kite \ud83d"}])
    )
    assert list(open_samples(tmp_path / "captions.json").captions) == ["a red kite \ufffd"]


def test_the_stable_names():
    from hardpairs.data import HardPairTable
    from hardpairs.data import open_samples as named

    assert named is open_samples and HardPairTable.open
