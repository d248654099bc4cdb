"""The address of a query."""

from urllib.parse import parse_qsl

import pytest

from hardpairs.photos.address import Visit
from hardpairs.photos.library import Query

VISITS = [
    Visit(Query()),
    Visit(Query("a dog & a cat?", "snow #1", "0123456789abcdef" * 2, "0123456789abcdef"), 96, True),
    Visit(Query("日本 ü=%20"), 12),
]


@pytest.mark.parametrize("visit", VISITS)
def test_an_address_names_the_whole_visit(visit):
    assert Visit.read(dict(parse_qsl(visit.address().removeprefix("?")))) == visit


def test_addresses():
    assert Visit(Query()).address() == "" and Visit(Query("a dog")).address() == "?q=a+dog"


@pytest.mark.parametrize(
    "fields",
    [
        {"image": "../../etc/passwd", "like": "<script>"},
        {"image": "0123456789ABCDEF" * 2, "like": "0123456789abcdef0"},
        {"shown": "13", "cut": "yes"},
        {"shown": "-1", "q": "\x00 \u2028"},
        {"another": "1"},
    ],
)
def test_what_the_page_would_not_write_is_left_out(fields):
    assert Visit.read(fields) == Visit(Query())
