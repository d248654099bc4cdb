"""The page of hard pairs: suspicious ones first."""

from hardpairs.data.opening import open_samples
from hardpairs.reporting.pair_page import make_page
from tests.mining.suspicious import suspicious_table


def test_suspicious_pairs_come_first_on_the_page(table):
    pairs, samples = suspicious_table(table), open_samples(table)
    page = make_page({"HPM": pairs}, samples, command="x")
    assert [target.image.row for target in page.suspicious] == [
        3,
        20,
        11,
    ]  # the last is not like its partners
    assert [pair.suspicious for pair in page.suspicious[0].hard_pairs] == [
        "",
        "the captions have the same words",
    ]
