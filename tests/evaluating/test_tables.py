"""Tables of an evaluation."""

from hardpairs.data.opening import open_samples
from hardpairs.evaluating.retrieval import evaluate_retrieval
from hardpairs.evaluating.tables import markdown_table, tables
from tests.photos.runs import embedded, write_photos


def test_tables_show_bounds_and_leave_out_what_is_not_there(tmp_path):
    photos = write_photos(tmp_path)
    samples = open_samples(photos)
    rows = embedded(samples, noise=1.0)
    record = {"ties": "expected", **evaluate_retrieval(samples, rows, None)[0]}
    plain = tables(record, "both")
    assert "text → image: 12 captions ask, 6 images are ranked, ties as their expectation" in plain
    assert "ceiling" not in plain and "MiniCLIP" not in plain and "brackets" not in plain
    bounds = {"pessimistic": 0.1, "expected": 0.25, "optimistic": 0.5}
    record |= {
        "baselines": {
            "bm25": {
                ties: {"text_to_image_R@1": v, "text_to_image_median_rank": 1 / v}
                for ties, v in bounds.items()
            }
        }
    }
    shown = tables(record, "ours")
    assert "25.0 (10.0 to 50.0)" in shown and "4 (2 to 10)" in shown and "brackets" in shown
    assert shown.count("BM25") == 1  # it answers captions alone


def test_a_markdown_table_is_aligned():
    rows = [["", "R@1"], ["model", "5.0"], ["x", "10.0"]]
    assert markdown_table(rows) == [
        "|       |  R@1 |",
        "|-------|-----:|",
        "| model |  5.0 |",
        "| x     | 10.0 |",
    ]
    assert markdown_table(rows, numbers_right=False)[1:3] == [
        "|-------|------|",
        "| model | 5.0  |",
    ]
