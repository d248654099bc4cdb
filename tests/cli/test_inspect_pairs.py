"""The command ``inspect pairs``: real clicks in a real browser, and the way of a mark."""

import json
import re

import numpy as np
import pytest

from hardpairs.cli import mine as hard_pair_mining
from hardpairs.cli.inspect_pairs import main
from hardpairs.core.errors import UserError
from hardpairs.data.hard_pairs import HardPairTable, open_hard_pairs, table_folder, write_table
from hardpairs.data.opening import open_samples
from hardpairs.data.rejects import REASON
from tests.browser import CHROMIUM, Browser
from tests.helpers import ragged_table


def mine(embeddings, out, *more):
    """Mine five hard pairs for each row of ``embeddings``."""
    paths = ("--dataset", "pairs", "--save_path", out, "--embeddings", embeddings)
    options = ("--topk", "5", "--duplicate-threshold", "2", "--device", "cpu")
    hard_pair_mining.main([str(word) for word in (*paths, *options, *more)])


@pytest.fixture
def mined(table, embeddings, tmp_path):
    for method in ("HPM", "image", "text"):
        mine(embeddings, tmp_path / method, "--mining_method", method)
    return [str(tmp_path / method) for method in ("HPM", "image", "text")]


def test_the_command(mined, table, tmp_path, capsys):
    capsys.readouterr()
    assert main([*mined, "--data", str(table), "--html", str(tmp_path / "pairs.html")]) == 0
    printed, page = capsys.readouterr().out, (tmp_path / "pairs.html").read_text()
    counts = json.loads((tmp_path / "HPM/pairs_hard_pairs/manifest.json").read_text())["counts"]
    assert counts["candidates"] == counts["kept"] + sum(counts["removed"].values())
    assert re.search(rf"^candidates +{counts['candidates']:,} ", printed, re.MULTILINE)
    assert re.search(rf"^kept +{counts['kept']:,} ", printed, re.MULTILINE)
    for line in (
        "rows in no list",
        "hardest score of a row: highest",
        "lists that the most popular row is in",
    ):
        assert line in printed and line in page
    assert (
        re.search(r"^HPM +\d+\.\d % +\d+\.\d %", printed, re.MULTILINE)
        and page.count("data:image/jpeg") > 50
    )
    assert not re.search(r"(src|href)=\"(?!data:)", page) and len(re.findall("<script", page)) == 1


def test_scores_are_known_of_embeddings_that_nothing_ties_to_the_data(embeddings, tmp_path, capsys):
    """Mined from .npy files a table has scores and no fingerprint; converted from HELIP's it has neither."""
    halves = (
        "--image-embeddings",
        f"{embeddings}/img_emb/img_emb_0.npy",
        "--text-embeddings",
        f"{embeddings}/text_emb/text_emb_0.npy",
    )
    hard_pair_mining.main(
        [
            "--dataset",
            "pairs",
            "--save_path",
            str(tmp_path / "npy"),
            *halves,
            "--duplicate-threshold",
            "2",
            "--device",
            "cpu",
        ]
    )
    capsys.readouterr()
    main([str(tmp_path / "npy")])
    printed = capsys.readouterr().out
    assert "Half of the hardest scores are above" in printed and "unknown" not in printed
    (tmp_path / "foreign.csv").write_text((tmp_path / "npy/pairs_hard_sample.csv").read_text())
    open_hard_pairs(
        tmp_path / "foreign.csv",
        num_samples=len(HardPairTable.open(tmp_path / "npy/pairs_hard_pairs").lengths),
    )
    main([str(tmp_path / "foreign_hard_pairs_converted")])
    assert re.search(r"hardest score of a row: highest +unknown", capsys.readouterr().out)


def test_without_data_there_are_numbers(mined, capsys):
    capsys.readouterr()
    assert main([f"{mined[0]}/pairs_hard_sample.csv"]) == 0
    assert "Hard pairs: HPM" in capsys.readouterr().out
    for arguments, says in (
        ([mined[0], "--html", "x.html"], "nothing says where they are"),
        ([mined[0], mined[0]], "given twice"),
    ):
        with pytest.raises(UserError, match=says) as error:
            main(arguments)
        assert error.value.code == 2


def test_a_strangers_caption_stays_text(table, tmp_path):
    evil = '</script><script>alert(1)</script><img src=x onerror=alert(1)>"'
    table.write_text(
        table.read_text().replace("picture number 3\n", '"' + evil.replace('"', '""') + '"\n')
    )
    indices, scores = ragged_table(40, 6, fullest=True)
    folder = table_folder(tmp_path, "pairs")
    write_table(folder, indices, scores, {"dataset_fingerprint": open_samples(table).fingerprint})
    main([str(folder), "--data", str(table), "--html", str(tmp_path / "x.html")])
    page = (tmp_path / "x.html").read_text()
    assert (
        page.count("<script") == 1 and "<img src=x" not in page and "&lt;script&gt;alert(1)" in page
    )


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_marking_rows_in_a_browser(mined, table, embeddings, tmp_path):
    """Opened, clicked and saved in Chromium; the file then takes the rows out of the lists."""
    main([mined[0], "--data", str(table), "--html", str(tmp_path / "pairs.html")])
    (tmp_path / "downloads").mkdir()
    with Browser(tmp_path / "downloads") as browser:
        browser.open(tmp_path / "pairs.html")
        assert browser.run("document.getElementById('marked').hidden")
        assert browser.run(
            "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
        )
        assert browser.run(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
        rows = browser.run(
            "[...new Set([...document.querySelectorAll('input[data-row]')].map(box => Number(box.dataset.row)))]"
        )
        chosen = sorted(rows[:3])
        for row in (*chosen, rows[4], rows[4]):  # the last is ticked and unticked
            browser.run(f"document.querySelector('input[data-row=\"{row}\"]').click()")
        assert (
            browser.run("document.querySelector('#marked output').textContent") == "3 rows marked"
        )
        assert browser.run(
            f"[...document.querySelectorAll('input[data-row=\"{chosen[0]}\"]')].every(box => box.checked)"
        )
        browser.run("document.getElementById('save').click()")
        saved = json.loads(browser.downloaded("rejected.json"))
        assert browser.complaints() == []
    samples = open_samples(table)
    assert saved == {
        "kind": "rejected_rows",
        "dataset_fingerprint": samples.fingerprint,
        "rows": chosen,
    }
    file = tmp_path / "downloads/rejected.json"
    mine(embeddings, tmp_path / "again", "--reject", file)
    left = open_hard_pairs(tmp_path / "again/pairs_hard_pairs", num_samples=40, verify=True)
    assert left.rejected == dict.fromkeys(chosen, REASON)
    assert (
        (left.lengths[chosen] == 0).all()
        and not np.isin(left.indices, chosen).any()
        and (np.delete(left.lengths, chosen) > 0).all()
    )
