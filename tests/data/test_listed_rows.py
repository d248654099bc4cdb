"""Lists of images with a caption each."""

import json

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from tests.helpers import picture


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


def test_half_of_an_emoji_is_one_sign(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture(0))
    (tmp_path / "captions.json").write_text(
        json.dumps([{"file_name": "a.jpg", "caption": "a red kite \ud83d"}])
    )
    assert list(open_samples(tmp_path / "captions.json").captions) == ["a red kite \ufffd"]
