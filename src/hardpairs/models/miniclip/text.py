"""Text towers that read words: a bidirectional LSTM, and a small Transformer."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from hardpairs.core.errors import usage
from hardpairs.models.tokenizer import PAD


def lengths_of(tokens: torch.Tensor) -> torch.Tensor:
    """(B,) number of words of each caption of ``tokens`` (B, L); a caption without any counts as one unread place."""
    return (tokens != PAD).sum(dim=1).clamp(min=1)


class TextTower(nn.Module):
    """What both have: a table of word vectors whose size follows from the vocabulary, and OpenCLIP's interface of a text tower."""

    def __init__(self, vocab_size: int, *, context_length: int, width: int) -> None:
        super().__init__()
        self.context_length, self.width = context_length, width
        self.embedding = nn.Embedding(vocab_size, width, padding_idx=PAD)

    @property
    def vocab_size(self) -> int:
        """Rows of the table, special tokens included."""
        return self.embedding.num_embeddings

    def set_vocabulary_size(self, vocab_size: int) -> None:
        """A new table, with random vectors, unless the present one has that size; locked where that is."""
        old = self.embedding.weight
        if vocab_size != len(old):
            self.embedding = (
                nn.Embedding(vocab_size, self.width, padding_idx=PAD)
                .to(old)
                .requires_grad_(old.requires_grad)
            )

    def lock(self, unlocked_layers: int = 0, freeze_layer_norm: bool = True) -> None:
        """Stops training of the whole tower (OpenCLIP's ``--lock-text``)."""
        if unlocked_layers:
            raise usage(
                "this text tower is locked whole or not at all",
                fix="--lock-text without --lock-text-unlocked-layers",
            )
        self.requires_grad_(False)


class LSTMTower(TextTower):
    """Word vectors through a bidirectional LSTM; the last layer's two final states, through a head.

    Args:
        vocab_size: rows of the word table, special tokens included.
        context_length: words of the longest caption.
        width: of a word vector.
        hidden: of a state of one direction.
        layers: of the LSTM.
        embed_dim: width of the embeddings.
        dropout: on word vectors, between layers and in the head.
    """

    def __init__(
        self,
        vocab_size: int,
        *,
        context_length: int,
        width: int,
        hidden: int,
        layers: int,
        embed_dim: int,
        dropout: float,
    ) -> None:
        super().__init__(vocab_size, context_length=context_length, width=width)
        self.dropout = nn.Dropout(dropout)
        between = (
            dropout if layers > 1 else 0.0
        )  # torch warns of a dropout between layers where there is one
        self.lstm = nn.LSTM(
            width, hidden, layers, batch_first=True, bidirectional=True, dropout=between
        )
        self.norm = nn.LayerNorm(2 * hidden)
        self.head = nn.Sequential(
            nn.Linear(2 * hidden, embed_dim),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(embed_dim, embed_dim),
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, L) int64 ids to (B, embed_dim), not of unit length."""
        words = self.dropout(self.embedding(tokens))
        packed = pack_padded_sequence(
            words, lengths_of(tokens).cpu(), batch_first=True, enforce_sorted=False
        )
        _, (states, _) = self.lstm(packed)  # (layers * 2, B, hidden)
        return self.head(self.norm(torch.cat([states[-2], states[-1]], dim=1)))


class TransformerTower(TextTower):
    """Word vectors behind a learned first token, with sinusoidal positions, through pre-norm layers; the first token, through a head.

    Args:
        vocab_size: rows of the word table, special tokens included.
        context_length: words of the longest caption.
        width: of a word vector and of the layers.
        heads, layers, feed_forward: of the Transformer.
        embed_dim: width of the embeddings.
        dropout: on word vectors, in the layers and in the head.
    """

    positions: torch.Tensor

    def __init__(
        self,
        vocab_size: int,
        *,
        context_length: int,
        width: int,
        heads: int,
        layers: int,
        feed_forward: int,
        embed_dim: int,
        dropout: float,
    ) -> None:
        super().__init__(vocab_size, context_length=context_length, width=width)
        self.first = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.register_buffer("positions", sinusoids(context_length + 1, width), persistent=False)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(
            width,
            heads,
            feed_forward,
            dropout=dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, embed_dim)
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, L) int64 ids to (B, embed_dim), not of unit length."""
        words = torch.cat(
            [self.first.expand(len(tokens), -1, -1), self.embedding(tokens)], dim=1
        )  # (B, 1 + L, width)
        words = self.dropout(words + self.positions[: words.shape[1]])
        places = torch.arange(words.shape[1], device=tokens.device)
        padded = places > lengths_of(tokens)[:, None]  # the first token is place 0
        return self.head(self.norm(self.layers(words, src_key_padding_mask=padded)[:, 0]))


def sinusoids(length: int, width: int) -> torch.Tensor:
    """(length, width) float32 position codes, sine and cosine in turn (Vaswani et al. 2017, section 3.5)."""
    angles = torch.arange(length)[:, None] * torch.exp(
        torch.arange(0, width, 2) * (-math.log(10_000.0) / width)
    )
    return torch.stack([angles.sin(), angles.cos()], dim=2).reshape(length, width)


TEXT_TOWERS = {"lstm": LSTMTower, "transformer": TransformerTower}
"""By the name in a config's ``text_cfg``."""
