"""CLIPPINGS (arXiv 2304.03464): the flags of its two programs, and its published settings."""

from __future__ import annotations

from hardpairs.compat.spelling import (
    CommandLine,
    Spelling,
    System,
    aliased,
    chosen,
    computed,
    passed_over,
    renamed,
    same,
    switched,
    unneeded,
)

_COMMON = (
    *("--batch-size", "153", "--warmup", "0", "--wd", "0.001"),
    *("--beta2", "0.98", "--eps", "1e-6", "--unlabelled", "999"),
)
_POOLED = (
    *(*_COMMON, "--embed", "pooled", "--im-wt", "0.3"),
    *("--batching", "m-per-class", "--m-per-class", "3", "--lr", "5e-9"),
)
PRESETS = {
    "clippings-pretrain": (
        *(*_COMMON, "--loss-fn", "clip_ce", "--batching", "random", "--lr", "5e-6"),
    ),
    "clippings-supcon": (*_POOLED, "--loss-fn", "supcon", "--metric-temperature", "0.1"),
    "clippings-contrastive": (
        *(*_POOLED, "--loss-fn", "contrastive"),
        *("--metric-margin", "0", "--metric-negative-margin", "0.5"),
    ),
}
"""CLIPPINGS' settings, but for three images of a class: its default of one gives no positives."""


def _complete(line: CommandLine) -> None:
    """Translate ``--freeze_clip_epochs``, which is for the MLP alone: else nothing is trained."""
    epochs = line.take("--freeze-clip-epochs")
    if not epochs or epochs == "0":
        return
    if line.value("--embed") == "mlp":
        line.words += ["--lock-image", "--lock-text", "--freeze-epochs", epochs]
    else:
        line.notes.append("--freeze_clip_epochs is for --pooling_type mlp; nothing is frozen.")


def _class_neighbours(k: str) -> list[str]:
    if not k.isdecimal():
        raise ValueError(f"must be a whole number, not {k!r}")
    return ["--class-neighbours", str(int(k) - 1)]


CLIPPINGS = System(
    title="CLIPPINGS (arXiv 2304.03464, github.com/dell-research-harvard/clippings)",
    spellings={
        "train": {
            "--clip_lr": renamed("--lr"),
            "--mlp_lr": renamed("--head-lr"),
            "--clip_weight_decay": renamed("--wd"),
            "--mlp_weight_decay": passed_over("--wd is for all weights"),
            "--batch_size": same(),
            "--m": renamed("--m-per-class"),
            "--k": computed(
                "--class-neighbours K-1 (there k counts the class itself)",
                _class_neighbours,
            ),
            "--train_data_type": passed_over("--train-data names the data."),
            "--training_type": chosen(
                "--preset", {"pretrain": "clippings-pretrain", "train_bienc": "clippings-supcon"}
            ),
            "--supcon_temp": renamed("--metric-temperature"),
            "--im_wt": same(),
            "--pooling_type": chosen("--embed", {"mean": "pooled", "mlp": "mlp"}),
            "--freeze_clip_epochs": Spelling(
                "with --pooling_type mlp: --lock-image --lock-text --freeze-epochs"
            ),
            "--mlp_layers": same(),
            "--augmented_crops": switched("--augment", "scanned-document"),
            "--train_hardneg": switched("--batching", "class-neighbours"),
            "--checkpoint_path": renamed("--pretrained"),
            "--checkpoint": renamed("--pretrained"),
            "--loss_type": renamed("--loss-fn"),
            "--contrastive_loss_pos_margin": renamed("--metric-margin"),
            "--contrastive_loss_neg_margin": renamed("--metric-negative-margin"),
            "--wandb_name": renamed("--name"),
        },
        "link": {
            "--checkpoint_path": renamed("--pretrained"),
            "--checkpoint": renamed("--pretrained"),
            "--im_wt": same(),
            "--opt_im_wt": same(),
            "--specified_thresh": renamed("--threshold"),
            "--pooling_type": aliased("--pooling-type", {"mlp": "head"}),
            "--split_test_for_eval": unneeded("labels are always split in two"),
        },
    },
    presets=PRESETS,
    complete={"train": _complete},
)
