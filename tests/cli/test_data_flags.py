"""The flags of every command that reads a data set."""

from __future__ import annotations

import argparse

import pytest

from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.errors import UserError


def parse(*argv):
    parser = argparse.ArgumentParser()
    add_data_flags(parser)
    return parser.parse_args(argv)


def test_columns_are_those_that_the_flags_name(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("image;text;kind\na.jpg;one;7\nb.jpg;two;999\nc.jpg;three;7\n")
    columns = ("--csv-img-key", "image", "--csv-caption-key", "text", "--csv-group-key", "kind")
    args = parse("--csv-separator", ";", *columns, "--unlabelled", "999")
    samples = open_named(str(path), args)
    assert list(samples.captions) == ["one", "two", "three"]
    assert samples.group(0) == samples.group(2) and samples.labelled.tolist() == [True, False, True]


def test_errors_name_the_flags(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("filepath,title\na.jpg,one\n")
    with pytest.raises(UserError) as error:
        open_named(str(path), parse("--csv-separator", ";"))
    text = error.value.text()
    assert error.value.code == 3 and "--csv-separator ','" in text and "`" not in text
