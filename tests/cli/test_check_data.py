"""``hardpairs check`` prints text or JSON, writes a page, and refuses data without a usable row."""

import json

from hardpairs.cli.check_data import main
from tests.checking.data import write_table
from tests.helpers import in_process


def test_text_json_and_page(tmp_path):
    table = write_table(tmp_path / "data")
    done = in_process(main, table, "--html", tmp_path / "check.html")
    assert done.returncode == 0 and "4 of 10 rows will be left out." in done.stdout
    assert "<h1>Data checked</h1>" in (tmp_path / "check.html").read_text()
    done = in_process(main, table, "--against", table, "--json")
    found = json.loads(done.stdout)
    assert (found["rows"], found["usable"], found["shared"][0]["count"]) == (10, 6, 6)


def test_data_without_a_usable_row(tmp_path):
    (tmp_path / "t.csv").write_text("filepath,title\ngone.jpg,a fox\n")
    done = in_process(main, tmp_path / "t.csv")
    assert done.returncode == 3 and "missing_file" in done.stdout and "no row" in done.stderr


def test_data_that_cannot_be_opened(tmp_path):
    assert in_process(main, tmp_path / "gone.csv").returncode == 2
