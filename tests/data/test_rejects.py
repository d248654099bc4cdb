"""Files of rejected rows."""

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.rejects import REASON, read_rejects


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ('{"kind": "rejected_rows", "dataset_fingerprint": "00", "rows": [1]}', 4, "other data"),
        ('{"kind": "rejected_rows", "rows": [40]}', 4, "row 40"),
        ("-1\n", 4, "row -1"),
        ('{"kind": "hard_pairs", "rows": [1]}', 3, "not a file of rejected rows"),
        ('{"kind": "rejected_rows", "rows": [true]}', 3, "not a file of rejected rows"),
        ('{"kind": "rejected_rows", "rows": "all"}', 3, "not a file of rejected rows"),
        ("{", 3, "not a file of rejected rows"),
        ("one\n", 3, "not a file of rejected rows"),
    ],
)
def test_other_files_are_refused(tmp_path, text, code, says):
    (tmp_path / "x").write_text(text)
    with pytest.raises(UserError, match=says) as error:
        read_rejects(tmp_path / "x", num_samples=40, fingerprint="ff")
    assert error.value.code == code


def test_a_plain_list_of_rows(tmp_path):
    (tmp_path / "x").write_text("3\n# looked at twice\n17  # a logo\n\n3\n")
    assert read_rejects(tmp_path / "x", num_samples=40, fingerprint=None) == {3: REASON, 17: REASON}
    with pytest.raises(UserError, match="cannot read") as error:
        read_rejects(tmp_path / "none", num_samples=40, fingerprint=None)
    assert error.value.code == 2
