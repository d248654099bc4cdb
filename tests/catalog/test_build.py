"""A made data set: its shards and tables are one data set, its parts share nothing, and it is made once."""

from __future__ import annotations

import csv
import json
import tarfile

import pytest

from hardpairs.catalog.build import Options, build_set
from hardpairs.core.errors import UserError
from hardpairs.data.manifest import read_manifest
from hardpairs.data.opening import open_samples
from hardpairs.data.splits import PARTS
from tests.catalog.made import icons_package

NAMES = [
    f"{what}-{how}"
    for what in ("dog", "cat", "tree", "door", "house")
    for how in ("big", "new", "old")
]
OPTIONS = Options(side=16, limit=None, seed=3)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    more = [f"{name}-outline" for name in NAMES]
    data = icons_package(folder, one=NAMES, two=[*NAMES[:5], *more])
    manifest = build_set(data, folder / "icons", OPTIONS, folder)
    return data, folder, manifest


def table(folder, part):
    with open(folder / "icons" / f"{part}.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_tables_and_shards_hold_the_same_rows(made):
    _, folder, manifest = made
    assert sum(part["pairs"] for part in manifest["parts"].values()) == 35
    for part in PARTS:
        rows, shards = table(folder, part), open_samples(str(folder / "icons" / part))
        assert [row["title"] for row in rows] == list(shards.captions)
        assert not shards.rejected
        assert shards.fingerprint == manifest["parts"][part]["fingerprint"]
        listed = open_samples(folder / f"icons/{part}.csv")
        assert list(listed.groups) == list(shards.groups)
        assert [listed.image_bytes(i) for i in range(len(rows))] == [
            shards.image_bytes(i) for i in range(len(rows))
        ]


def test_known_positives_are_in_one_group_and_things_in_one_part(made):
    _, folder, _ = made
    rows = {part: table(folder, part) for part in PARTS}
    for column in ("thing", "group", "sha256"):
        seen = [{row[column] for row in rows[part]} for part in PARTS]
        assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
    every = [row for part in PARTS for row in rows[part]]
    twice = [row["source"] for row in every if row["title"] == "dog big"]
    assert sorted(twice) == ["one:dog-big", "two:dog-big"]
    assert len({row["group"] for row in every if row["title"] == "dog big"}) == 1


def test_shard_names_and_keys_are_unique_in_the_whole_set(made):
    _, folder, _ = made
    shards = sorted((folder / "icons").glob("*/*.tar"), key=lambda path: path.name)
    assert [path.name for path in shards] == ["00000.tar", "00001.tar", "00002.tar"]
    with tarfile.open(shards[0]) as tar:
        names = tar.getnames()
        facts = json.load(tar.extractfile(names[2]))
    assert names[:3] == ["000000000.png", "000000000.txt", "000000000.json"]
    assert {"key", "caption", "group", "thing", "source", "license", "sha256"} == set(facts)


def test_the_card_says_what_it_is_and_on_which_terms(made):
    data, folder, manifest = made
    card = (folder / "icons/README.md").read_text()
    assert data.packages[0].sha256 in card and "MIT: 35 pairs" in card
    assert manifest["parts"]["test"]["fingerprint"][:16] in card
    assert "icon-sets.md" in card and (folder / "icons/licenses/icon-sets.md").is_file()
    assert {"README.md", "contact.png", "train.csv"} < set(manifest["files"])


def test_finished_data_is_not_made_again(made):
    data, folder, manifest = made
    before = {path: path.stat().st_mtime_ns for path in (folder / "icons").rglob("*.tar")}
    assert build_set(data, folder / "icons", OPTIONS, folder / "nowhere") == manifest
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "icons").rglob("*.tar")}
    with pytest.raises(UserError, match="data that differs in side and seed") as error:
        build_set(data, folder / "icons", Options(32, None, 4), folder)
    assert error.value.code == 4


def test_equal_work_gives_equal_bytes_also_after_a_stopped_run(made, tmp_path):
    data, folder, manifest = made
    (tmp_path / "icons/train").mkdir(parents=True)
    (tmp_path / "icons/train/00007.tar").write_bytes(b"torn")
    (tmp_path / "icons/train.csv").touch()
    assert build_set(data, tmp_path / "icons", OPTIONS, folder) == manifest
    assert read_manifest(tmp_path / "icons", verify=True) == manifest
    for path in (folder / "icons").glob("*/*.tar"):
        other = tmp_path / path.relative_to(folder)
        assert path.read_bytes() == other.read_bytes()
    assert not (tmp_path / "icons/train/00007.tar").exists()


def test_a_folder_with_other_files_and_too_few_pairs_are_refused(made, tmp_path):
    data, folder, _ = made
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    with pytest.raises(UserError, match="holds other files") as error:
        build_set(data, tmp_path / "mine", OPTIONS, folder)
    assert error.value.code == 3
    with pytest.raises(UserError, match="too few for three parts"):
        build_set(data, tmp_path / "few", Options(16, 5, 0), folder)
