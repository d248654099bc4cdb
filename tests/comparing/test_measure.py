"""Results by query are those of the gallery."""

import json

import pytest

from hardpairs.cli import compare as compare_losses
from hardpairs.comparing.measure import METRICS, measure
from hardpairs.metrics.gallery import gallery_metrics, leave_one_out
from tests.comparing.made import argv, copy_of, parts_of


def test_measures_are_those_of_the_gallery(pictures):
    parts = parts_of(pictures)
    weights = str(pictures / "start/checkpoints/epoch_1.pt")
    validation, gallery, query = parts.open("validation"), parts.open("test"), parts.open("query")
    found = measure("hardpairs-test", weights, validation, gallery, query)
    assert found.nearest.shape == (4, 5) and set(found.numbers()) == {*METRICS, "score", "ari"}
    alone = measure("hardpairs-test", weights, validation, gallery, None)
    assert len(alone.rows) == len(gallery) and not (alone.nearest == alone.rows[:, None]).any()
    from hardpairs.embedding.embed import embed
    from hardpairs.models.encoders import open_encoders

    made = embed(gallery, open_encoders(model="hardpairs-test", pretrained=weights), workers=0)
    asked = embed(query, open_encoders(model="hardpairs-test", pretrained=weights), workers=0)
    expected = gallery_metrics(
        asked.image @ made.image.T, query.groups[asked.rows], gallery.groups[made.rows]
    )
    assert {name: found.numbers()[name] for name in METRICS} == pytest.approx(
        {name: expected[name] for name in METRICS}, abs=1e-6
    )
    assert found.numbers()["score"] == pytest.approx(expected["score"], abs=1e-3)
    expected = leave_one_out(made.image, gallery.groups[made.rows])
    assert {name: alone.numbers()[name] for name in METRICS} == pytest.approx(
        {name: expected[name] for name in METRICS}, abs=1e-6
    )


def test_a_gallery_of_one_picture_for_each_label_has_no_ari(pictures, tmp_path, capsys):
    place = copy_of(pictures, tmp_path, flat=())
    for folder in (place / "data/test/gallery").iterdir():
        for path in sorted(folder.glob("*.jpg"))[1:]:
            path.unlink()
    assert compare_losses.main(argv(place, tmp_path / "out", "--losses", "supcon")) == 0
    assert [
        row["ari"]["mean"]
        for row in json.loads((tmp_path / "out/comparison.json").read_text())["losses"]
    ] == [None, None]
