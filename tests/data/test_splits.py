"""Splits by image: MiniCLIP's rule by hand, near duplicates on one side, and a stored split that notices changed data."""

import csv
import json
import random

import numpy as np
import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from hardpairs.data.splits import PARTS, image_numbers, open_split, part_of_images, split_into
from tests.helpers import sample, write_tar


def test_the_seeds_rule_by_hand():
    """random.Random(42).shuffle makes [7, 3, 2, 8, 5, 6, 9, 4, 0, 1] of ten: seven, int(1.5) = one, two."""
    parts = part_of_images(10)
    assert [np.flatnonzero(parts == part).tolist() for part in range(3)] == [
        [2, 3, 5, 6, 7, 8, 9],
        [4],
        [0, 1],
    ]


def test_miniclips_own_sizes():
    assert np.bincount(part_of_images(210)).tolist() == [147, 31, 32]


@pytest.mark.parametrize("count", [7, 20, 33, 101])
def test_the_seeds_code_on_names(count):
    names = [f"image_{i}.jpg" for i in range(count)]
    shuffled = list(names)
    random.seed(42)
    random.shuffle(shuffled)
    a, b = int(0.7 * count), int(0.7 * count) + int(0.15 * count)
    expected = {name: 0 if i < a else 1 if i < b else 2 for i, name in enumerate(shuffled)}
    assert part_of_images(count).tolist() == [expected[name] for name in names]


def test_groups_stay_together_and_others_where_they_were():
    rng, alone = np.random.default_rng(0), part_of_images(60)
    groups = np.arange(60)
    for first in (3, 20, 41):
        groups[rng.choice(60, 3, replace=False)] = groups[first]
    parts = part_of_images(60, groups=groups)
    sizes = np.bincount(groups, minlength=60)
    for group in np.unique(groups):
        assert len(set(parts[groups == group])) == 1
    assert (parts != alone).any() and (parts == alone)[sizes[groups] == 1].all()


def test_a_group_lies_where_its_first_image_falls():
    groups = np.array(
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 4]
    )  # 9 comes before 4 in [7, 3, 2, 8, 5, 6, 9, 4, 0, 1], and is trained on
    assert part_of_images(10, groups=groups).tolist() == [2, 2, 0, 0, 0, 0, 0, 0, 0, 0]


# The folder.


def captions_json(folder, count=10, extra=()):
    folder.mkdir(exist_ok=True)
    entries = [
        {"file_name": f"{i}.jpg", "caption": f"{kind} {i}, or so"}
        for i in range(count)
        for kind in ("chair", "mug")
    ]
    entries = entries[1::2] + entries[::2]  # an image's captions need not stand together
    (folder / "captions.json").write_text(json.dumps([*entries, *extra]))
    return folder / "captions.json"


def rows(split, part):
    with open(split.table(part), newline="") as file:
        return list(csv.DictReader(file))


def test_tables_of_a_captions_json(tmp_path):
    samples = open_samples(captions_json(tmp_path / "photos"))
    split = split_into(tmp_path / "split", samples)
    listed = json.loads((tmp_path / "split/split.json").read_text())
    assert listed == {
        "train": [f"{i}.jpg" for i in (2, 3, 5, 6, 7, 8, 9)],
        "val": ["4.jpg"],
        "test": ["0.jpg", "1.jpg"],
    }
    assert (
        split.manifest["images"] == {"train": 7, "val": 1, "test": 2}
        and split.manifest["captions"]["train"] == 14
    )
    found = [row for part in PARTS for row in rows(split, part)]
    assert sorted(row["title"] for row in found) == sorted(samples.captions)
    assert rows(split, "val")[0]["filepath"] == str(tmp_path / "photos/4.jpg")
    again = open_samples(split.table("train"))
    assert (
        len(np.unique(again.images)) == 7 and again.keys[0] == samples.keys[2]
    )  # the keys of the whole: wherever the folder lies


def test_the_second_time_it_is_there(tmp_path):
    samples = open_samples(captions_json(tmp_path / "photos"))
    first = split_into(tmp_path / "split", samples)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "split").iterdir()}
    second = split_into(tmp_path / "split", samples)
    assert first.is_new and not second.is_new and second.manifest == first.manifest
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "split").iterdir()}


def test_changed_data_other_rules_and_damage_are_noticed(tmp_path):
    split_into(tmp_path / "split", open_samples(captions_json(tmp_path / "photos")))
    changed = open_samples(
        captions_json(tmp_path / "photos", extra=[{"file_name": "10.jpg", "caption": "a dog"}])
    )
    with pytest.raises(UserError, match="changed since it was split") as error:
        split_into(tmp_path / "split", changed)
    assert error.value.code == 4
    with pytest.raises(UserError, match="another seed"):
        split_into(tmp_path / "split", open_samples(captions_json(tmp_path / "photos")), seed=1)
    table = tmp_path / "split/val.csv"
    table.write_text(table.read_text().replace("4.jpg", "5.jpg"))
    with pytest.raises(UserError) as error:
        open_split(tmp_path / "split")
    assert error.value.code == 4


def test_a_table_keeps_its_columns_and_pictures_their_classes(tmp_path):
    with open(tmp_path / "pairs.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "words", "year"])
        writer.writerows([f"{i}.jpg", f'a "mug", {i}\nor so', 1900 + i] for i in range(10))
    samples = open_samples(tmp_path / "pairs.csv", image_key="image", caption_key="words")
    split = split_into(tmp_path / "split", samples, image_key="image", caption_key="words")
    assert rows(split, "test") == [
        {"image": f"{i}.jpg", "words": f'a "mug", {i}\nor so', "year": f"{1900 + i}"}
        for i in (0, 1)
    ]
    for i in range(10):
        (tmp_path / f"tree/{'cats' if i % 2 else 'dogs'}").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"tree/{'cats' if i % 2 else 'dogs'}/{i}.jpg").write_bytes(sample(i)["jpg"])
    split = split_into(tmp_path / "tree-split", open_samples(tmp_path / "tree"))
    assert len({row["group"] for part in PARTS for row in rows(split, part)}) == 2


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(UserError, match="too few for three parts") as error:
        split_into(tmp_path / "split", open_samples(captions_json(tmp_path / "photos", count=6)))
    assert error.value.code == 3 and not (tmp_path / "split").exists()


def test_shards_are_split_where_they_lie(tmp_path):
    write_tar(tmp_path / "shards/0.tar", {f"{i}": sample(i) for i in range(10)})
    samples = open_samples(tmp_path / "shards")
    split = split_into(tmp_path / "split", samples)
    test = open_samples(split.table("test"))
    assert (
        list(test.keys) == ["0", "1"]
        and list(test.captions) == list(samples.captions)[:2]
        and test.shards[0] == "0"
    )
    assert [test.image_bytes(row) for row in (0, 1)] == [samples.image_bytes(row) for row in (0, 1)]


def test_image_numbers_are_by_first_appearance(tmp_path):
    entries = [{"file_name": name, "caption": "x"} for name in ("b", "a", "b", "c", "a")]
    (tmp_path / "captions.json").write_text(json.dumps(entries))
    numbers, first = image_numbers(open_samples(tmp_path / "captions.json"))
    assert numbers.tolist() == [0, 1, 0, 2, 1] and first.tolist() == [0, 1, 3]
