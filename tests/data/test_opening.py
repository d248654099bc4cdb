"""Data sets by their names; errors that say what to type."""

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.opening import open_samples
from tests.helpers import picture


def test_braces_that_do_not_close(tmp_path):
    with pytest.raises(UserError, match="braces") as error:
        open_samples(f"{tmp_path}/{{0000")
    assert error.value.code == 2


def test_a_file_of_no_known_kind_is_told_as_such(tmp_path):
    (tmp_path / "README.md").write_text("# pairs")
    with pytest.raises(UserError, match="unknown kind of data") as error:
        open_samples(tmp_path / "README.md")
    assert error.value.code == 2


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


@pytest.mark.parametrize(
    ("template", "source", "says"),
    [
        ("a photo", "", "needs one {} for the class"),
        ("{} {}", "", "needs one {} for the class"),
        ("{0} {}", "", "needs one {} for the class"),
        ("a {}", "a.csv", "is for folders of images"),
    ],
)
def test_templates_that_are_refused(tmp_path, template, source, says):
    (tmp_path / "a.jpg").write_bytes(picture(0))
    (tmp_path / "a.csv").write_text("filepath,title\na.jpg,a thing\n")
    with pytest.raises(UserError, match=says) as error:
        open_samples(tmp_path / source, caption_template=template)
    assert error.value.code == 2


def test_the_stable_names():
    from hardpairs.data import HardPairTable
    from hardpairs.data import open_samples as named

    assert named is open_samples and HardPairTable.open
