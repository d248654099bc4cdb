"""Weights that are not on this machine are named before they are fetched."""

import pytest

from hardpairs.models.download import announce_download


@pytest.fixture(autouse=True)
def with_a_network(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def test_a_download_is_announced(tmp_path, capsys):
    announce_download("ViT-B-32", "laion2b_s34b_b79k", str(tmp_path))
    assert "fetching the weights laion2b_s34b_b79k of ViT-B-32 from Hugging Face, laion/" in (
        capsys.readouterr().err
    )


def test_what_is_in_the_cache_is_not_announced(tmp_path, capsys):
    folder = tmp_path / "models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K"
    (folder / "snapshots/abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs/main").write_text("abc")
    (folder / "snapshots/abc/open_clip_model.safetensors").write_text("")
    announce_download("ViT-B-32", "laion2b_s34b_b79k", str(tmp_path))
    assert capsys.readouterr().err == ""
