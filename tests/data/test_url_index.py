"""HELIP's url index, written and used to find the rows of an older download."""

import json

import pytest

from hardpairs.core.errors import UserError
from hardpairs.data.hard_pairs import open_hard_pairs
from hardpairs.data.opening import open_samples
from hardpairs.data.url_index import rows_by_old_number, write_url_index


def test_written_as_helip_has_it(tmp_path):
    urls = [("http://x/a.jpg", 0), ("", 1), ('http://x/"ü".jpg', 2), ("http://x/a.jpg", 5)]
    path = write_url_index(tmp_path, "cc3m", urls)
    assert path == tmp_path / "url_index/cc3m_url_index.json"
    assert json.loads(path.read_text()) == {"http://x/a.jpg": 0, 'http://x/"ü".jpg': 2}
    assert json.loads(write_url_index(tmp_path, "none", []).read_text()) == {}


def test_urls_of_shards_and_tables_are_known(shards, table):
    assert list(open_samples(shards).urls)[:2] == ["http://x/0.jpg", "http://x/1.jpg"]
    assert set(open_samples(table).urls) == {""}
    table.write_text(table.read_text().replace("filepath,title", "filepath,title,url", 1))
    lines = table.read_text().splitlines()
    table.write_text(
        "\n".join([lines[0], *(f"{line},http://y/{i}" for i, line in enumerate(lines[1:]))]) + "\n"
    )
    assert open_samples(table).urls[7] == "http://y/7"


def test_an_old_file_is_renumbered_by_url(tmp_path):
    (tmp_path / "old_hard_sample.csv").write_text("0,1,2\n1,0\n2,0,1\n3,2\n")
    (tmp_path / "index.json").write_text(json.dumps({"u0": 0, "u1": 1, "u2": 2, "u3": 3}))
    rows = rows_by_old_number(
        tmp_path / "index.json", ["", "u2", "u0", "new", "u3", "u0"]
    )  # u1 is lost, u0 stands twice
    assert rows == {2: 1, 0: 2, 3: 4}
    lists = list(
        map(
            list,
            open_hard_pairs(tmp_path / "old_hard_sample.csv", num_samples=6, renumber=rows).rows(),
        )
    )
    assert lists == [[], [2], [1], [], [1], []]
    plain = open_hard_pairs(
        tmp_path / "old_hard_sample.csv", num_samples=6
    )  # another conversion, not that one again
    assert list(next(iter(plain.rows()))) == [1, 2]


@pytest.mark.parametrize(("content", "code"), [(None, 2), ("[1]", 3), ("{", 3), ('{"u": 1}', 4)])
def test_an_index_that_does_not_fit(tmp_path, content, code):
    if content is not None:
        (tmp_path / "index.json").write_text(content)
    with pytest.raises(UserError) as error:
        rows_by_old_number(tmp_path / "index.json", ["a", "b"])
    assert error.value.code == code
