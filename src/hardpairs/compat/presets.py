"""``--preset NAME``: the flags it stands for, put before all others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hardpairs.compat.spelling import CommandLine, Words
from hardpairs.core.errors import usage

LABEL_LOSSES = ("supcon", "contrastive", "contrastive_squared", "triplet", "arcface")
READ_BY_LOSS = {
    **dict.fromkeys(("--embed", "--im-wt", "--projection", "--head-dropout"), LABEL_LOSSES),
    "--metric-temperature": ("supcon",),
    "--metric-margin": ("contrastive", "triplet", "arcface"),
    "--metric-negative-margin": ("contrastive", "contrastive_squared"),
    "--metric-scale": ("arcface",),
}
"""Flag of a preset -> the losses that read it."""
READ_BY_BATCHES = {"--m-per-class": ("m-per-class", "class-neighbours")}
"""Flag of a preset -> the batch makers that read it."""
INSTEAD = {
    "--warmup": ("--warmup-epochs",),
    "--warmup-epochs": ("--warmup",),
    "--batching": ("--use-hard",),
}
"""Flag of a preset -> flags beside it that say the same in another way, and win."""


def expand_preset(line: CommandLine, presets: Mapping[str, Sequence[str]]) -> None:
    """Put the words of the named preset into ``line.preset``.

    A word of the preset is left out where the line says otherwise: the flag itself, one that
    stands for it, or a loss, a batch maker or a head that does not read it.

    Raises:
        UserError: exit 2 for an unknown name.
    """
    name = line.value("--preset")
    if name is None:
        return
    if name not in presets:
        raise usage(f"there is no preset {name!r}", fix=f"one of: {', '.join(presets)}")
    line.preset = list(presets[name])
    line.preset = [
        word for words in _flags(presets[name]) if _is_read(line, words[0]) for word in words
    ]


def _flags(words: Sequence[str]) -> Iterator[Words]:
    """Yield each flag with its values."""
    group: Words = []
    for word in words:
        if word.startswith("--") and group:
            yield group
            group = []
        group.append(word)
    yield group


def _is_read(line: CommandLine, flag: str) -> bool:
    if line.gives(flag, flag.replace("--", "--no-", 1), *INSTEAD.get(flag, ())):
        return False
    loss = (line.value("--loss-fn") or "").replace("-", "_")
    batching = "hard-pairs" if line.gives("--use-hard") else line.value("--batching") or ""
    embed = line.value("--embed")
    return (
        loss in READ_BY_LOSS.get(flag, (loss,))
        and batching in READ_BY_BATCHES.get(flag, (batching,))
        and (flag != "--im-wt" or embed == "pooled")
        and (flag != "--head-dropout" or embed == "mlp" or line.value("--projection") != "0")
    )
