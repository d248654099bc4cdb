"""The page of hard pairs: numbers against plain loops, a stranger's captions, real clicks in a real browser, and the way of a mark."""

import json
import re

import numpy as np
import pytest

from hardpairs.cli import mine as hard_pair_mining
from hardpairs.cli.inspect_pairs import main
from hardpairs.core.errors import UserError
from hardpairs.data.hard_pairs import HardPairTable, open_hard_pairs, table_folder, write_table
from hardpairs.data.rejects import REASON, read_rejects
from hardpairs.data.samples import open_samples
from hardpairs.mining.pair_statistics import (
    QUANTILES,
    caption_likeness,
    overlap,
    statistics,
    suspicions,
    words,
)
from hardpairs.reporting.pair_page import make_page
from tests.browser import CHROMIUM, Browser
from tests.helpers import ragged_table


def in_memory(indices, scores, **manifest):
    lengths = (indices >= 0).sum(axis=1).astype(np.int32)
    return HardPairTable(
        indices.astype(np.int32), lengths, scores, {"dataset_fingerprint": "x", **manifest}
    )


def test_numbers_against_loops(monkeypatch):
    monkeypatch.setattr("hardpairs.mining.pair_statistics.ROWS_AT_ONCE", 7)
    indices, scores = ragged_table(60, 5)
    found = statistics(in_memory(indices, scores))
    lists = [[j for j in row if j >= 0] for row in indices.tolist()]
    flat = [j for row in lists for j in row]
    times = [flat.count(row) for row in range(60)]
    assert (found.rows, found.pairs, found.most_listed) == (60, len(flat), max(times)) and times[
        found.most_listed_row
    ] == max(times)
    assert (
        found.empty == sum(not row for row in lists) / 60
        and found.never_listed == times.count(0) / 60
    )
    assert found.hub_share == max(times) / len(flat)  # a hundredth of 60 rows is one
    hardest = [scores[row, 0] for row in range(60) if lists[row]]
    every = [scores[row, place] for row in range(60) for place in range(len(lists[row]))]
    assert found.hardest == pytest.approx(
        np.quantile(hardest, QUANTILES)
    ) and found.all == pytest.approx(np.quantile(every, QUANTILES))


def test_overlap_against_sets(monkeypatch):
    monkeypatch.setattr("hardpairs.mining.pair_statistics.ROWS_AT_ONCE", 11)
    tables = [in_memory(*ragged_table(50, 6, seed)) for seed in (0, 1)]
    ours, theirs = (
        {(row, j) for row in range(50) for j in table.indices[row].tolist() if j >= 0}
        for table in tables
    )
    assert overlap(*tables) == len(ours & theirs) / len(ours) and overlap(tables[0], tables[0]) == 1


def test_captions_that_say_the_same():
    assert words("The red-brick Houses, at night.") == {"red", "brick", "house", "at", "night"}
    assert caption_likeness("A dog.", "dogs") == 1 and caption_likeness("a red cat", "a cat") == 0.5
    assert caption_likeness("!!", "??") == 0


def test_the_suspicious_come_first(table):
    captions = {3: "two small dogs", 7: "Two small dogs!", 11: "a small dog", 20: "nothing else"}
    text = table.read_text()
    for row, caption in captions.items():
        text = text.replace(f"picture number {row}\n", f"{caption}\n")
    table.write_text(text)
    indices, scores = np.full((40, 2), -1), np.zeros((40, 2), np.float32)
    for row, partners, values in (
        (3, (20, 7), (0.6, 0.2)),
        (11, (3, 20), (0.3, 0.1)),
        (20, (3, 11), (0.95, 0.9)),
        (30, (3, 7), (0.4, 0.1)),
    ):
        indices[row], scores[row] = partners, values
    samples = open_samples(table)
    found = suspicions(in_memory(indices, scores), samples)
    assert [(s.row, s.place) for s in found] == [(3, 1), (20, 0), (11, 0), (30, 0)]
    assert [s.likeness for s in found] == pytest.approx([1, 0.95, 2 / 3, 0.4])
    assert (
        found[0].reason == "the captions have the same words"
        and found[1].reason == "the score is high"
    )
    page = make_page({"HPM": in_memory(indices, scores)}, samples, command="x")
    assert [anchor.picture.row for anchor in page.suspicious] == [
        3,
        20,
        11,
    ]  # the last is not like its partners
    assert [pair.suspicious for pair in page.suspicious[0].partners] == [
        "",
        "the captions have the same words",
    ]


@pytest.fixture
def mined(table, embeddings, tmp_path):
    for method in ("HPM", "image", "text"):
        out = str(tmp_path / method)
        command = [
            "--dataset",
            "pairs",
            "--save_path",
            out,
            "--topk",
            "5",
            "--embeddings",
            str(embeddings),
            "--device",
            "cpu",
        ]
        hard_pair_mining.main([*command, "--mining_method", method, "--duplicate-threshold", "2"])
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
    command = [
        "--dataset",
        "pairs",
        "--save_path",
        str(tmp_path / "again"),
        "--topk",
        "5",
        "--embeddings",
        str(embeddings),
        "--device",
        "cpu",
    ]
    hard_pair_mining.main([*command, "--duplicate-threshold", "2", "--reject", str(file)])
    left = open_hard_pairs(tmp_path / "again/pairs_hard_pairs", num_samples=40, verify=True)
    assert left.rejected == dict.fromkeys(chosen, REASON)
    assert (
        (left.lengths[chosen] == 0).all()
        and not np.isin(left.indices, chosen).any()
        and (np.delete(left.lengths, chosen) > 0).all()
    )


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
