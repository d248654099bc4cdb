"""MiniCLIP's command line in our words: what its users type starts the same training here."""

from __future__ import annotations

import sys

RENAMED = {"--checkpoint_dir": "--logs", "--batch": "--batch-size", "--batch_size": "--batch-size"}
"""MiniCLIP's flags that have another name here."""
PASSED_OVER = {"--results_dir": "results lie in the run's folder below --logs; tools.evaluate writes to its --out"}
"""MiniCLIP's flags that have no counterpart, and why."""
MODEL_TYPE = "--model_type"


def in_our_words(argv: list[str]) -> list[str]:
    """The command line with MiniCLIP's flags replaced; each may be written ``--flag value`` or ``--flag=value``.

    Example:
        >>> in_our_words(["--model_type", "lstm", "--checkpoint_dir=runs"])
        ['--preset', 'miniclip-lstm', '--logs', 'runs']
    """
    words = []
    for word in argv:
        flag, equals, value = word.partition("=")
        known = flag == MODEL_TYPE or flag in RENAMED or flag in PASSED_OVER
        words += [flag, value] if known and equals else [word]
    ours, rest = [], iter(words)
    for word in rest:
        if word in PASSED_OVER:
            print(f"{word} {next(rest, '')} is passed over: {PASSED_OVER[word]}", file=sys.stderr)
        elif word == MODEL_TYPE:
            ours += ["--preset", *(f"miniclip-{value}" for value in [next(rest, None)] if value is not None)]
        else:
            ours.append(RENAMED.get(word, word))
    return ours
