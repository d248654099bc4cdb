"""Text towers: one caption's embedding, whatever stands beside it."""

import math

import pytest
import torch
from torch import nn

from hardpairs.models.miniclip.text import lengths_of, sinusoids
from tests.models.miniclip.helpers import make


@pytest.mark.parametrize("name", ["miniclip-lstm-cnn", "miniclip-transformer-cnn"])
def test_a_captions_embedding_is_its_own(name):
    """Neither other captions nor the places behind its words change it, and the words' order does."""
    model = make(name).eval()
    rows = [[4, 5, 6], [7], [8, 9, 4, 4, 10], [6, 5, 4]]
    padded = torch.tensor([row + [0] * (32 - len(row)) for row in rows])
    with torch.no_grad():
        together = model.encode_text(padded)
        for i, row in enumerate(rows):
            torch.testing.assert_close(
                together[i], model.encode_text(torch.tensor([row]))[0], atol=1e-5, rtol=1e-4
            )
        assert (together[0] - together[3]).abs().max() > 1e-3
        nothing = model.encode_text(torch.zeros(2, 32, dtype=torch.int64))
    assert torch.isfinite(nothing).all() and torch.equal(nothing[0], nothing[1])
    assert lengths_of(torch.tensor([[4, 5, 0], [0, 0, 0]])).tolist() == [2, 1]


def test_lstm_against_its_cells():
    """The last layer's final states, by stepping torch's cells through one caption in both directions."""
    text = make("miniclip-lstm-cnn").text.eval()
    tokens = torch.tensor([4, 5, 6, 7])
    with torch.no_grad():
        sequence, final = text.embedding(tokens), {}
        for layer in range(2):
            outputs = {}
            for suffix, steps in (("", range(4)), ("_reverse", range(3, -1, -1))):
                cell = nn.LSTMCell(sequence.shape[1], 256)
                cell.load_state_dict(
                    {
                        name: getattr(text.lstm, f"{name}_l{layer}{suffix}")
                        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                    }
                )
                state, seen = None, {}
                for step in steps:
                    state = cell(sequence[step][None], state)
                    seen[step] = state[0][0]
                outputs[suffix], final[suffix] = (
                    torch.stack([seen[step] for step in range(4)]),
                    state[0],
                )
            sequence = torch.cat([outputs[""], outputs["_reverse"]], dim=1)
        expected = text.head(text.norm(torch.cat([final[""], final["_reverse"]], dim=1)))
        torch.testing.assert_close(text(tokens[None]), expected, atol=1e-5, rtol=1e-4)


def test_positions():
    table = sinusoids(5, 4)
    assert table[0].tolist() == [0, 1, 0, 1]
    assert table[3].tolist() == pytest.approx(
        [math.sin(3), math.cos(3), math.sin(3 / 100), math.cos(3 / 100)]
    )
