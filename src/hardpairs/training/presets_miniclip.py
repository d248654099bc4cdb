"""MiniCLIP's settings by name, and settings for an OpenCLIP model on the same photographs; what stands on the command line, too, wins."""

_MINICLIP = (
    *(
        "--loss-fn",
        "clip_ce",
        "--batch-size",
        "32",
        "--epochs",
        "50",
        "--seed",
        "42",
        "--precision",
        "fp32",
    ),
    *(
        "--lr",
        "3e-4",
        "--wd",
        "1e-4",
        "--beta1",
        "0.9",
        "--beta2",
        "0.98",
        "--eps",
        "1e-8",
        "--warmup-epochs",
        "5",
    ),
    *(
        "--grad-clip-norm",
        "1.0",
        "--save-frequency",
        "10",
        "--augment",
        "miniclip",
        "--max-bad-fraction",
        "0.1",
    ),
)
PRESETS_MINICLIP: dict[str, tuple[str, ...]] = {
    "miniclip-lstm": ("--model", "miniclip-lstm", *_MINICLIP),
    "miniclip-transformer": ("--model", "miniclip-transformer", *_MINICLIP),
    "miniclip-openclip": (
        *("--loss-fn", "clip_ce", "--batch-size", "32", "--epochs", "10", "--seed", "42"),
        *(
            "--lr",
            "1e-5",
            "--wd",
            "0.1",
            "--beta1",
            "0.9",
            "--beta2",
            "0.98",
            "--eps",
            "1e-6",
            "--warmup-epochs",
            "1",
        ),
        *(
            "--grad-clip-norm",
            "1.0",
            "--save-frequency",
            "10",
            "--augment",
            "miniclip",
            "--max-bad-fraction",
            "0.1",
        ),
    ),
}
"""A few broken photographs of a few hundred are left out. The last one takes ``--model`` and ``--pretrained``. Its small step leaves what the model knows: a few hundred captions teach it no more
than a collection's own words."""
