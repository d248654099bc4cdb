"""What two data sets have in common."""

from hardpairs.checking.overlap import overlap
from hardpairs.checking.survey import read_data
from hardpairs.data.opening import open_samples
from tests.checking.data import open_table
from tests.helpers import picture


def test_images_count_by_content_and_captions_by_text(tmp_path):
    read = read_data(open_table(tmp_path / "train"))
    (tmp_path / "test.jpg").write_bytes(picture(1))
    (tmp_path / "new.jpg").write_bytes(picture(50))
    rows = "test.jpg,a red fox,owl\nnew.jpg,ein Fuchs,\nnew.jpg,new,bat\n"
    (tmp_path / "test.csv").write_text("filepath,title,group\n" + rows)
    other = read_data(open_samples(str(tmp_path / "test.csv")))
    found = {finding.what: finding.count for finding in overlap(read, other)}
    assert found == {
        "the same image and caption": 1,
        "the same image": 2,
        "the same caption": 4,
        "the same group": 1,
    }
    back = {finding.what: finding.count for finding in overlap(other, read)}
    assert back["the same image"] == 1 and back["the same caption"] == 2


def test_nothing_in_common(tmp_path):
    read = read_data(open_table(tmp_path / "train"))
    (tmp_path / "new.jpg").write_bytes(picture(50))
    (tmp_path / "test.csv").write_text("filepath,title\nnew.jpg,new\n")
    assert overlap(read, read_data(open_samples(str(tmp_path / "test.csv")))) == []
