"""The predictions of docs/scaling.md follow from the stored constants."""

import json

from benchmarks import scaling


def test_the_page_is_what_the_model_says():
    text, report = scaling.PAGE.read_text(), json.loads(scaling.RESULTS.read_text())
    assert scaling.page(text, report) == text
