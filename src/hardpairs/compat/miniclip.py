"""MiniCLIP: the flags of its programs, and its settings."""

from __future__ import annotations

from pathlib import Path

from hardpairs.compat.spelling import (
    CommandLine,
    System,
    computed,
    renamed,
    same,
    switched,
)

MODEL_TYPES = ("lstm", "transformer")
CAPTIONS = "data/captions.json"
"""The files in which MiniCLIP looks for captions when no flag names one."""
RESULTS = "results"
"""The folder of its results when no flag names one."""
WHOLE_PROGRAM = "--miniclip-program"
"""The mark of MiniCLIP's own command line, which trains, measures and draws; no flag of ours."""
SAVE_BEST, PATIENCE = "text_to_image_R@1", "10"
"""MiniCLIP's early stopping; here over the whole validation part, not within its batches."""

_COMMON = (
    *("--loss-fn", "clip_ce", "--batch-size", "32", "--seed", "42"),
    *("--beta1", "0.9", "--beta2", "0.98", "--grad-clip-norm", "1.0", "--save-frequency", "10"),
    *("--augment", "miniclip", "--max-bad-fraction", "0.1"),
)
_TOWERS = (
    *(*_COMMON, "--epochs", "50", "--precision", "fp32"),
    *("--lr", "3e-4", "--wd", "1e-4", "--eps", "1e-8", "--warmup-epochs", "5"),
)
PRESETS = {
    "miniclip-lstm": ("--model", "miniclip-lstm", *_TOWERS),
    "miniclip-transformer": ("--model", "miniclip-transformer", *_TOWERS),
    "miniclip-openclip": (
        *(*_COMMON, "--epochs", "10"),
        *("--lr", "1e-5", "--wd", "0.1", "--eps", "1e-6", "--warmup-epochs", "1"),
    ),
}
"""MiniCLIP's settings, which allow for a few broken photographs of a few hundred. The last preset
is for an OpenCLIP model on the same photographs, and goes with ``--model`` and ``--pretrained``.
Its small steps keep what the model knows: a few hundred captions teach it only their own words."""


def _complete(line: CommandLine) -> None:
    """Add MiniCLIP's data and early stopping to its two presets."""
    whole = WHOLE_PROGRAM in line.words
    line.words = [word for word in line.words if word != WHOLE_PROGRAM]
    name = line.value("--preset")
    if name == "miniclip-openclip" and not line.gives("--pretrained", "--resume"):
        line.notes.append(
            f"--preset {name} fine-tunes, and there is no --pretrained: "
            f"{line.value('--model') or 'the model'} starts from random weights."
        )
    if name not in ("miniclip-lstm", "miniclip-transformer"):
        return
    if not line.gives("--captions-json", "--train-data") and Path(CAPTIONS).is_file():
        line.words += ["--captions-json", CAPTIONS]
        line.notes.append(f"images and captions: {CAPTIONS}")
    if line.gives("--captions-json") and not line.gives("--save-best"):
        line.words += ["--save-best", SAVE_BEST]
        line.words += [] if line.gives("--patience") else ["--patience", PATIENCE]
    if whole and not line.gives("--captions-json"):
        line.take("--results-dir")
    elif whole and not line.gives("--results-dir"):
        line.words += ["--results-dir", RESULTS]


def _program(kind: str) -> list[str]:
    _model_type(kind)
    return ["--preset", f"miniclip-{kind}", WHOLE_PROGRAM]


def _model_type(name: str) -> list[str]:
    if name not in MODEL_TYPES:
        raise ValueError(f"must be {' or '.join(MODEL_TYPES)}, not {name!r}")
    return ["--name", name]


def _complete_demonstration(line: CommandLine) -> None:
    """Add what MiniCLIP's demonstration does without flags: its LSTM, its folders."""
    line.words += [] if line.gives("--name") else ["--name", MODEL_TYPES[0]]
    if line.gives("--pretrained") and not line.gives("--model"):
        line.words += ["--model", f"miniclip-{line.value('--name')}"]


MINICLIP = System(
    title="MiniCLIP (github.com/SoroushRaeisian/miniclip)",
    spellings={
        "train": {
            "--captions_json": same(),
            "--image_root": same(),
            "--model_type": computed("--preset miniclip-TYPE --results-dir results", _program),
            "--batch_size": same(),
            "--checkpoint_dir": renamed("--logs"),
            "--results_dir": same(),
        },
        "photos": {
            "--mode": same(),
            "--model_type": computed("--name", _model_type),
            "--batch": switched("--mode", "automatic"),
            "--captions_json": same(),
            "--image_root": same(),
            "--checkpoint_dir": same(),
            "--results_dir": renamed("--out"),
            "--top_k": renamed("--top"),
        },
        "evaluate": {"--results_dir": same()},
        "split": {"--captions_json": renamed("--data"), "--image_root": same()},
        "import-miniclip": {"--captions_json": same()},
    },
    presets=PRESETS,
    complete={"train": _complete, "photos": _complete_demonstration},
)
