"""Text towers that read words: a bidirectional LSTM, and a small Transformer."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from hardpairs.core.errors import usage
from hardpairs.models.tokenizer import PAD


def lengths_of(tokens: torch.Tensor) -> torch.Tensor:
    """Return the (B,) number of words of each caption of ``tokens`` (B, L), at least 1."""
    return (tokens != PAD).sum(dim=1).clamp(min=1)


class TextTower(nn.Module):
    """A table of word vectors, one for each word, and OpenCLIP's interface of a text tower."""

    def __init__(self, vocab_size: int, *, context_length: int, width: int) -> None:
        super().__init__()
        self.context_length, self.width = context_length, width
        self.embedding = nn.Embedding(vocab_size, width, padding_idx=PAD)

    @property
    def vocab_size(self) -> int:
        """Rows of the table, special tokens included."""
        return self.embedding.num_embeddings

    def set_vocabulary_size(self, vocab_size: int) -> None:
        """Make a table of random vectors, unless the present one has that size.

        A frozen table stays frozen.
        """
        old = self.embedding.weight
        if vocab_size != len(old):
            self.embedding = (
                nn.Embedding(vocab_size, self.width, padding_idx=PAD)
                .to(old)
                .requires_grad_(old.requires_grad)
            )

    def lock(self, unlocked_layers: int = 0, freeze_layer_norm: bool = True) -> None:
        """Freeze the whole tower (OpenCLIP's ``--lock-text``).

        Raises:
            UserError: exit 2 for some unlocked layers.
        """
        if unlocked_layers:
            raise usage(
                "this text tower is locked whole or not at all",
                fix="`lock_text` without `lock_text_unlocked_layers`",
            )
        self.requires_grad_(False)


class LSTMTower(TextTower):
    """Word vectors through a bidirectional LSTM; the last layer's two final states, through a head.

    Args:
        vocab_size: Rows of the word table, special tokens included.
        context_length: Words of the longest caption.
        width: Width of a word vector.
        hidden: Width of a state of one direction.
        layers: Layers of the LSTM.
        embed_dim: Width of the embeddings.
        dropout: Share left out on word vectors, between layers and in the head.
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
        between = dropout if layers > 1 else 0.0  # torch warns of a dropout after a single layer
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
        """Return (B, embed_dim) features, not of unit length, of (B, L) int64 token ids."""
        words = self.dropout(self.embedding(tokens))
        packed = pack_padded_sequence(
            words, lengths_of(tokens).cpu(), batch_first=True, enforce_sorted=False
        )
        _, (states, _) = self.lstm(packed)  # (layers * 2, B, hidden)
        features: torch.Tensor = self.head(self.norm(torch.cat([states[-2], states[-1]], dim=1)))
        return features


class TransformerTower(TextTower):
    """Word vectors behind a learned first token through pre-norm layers.

    Positions are sinusoidal, and the first token's state goes through a head.

    Args:
        vocab_size: Rows of the word table, special tokens included.
        context_length: Words of the longest caption.
        width: Width of a word vector and of the layers.
        heads: Attention heads of the Transformer.
        layers: Its layers.
        feed_forward: Width of its feed-forward parts.
        embed_dim: Width of the embeddings.
        dropout: Share left out on word vectors, in the layers and in the head.
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
        self.first = nn.Parameter(torch.randn(1, 1, width))
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
        """Return (B, embed_dim) features, not of unit length, of (B, L) int64 token ids."""
        first = self.first.expand(len(tokens), -1, -1)
        words = torch.cat([first, self.embedding(tokens)], dim=1)  # (B, 1 + L, width)
        words = self.dropout(words + self.positions[: words.shape[1]])
        positions = torch.arange(words.shape[1], device=tokens.device)
        padded = positions > lengths_of(tokens)[:, None]  # the learned first token is position 0
        states = self.layers(words, src_key_padding_mask=padded)
        features: torch.Tensor = self.head(self.norm(states[:, 0]))
        return features


def sinusoids(length: int, width: int) -> torch.Tensor:
    """Return (length, width) float32 position codes (Vaswani et al. 2017, section 3.5)."""
    angles = torch.arange(length)[:, None] * torch.exp(
        torch.arange(0, width, 2) * (-math.log(10_000.0) / width)
    )
    return torch.stack([angles.sin(), angles.cos()], dim=2).reshape(length, width)


TEXT_TOWERS: dict[str, Callable[..., TextTower]] = {
    "lstm": LSTMTower,
    "transformer": TransformerTower,
}
"""Text towers by the name in a configuration's ``text_cfg``."""
