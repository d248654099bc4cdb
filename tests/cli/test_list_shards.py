"""hardpairs list-shards: shards and their table are the same data."""

from __future__ import annotations

import json

import pytest

from hardpairs.cli.list_shards import main
from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from tests.helpers import picture, sample, write_tar


def test_shards_and_their_csv_are_the_same_dataset(shards, tmp_path, capsys):
    assert main(["--shards", str(shards), "--out", str(tmp_path / "a.csv")]) == 0
    assert json.loads(capsys.readouterr().out)["rejected"] == {
        "empty_caption": 1,
        "missing_image": 1,
    }
    tars, table = open_samples(shards), open_samples(tmp_path / "a.csv")
    assert tars.fingerprint == table.fingerprint and len(tars) == len(table) == 20
    assert tars.rejected == table.rejected == {3: "empty_caption", 9: "missing_image"}
    assert (tars.positives == table.positives).all()
    assert tars.image_bytes(19) == table.image_bytes(19) == picture(19)


def test_extracted_images_are_the_same_bytes(shards, tmp_path):
    out = str(tmp_path / "out")
    main(["--shards", str(shards), "--out", str(tmp_path / "a.csv"), "--extract", out])
    table = open_samples(tmp_path / "a.csv")
    assert table.image_path(12) == f"{out}/00002/000000000.jpg"
    assert table.image_bytes(12) == picture(12)
    assert table.fingerprint == open_samples(shards).fingerprint


def test_urls_travel_into_the_table(tmp_path):
    with_quotes = sample(1, json=b'{"url": "http://x/?a=1,2&b=\\"3\\""}')
    samples = {"a": sample(0), "b": with_quotes, "c": sample(2, json=b"{}")}
    tar = write_tar(tmp_path / "00000.tar", samples)
    main(["--shards", str(tar), "--out", str(tmp_path / "a.csv")])
    table, tars = open_samples(tmp_path / "a.csv"), open_samples(tar)
    assert list(table.urls) == list(tars.urls) == ["http://x/0.jpg", 'http://x/?a=1,2&b="3"', ""]
    assert table.fingerprint == tars.fingerprint


def test_mapped_rows_are_the_same_dataset(shards, tmp_path, capsys):
    rows = tmp_path / "rows"
    assert main(["--shards", str(shards), "--out", str(rows), "--mapped"]) == 0
    assert json.loads(capsys.readouterr().out) == {"rows": 20, "usable": 18}
    stored = open_samples(rows)
    assert stored.fingerprint == open_samples(shards).fingerprint
    assert stored.image_bytes(19) == picture(19)
    with pytest.raises(UserError, match="extracts no images"):
        main(["--shards", str(shards), "--out", str(rows), "--mapped", "--extract", "x"])
