"""The command line of hardpairs embed, and what hardpairs mine makes of its embeddings."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hardpairs.cli.embed import main
from hardpairs.core.errors import UserError
from hardpairs.data.embeddings import open_embeddings
from hardpairs.data.hard_pairs import HardPairTable
from hardpairs.data.opening import open_samples
from tests.embedding.colors import RANDOM
from tests.helpers import in_process, picture
from tests.mining.command import mine


def test_first_and_last_tar_are_included(shards, tmp_path):
    flags = [*RANDOM, "--workers", "0", "--out"]
    main(
        ["--shards", str(shards), "--start_tar", "1", "--end-tar", "1", *flags, str(tmp_path / "e")]
    )
    assert open_embeddings(tmp_path / "e").num_samples == 5
    paths = [str(shards / f"0000{i}.tar") for i in (0, 2)]  # as a shell gives them
    main(["--shards", *paths, "--start_tar", "1", *flags, str(tmp_path / "f")])
    assert open_embeddings(tmp_path / "f").num_samples == 8


def test_captions_json_with_its_folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(3):
        (tmp_path / f"photos/{i}.jpg").write_bytes(picture(i))
    entries = [{"file_name": f"{i}.jpg", "caption": f"picture {i}"} for i in range(3)]
    (tmp_path / "captions.json").write_text(json.dumps(entries))
    command = [
        "--csv",
        str(tmp_path / "captions.json"),
        "--image-root",
        str(tmp_path / "photos"),
        *RANDOM,
        "--workers",
        "0",
    ]
    main([*command, "--out", str(tmp_path / "e")])
    assert open_embeddings(tmp_path / "e").rows.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--csv", "a.csv", "--shards", "b"], "give either --shards or --csv"),
        (["--csv", "a.csv", "--end-tar", "3"], "choose among --shards"),
        (["--csv", "a.csv", "--max-bad-fraction", "nan"], r"must lie in \[0, 1\]"),
    ],
)
def test_flags_that_do_not_go_together(flags, says):
    with pytest.raises(UserError, match=says) as error:
        main([*flags, "--out", "e"])
    assert error.value.code == 2


def embed(source, checkpoint, out):
    flag = "--csv" if str(source).endswith("csv") else "--shards"
    model = ("--model", "hardpairs-test", "--pretrained", checkpoint, "--device", "cpu")
    return in_process(main, flag, source, *model, "--workers", "0", "--out", out)


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

    flags = ("--dataset", "x", "--topk", "4", "--duplicate-threshold", "2", "--device", "cpu")
    line = (*flags, "--save_path", tmp_path / "out", "--embeddings", tmp_path / "emb")
    done = mine(*line)
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
    mine(*line)
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
            "not whole, safe weights",
        ),
        (("--csv", "TABLE", "--model", "RN50", "--pretrained", "CHECKPOINT"), 4, "not of RN50"),
        (("--model", "hardpairs-test"), 2, "either --shards or --csv"),
        (
            ("--csv", "TABLE", "--model", "hardpairs-test", "--out", "s3://bucket/e"),
            2,
            "--allow-remote",
        ),
    ],
)
def test_wrong_arguments(table, checkpoint, tmp_path, arguments, code, says):
    torn = tmp_path / "torn.pt"
    torn.write_bytes(checkpoint.read_bytes()[:5000])
    names = {"TABLE": str(table), "TORN": str(torn), "CHECKPOINT": str(checkpoint)}
    given = (names.get(argument, argument) for argument in arguments)
    done = in_process(main, "--out", tmp_path / "e", *given)
    assert done.returncode == code and says in done.stderr and "Traceback" not in done.stderr
