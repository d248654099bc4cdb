"""The loss comparison for image retrieval: the settings of its training scripts.

Its scripts take no flags. ``retrieve`` and ``compare`` read its folders of classes, queries and
gallery as they are, and write the file that it submits. Two things differ. Its optimizer is Adam
for two of the losses, and here it is OpenCLIP's AdamW with the same numbers. Its CLIP loss has a
layer of its own on both towers, and here the towers' projections take that part.
"""

from __future__ import annotations

from pathlib import Path

from hardpairs.compat.spelling import CommandLine, System

_COMMON = ("--lr", "1e-4", "--wd", "1e-4", "--warmup", "0")
_TWO_OF_A_CLASS = (
    *(*_COMMON, "--embed", "image", "--batching", "m-per-class", "--m-per-class", "2"),
)
PRESETS = {
    "lc-arcface": (
        *(*_COMMON, "--loss-fn", "arcface", "--embed", "image"),
        *("--metric-margin", "0.5", "--metric-scale", "64"),
        *("--batch-size", "128", "--epochs", "40"),
    ),
    "lc-triplet": (
        *(*_TWO_OF_A_CLASS, "--loss-fn", "triplet", "--metric-margin", "0.2"),
        *("--batch-size", "64", "--epochs", "45"),
        *("--freeze-backbone", "--projection", "1024", "--head-dropout", "0"),
    ),
    "lc-clip": (
        *("--loss-fn", "clip_ce", "--lr", "1e-6", "--head-lr", "1e-4", "--wd", "1e-4"),
        *("--warmup", "0", "--beta2", "0.98", "--eps", "1e-6", "--grad-clip-norm", "1.0"),
        *("--freeze-backbone", "--batch-size", "64", "--epochs", "21"),
    ),
    "lc-contrastive": (
        *(*_TWO_OF_A_CLASS, "--loss-fn", "contrastive_squared", "--metric-negative-margin", "0.5"),
        *("--batch-size", "16", "--epochs", "35"),
    ),
}
CAPTION_TEMPLATE = "a photo of class number {}"
"""Captions of its CLIP loss."""


def _complete(line: CommandLine) -> None:
    """Add the captions of its CLIP loss, where the data is a folder of class folders."""
    if line.value("--preset") != "lc-clip" or line.gives("--caption-template"):
        return
    folder = Path(line.value("--train-data") or "no folder")
    if folder.is_dir() and not any(folder.glob("*.tar")):
        line.preset += ["--caption-template", CAPTION_TEMPLATE]


LOSS_COMPARISON = System(
    title="Loss comparison (github.com/CrispyCocaBoy/Loss_Comparison_for_Image_Retrival_Challenge)",
    spellings={},
    presets=PRESETS,
    complete={"train": _complete},
    note="Its scripts have settings and no flags.",
)
