"""Weights that are not on this machine are named before they are fetched, and a silent server is one error."""

import socket
import time

import pytest
from huggingface_hub import constants
from open_clip import pretrained

from hardpairs.core.errors import UserError
from hardpairs.models.download import downloading, fetching
from hardpairs.models.load import load_encoder
from hardpairs.models.model_config import make_tokenizer

WEIGHTS = ("ViT-B-32", "laion2b_s34b_b79k")


@pytest.fixture
def hub(monkeypatch):
    """A port of this machine that answers, in place of Hugging Face."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        yield server


def test_a_download_is_announced(hub, tmp_path, capsys):
    with downloading(*WEIGHTS, str(tmp_path)):
        assert not constants.HF_HUB_OFFLINE
    assert "fetching the weights laion2b_s34b_b79k of ViT-B-32 from Hugging Face, laion/" in (
        capsys.readouterr().err
    )
    with fetching("acme/encoder", ["modules.json"], str(tmp_path)):
        pass
    assert capsys.readouterr().err == "fetching acme/encoder from Hugging Face\n"


@pytest.mark.parametrize("answers", [True, False])
def test_what_is_in_the_cache_is_not_announced_and_needs_no_server(hub, tmp_path, capsys, answers):
    if not answers:
        hub.close()
    folder = tmp_path / "models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K"
    (folder / "snapshots/abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs/main").write_text("abc")
    (folder / "snapshots/abc/open_clip_model.safetensors").write_text("")
    with downloading(*WEIGHTS, str(tmp_path)):
        assert answers != constants.HF_HUB_OFFLINE  # else it would ask for a minute
    assert capsys.readouterr().err == "" and not constants.HF_HUB_OFFLINE


def test_a_server_that_does_not_answer_is_one_error_at_once(hub, tmp_path):
    hub.close()
    began = time.monotonic()
    with pytest.raises(UserError, match=r"127\.0\.0\.1 does not answer: .*refused") as error:
        load_encoder(*WEIGHTS, cache_dir=str(tmp_path))
    assert error.value.code == 3 and "without a network give a file" in error.value.fix
    assert time.monotonic() - began < 5


def test_a_proxy_is_trusted_to_reach_it(hub, tmp_path, monkeypatch):
    hub.close()
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with downloading(*WEIGHTS, str(tmp_path)):
        assert not constants.HF_HUB_OFFLINE


def test_who_is_offline_downloads_nothing(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with downloading(*WEIGHTS, str(tmp_path)):  # the hub's own library refuses
        pass
    address = "https://weights.invalid/vit.pt"
    monkeypatch.setitem(pretrained._PRETRAINED["ViT-B-32"], "elsewhere", {"url": address})
    with pytest.raises(UserError, match="not on this machine") as error:
        load_encoder("ViT-B-32", "elsewhere", cache_dir=str(tmp_path))
    assert error.value.code == 3 and error.value.where == address
    (tmp_path / "vit.pt").write_text("")
    with downloading("ViT-B-32", "elsewhere", str(tmp_path)):
        pass
    assert capsys.readouterr().err == ""


def test_a_tokenizer_of_the_hub_needs_it_or_is_one_error(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="tokenizer of ViT-B-16-SigLIP cannot be had") as error:
        make_tokenizer("ViT-B-16-SigLIP", cache_dir=str(tmp_path))
    assert error.value.code == 3
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.close()
    with pytest.raises(UserError, match="does not answer"):
        make_tokenizer("ViT-B-16-SigLIP", cache_dir=str(tmp_path))


@pytest.mark.parametrize("address", ["127.0.0.1:9", "http://127.0.0.1:9", "https://" + "a" * 70])
def test_any_address_that_does_not_answer_is_the_error(hub, tmp_path, monkeypatch, address):
    """One without a scheme, one that refuses, and one that is no name of a host."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setenv("NO_PROXY", "localhost")  # is no proxy
    with (
        pytest.raises(UserError, match="does not answer") as error,
        fetching("acme/encoder", ["modules.json"], str(tmp_path)),
    ):
        pass
    assert error.value.code == 3
