"""MiniCLIP's checkpoints: a model with names of its own, saved as MiniCLIP saves, gives the same embeddings here."""

import json

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from hardpairs.cli.import_miniclip import main
from hardpairs.compat.miniclip_checkpoint import read_miniclip_checkpoint
from hardpairs.core.errors import UserError
from hardpairs.models.load import load_encoder
from hardpairs.models.miniclip.text import sinusoids

CAPTIONS = ["white chair", "mug on a white chair", "dog", "Dog, asleep!"]
VOCABULARY = ["white", "chair", "dog", "mug", "on", "a", "asleep"]


def resnet():
    return nn.Sequential(*list(torchvision.models.resnet18(weights=None).children())[:-1])


def cnn():
    layers = []
    for before, after, size in ((3, 64, 7), (64, 128, 3), (128, 256, 3), (256, 512, 3)):
        convolution = nn.Conv2d(before, after, size, 2, size // 2)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if size == 7 else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1))


class Image(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.projection = nn.Sequential(
            nn.Linear(512, 512),
            nn.BatchNorm1d(512),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(512, 256),
        )

    def forward(self, images):
        return self.projection(self.encoder(images).flatten(1))


class Lstm(nn.Module):
    def __init__(self, words):
        super().__init__()
        self.embed = nn.Embedding(words, 128, padding_idx=0)
        self.rnn = nn.LSTM(128, 256, 2, batch_first=True, bidirectional=True, dropout=0.2)
        self.layer_norm = nn.LayerNorm(512)
        self.fc = nn.Sequential(
            nn.Linear(512, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 256)
        )

    def forward(self, tokens):
        packed = pack_padded_sequence(
            self.embed(tokens), (tokens != 0).sum(1), batch_first=True, enforce_sorted=False
        )
        states = self.rnn(packed)[1][0]
        return self.fc(self.layer_norm(torch.cat([states[-2], states[-1]], dim=1)))


class Transformer(nn.Module):
    def __init__(self, words):
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, 128))
        self.embed = nn.Embedding(words, 128, padding_idx=0)
        self.register_buffer("pe", sinusoids(64, 128)[None])
        layer = nn.TransformerEncoderLayer(
            128, 4, 512, 0.2, "gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.ln = nn.LayerNorm(128)
        self.fc = nn.Sequential(
            nn.Linear(128, 128), nn.GELU(), nn.Dropout(0.2), nn.Linear(128, 256)
        )

    def forward(self, tokens):
        x = torch.cat([self.cls_token.expand(len(tokens), -1, -1), self.embed(tokens)], 1)
        x = x + self.pe[:, : x.shape[1]]
        padded = torch.cat([torch.zeros(len(tokens), 1, dtype=torch.bool), tokens == 0], 1)
        return self.fc(self.ln(self.transformer(x, src_key_padding_mask=padded)[:, 0]))


class Model(nn.Module):
    def __init__(self, text, text_first=False, encoder=resnet):
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(2.5))
        parts = {"image_encoder": Image(encoder()), "text_encoder": text(4 + len(VOCABULARY))}
        for name in sorted(parts, reverse=text_first):
            self.add_module(name, parts[name])


def save(folder, model, captions=CAPTIONS, **changes):
    (folder / "captions.json").write_text(
        json.dumps([{"file_name": f"{i}.jpg", "caption": text} for i, text in enumerate(captions)])
    )
    optimizer = {
        "state": {0: {"step": torch.tensor(3.0)}},
        "param_groups": [{"lr": 3e-4, "params": [0]}],
    }
    content = {
        "epoch": 12,
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer,
        "val_r1": np.float64(41.5),
    }
    torch.save({**content, "config": {"EMBED_DIM": 256}, **changes}, folder / "best_model.pth")
    return folder / "best_model.pth"


@pytest.mark.parametrize(
    ("text", "name"), [(Lstm, "miniclip-lstm"), (Transformer, "miniclip-transformer")]
)
@pytest.mark.parametrize(("text_first", "encoder"), [(False, resnet), (True, resnet), (True, cnn)])
def test_the_same_embeddings_come_out(tmp_path, capsys, text, name, text_first, encoder):
    torch.manual_seed(0)
    theirs, name = Model(text, text_first, encoder), name + "-cnn" * (encoder is cnn)
    theirs.train().image_encoder(torch.rand(8, 3, 64, 64))  # statistics of its own
    theirs.eval()
    path = save(tmp_path, theirs)
    assert (
        main(
            [
                str(path),
                "--captions_json",
                str(tmp_path / "captions.json"),
                "--out",
                str(tmp_path / "a.pt"),
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.strip() == name
    encoder = load_encoder(name, str(tmp_path / "a.pt"))
    assert encoder.tokenizer.vocabulary == VOCABULARY
    tokens, images = encoder.tokenizer(["white mug", "dog on a zebra"]), torch.rand(2, 3, 64, 64)
    assert tokens[:, :4].tolist() == [[4, 7, 0, 0], [6, 8, 9, 1]]
    with torch.no_grad():
        torch.testing.assert_close(
            encoder.model.encode_text(tokens), theirs.text_encoder(tokens), atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(
            encoder.model.encode_image(images), theirs.image_encoder(images), atol=1e-5, rtol=1e-4
        )
    assert encoder.model.logit_scale.item() == 2.5
    code, text = refused(tmp_path / "a.pt")  # its words would come in another order
    assert code == 2 and "of this project" in text


def refused(path, captions=CAPTIONS):
    with pytest.raises(UserError) as error:
        read_miniclip_checkpoint(path, captions)
    return error.value.code, error.value.text()


def test_another_captions_json_is_refused(tmp_path):
    path = save(tmp_path, Model(Lstm))
    code, text = refused(path, [*CAPTIONS, "a zebra"])
    assert code == 4 and "8 words" in text and "trained with 7" in text


def test_what_is_built_otherwise_is_refused(tmp_path):
    class OtherOrder(Transformer):
        def __init__(self, words):
            super().__init__(words)
            del self.ln
            self.fc = nn.Sequential(nn.LayerNorm(128), *self.fc)
            self.transformer, layers = None, self.transformer
            del self.transformer
            self.transformer = layers  # registered last

    class OtherPositions(Transformer):
        def __init__(self, words):
            super().__init__(words)
            self.pe += 0.5

    for text in (OtherOrder, OtherPositions):
        code, message = refused(save(tmp_path, Model(text)))
        assert code == 4 and "stands where" in message


def test_what_is_no_checkpoint_of_miniclip_is_refused(tmp_path):
    path = save(tmp_path, nn.Linear(2, 2))
    assert refused(path)[0] == 4
    assert refused(save(tmp_path, nn.Linear(2, 2), model_state_dict=3))[0] == 3


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Canary:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    code, _ = refused(save(tmp_path, nn.Linear(2, 2), config=Canary()))
    assert code == 4 and not (tmp_path / "ran").exists()


def test_the_demonstration_takes_miniclips_own_file(tmp_path, monkeypatch):
    """checkpoints/best_model_lstm.pth and data/, and nothing else: the command line of MiniCLIP's users."""
    from hardpairs.cli.photos import main as photo_search
    from tests.helpers import picture

    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    for name in ("data/images", "checkpoints"):
        (tmp_path / name).mkdir(parents=True)
    save(tmp_path, Model(Lstm)).rename(tmp_path / "checkpoints/best_model_lstm.pth")
    (tmp_path / "captions.json").rename(tmp_path / "data/captions.json")
    for i in range(len(CAPTIONS)):
        (tmp_path / f"data/images/{i}.jpg").write_bytes(picture(i))
    assert photo_search(["--mode", "automatic", "--model_type", "lstm", "--top", "2"]) == 0
    found = json.loads((tmp_path / "results/demo_results_lstm.json").read_text())
    assert {query["query"] for query in found["queries"]} == set(CAPTIONS) and (
        tmp_path / "results/demo_results_lstm.png"
    ).is_file()
