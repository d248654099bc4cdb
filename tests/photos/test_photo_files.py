"""The bytes of photos, and what is never read in their place."""

from __future__ import annotations

import io
import os

import pytest
from PIL import Image

from hardpairs.data.images import UnreadableImage
from hardpairs.photos.photo_files import MAX_BYTES, exists, is_unchanged, jpeg, read_photo
from hardpairs.photos.scan import PhotoFile, scan
from tests.helpers import picture, sample, write_tar


@pytest.fixture
def files(tmp_path):
    """A photo in a file, and one in a tar."""
    (tmp_path / "1.jpg").write_bytes(picture(1))
    write_tar(tmp_path / "2.tar", {"x": sample(7), "y": sample(8)})
    single, _, member = scan([str(tmp_path)]).files
    return single, member


def test_files_and_members_of_tars(files):
    single, member = files
    assert read_photo(single) == picture(1) and read_photo(member) == picture(8)
    with open(member.path, "r+b") as tar:
        tar.truncate(member.offset + 5)
    with pytest.raises(OSError, match="ends before byte"):
        read_photo(member)


def test_links_pipes_and_large_files_are_not_read(files, tmp_path):
    single, _ = files
    (tmp_path / "private.jpg").write_bytes(picture(9))
    os.unlink(single.path)
    os.symlink(tmp_path / "private.jpg", single.path)
    with pytest.raises(OSError, match="behind a link"):
        read_photo(single)
    os.unlink(single.path)
    os.mkfifo(single.path)
    with pytest.raises(OSError, match="not a regular file"):
        read_photo(single)
    with pytest.raises(UnreadableImage, match="too_large"):
        read_photo(single._replace(size=MAX_BYTES + 1))


def test_what_is_there_and_what_has_changed(files):
    for file in files:
        assert exists(file) and is_unchanged(file)
        os.utime(file.path, ns=(0, 5))
        # The offsets of a changed tar may lead to another image.
        assert exists(file) == (file.offset < 0) and not is_unchanged(file)
        changed = file._replace(mtime_ns=5, size=1)
        assert exists(changed) and is_unchanged(changed) == (file.offset >= 0)
        os.unlink(file.path)
        assert not exists(changed) and not is_unchanged(changed)
    assert not exists(PhotoFile(os.path.dirname(files[0].path), "", -1, 1, 1))


def test_small_copies_have_no_metadata():
    image = Image.effect_noise((300, 100), 60).convert("RGB")
    image.getexif()[0x010E] = "where it was taken"
    made = Image.open(io.BytesIO(jpeg(image, 60)))
    assert made.format == "JPEG" and made.size == (60, 20) and not made.getexif()
