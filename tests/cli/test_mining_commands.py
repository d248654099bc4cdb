"""mining.embed and mining.hard_pair_mining as commands."""

import json

import numpy as np
import pytest

from hardpairs.data.embeddings import open_embeddings
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.samples import open_samples
from tests.helpers import run


def embed(source, checkpoint, out, *more):
    flag = "--csv" if str(source).endswith("csv") else "--shards"
    return run(
        "python",
        "-m",
        "mining.embed",
        flag,
        str(source),
        "--model",
        "hardpairs-test",
        "--pretrained",
        str(checkpoint),
        "--out",
        str(out),
        *more,
    )


def test_chain_from_shards_to_hard_pairs(shards, checkpoint, tmp_path):
    done = embed(shards, checkpoint, tmp_path / "emb")
    assert done.returncode == 0, done.stderr
    assert "20 pairs = 18 embedded + 2 rejected" in done.stderr
    embeddings = open_embeddings(tmp_path / "emb", verify=True)
    assert (
        embeddings.fingerprint == open_samples(shards).fingerprint and embeddings.num_samples == 20
    )
    assert sorted(set(range(20)) - set(embeddings.rows.tolist())) == [3, 9]
    np.testing.assert_allclose(np.linalg.norm(embeddings.image, axis=1), 1, rtol=1e-5)
    again = embed(shards, checkpoint, tmp_path / "emb")
    assert again.returncode == 0 and "already embedded" in again.stderr

    mine = (
        "python",
        "-m",
        "mining.hard_pair_mining",
        "--dataset",
        "x",
        "--save_path",
        str(tmp_path / "out"),
        "--topk",
        "4",
        "--duplicate-threshold",
        "2",
    )
    done = run(*mine, "--embeddings", str(tmp_path / "emb"))
    assert done.returncode == 0, done.stderr
    table = HardPairTable.open(tmp_path / "out/x_hard_pairs", verify=True)
    assert json.loads(done.stdout)["rows_with_pairs"] == 18
    assert (
        table.rejected == {3: "empty_caption", 9: "missing_image"}
        and table.lengths[3] == table.lengths[9] == 0
    )
    assert not np.isin(table.indices, (3, 9)).any()
    assert table.fingerprint == embeddings.fingerprint
    urls = json.loads((tmp_path / "out/url_index/x_url_index.json").read_text())
    assert urls["http://x/11.jpg"] == 11 and len(urls) == 18
    first = (tmp_path / "out/x_hard_pairs/manifest.json").read_bytes()
    run(*mine, "--embeddings", str(tmp_path / "emb"))
    assert (tmp_path / "out/x_hard_pairs/manifest.json").read_bytes() == first


def test_bad_pictures_are_rejected_with_reasons(table, checkpoint, tmp_path):
    (tmp_path / "images/4.jpg").write_bytes(b"<html>")
    (tmp_path / "images/5.jpg").unlink()
    done = embed(table, checkpoint, tmp_path / "emb")
    assert done.returncode == 0, done.stderr
    assert open_embeddings(tmp_path / "emb").manifest["rejected"] == {
        "4": "not_an_image",
        "5": "missing_file",
    }


def test_another_datasets_folder_is_refused(table, shards, checkpoint, tmp_path):
    embed(table, checkpoint, tmp_path / "emb")
    done = embed(shards, checkpoint, tmp_path / "emb")
    assert done.returncode == 4 and "other embeddings: dataset_fingerprint" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--csv", "no.csv", "--model", "hardpairs-test"), 2, "no such file"),
        (("--csv", "TABLE", "--model", "NoModel", "--pretrained", "none"), 2, "unknown model"),
        (
            ("--csv", "TABLE", "--model", "hardpairs-test", "--pretrained", "no.pt"),
            2,
            "no such checkpoint",
        ),
        (
            ("--csv", "TABLE", "--model", "hardpairs-test", "--pretrained", "TORN"),
            4,
            "not a whole, safe checkpoint",
        ),
        (("--csv", "TABLE", "--model", "RN50", "--pretrained", "CHECKPOINT"), 4, "not of RN50"),
        (("--model", "hardpairs-test"), 2, "either --shards or --csv"),
    ],
)
def test_wrong_arguments(table, checkpoint, tmp_path, arguments, code, says):
    torn = tmp_path / "torn.pt"
    torn.write_bytes(checkpoint.read_bytes()[:5000])
    names = {"TABLE": str(table), "TORN": str(torn), "CHECKPOINT": str(checkpoint)}
    done = run(
        "python",
        "-m",
        "mining.embed",
        *(names.get(a, a) for a in arguments),
        "--out",
        str(tmp_path / "e"),
    )
    assert done.returncode == code and says in done.stderr and "Traceback" not in done.stderr
