"""The photograph search beside rclip and clip-retrieval: whole programs, one model, the same
photographs.

    python -m venv rclip && rclip/bin/pip install rclip==3.3.0
    python -m venv clipr && clipr/bin/pip install clip-retrieval==2.45.0 "numpy<2" "onnx<1.18" "setuptools<70"
    python -m benchmarks.photo_peers --rclip rclip --clip-retrieval clipr --out benchmarks/results/photo_peers.json

The model is rclip's (ViT-B-32-256) with random weights, which are as fast as any: a file for this
project and for clip-retrieval, and the two ONNX files that rclip would download, exported from it.
All are run as their users run them, each command in a process of its own, in turns. clip-retrieval
embeds everything again at each run, and its command for a query reads OpenAI's weights alone, so
these are not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path

import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.search import QUERY, first_answer, make_photos, seconds
from hardpairs.core.atomic import write_json

MODEL = "ViT-B-32-256"
RCLIP_FOLDER = "ViT-B-32-256-datacomp_s34b_b86k"
PORT = 12_345
TOP = 10

EXPORT = """
import sys, open_clip, torch
class Tower(torch.nn.Module):
    def __init__(self, model, encode):
        super().__init__()
        self.model, self.encode = model, encode
    def forward(self, input):
        return getattr(self.model, self.encode)(input)
model = open_clip.create_model(sys.argv[1], pretrained=sys.argv[2]).eval()
for name, example in {"visual": torch.zeros(2, 3, 256, 256), "textual": torch.zeros(2, 77, dtype=torch.long)}.items():
    tower = Tower(model, {"visual": "encode_image", "textual": "encode_text"}[name])
    torch.onnx.export(tower, (example,), f"{sys.argv[3]}/{name}.onnx", input_names=["input"], output_names=["output"],
                      dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}}, dynamo=False)
"""


class Here:
    """This project's commands."""

    def __init__(self, folder: Path, photos: Path, weights: Path) -> None:
        self.out, self.photos, self.weights = folder / "here", photos, weights

    def index(self) -> None:
        model = ("--model", MODEL, "--pretrained", self.weights)
        _run(
            sys.executable,
            "-m",
            "tools.photo_search",
            "index",
            self.photos,
            "--out",
            self.out,
            *model,
        )

    def query(self) -> list[str]:
        told = _run(
            sys.executable, "-m", "tools.photo_search", "query", self.out, QUERY, "--top", TOP
        )
        return [Path(line).name for line in told.splitlines()]

    def page(self) -> float:
        return first_answer(self.out)


class Rclip:
    """rclip indexes the folder that it is in when it is asked something."""

    def __init__(self, environment: Path, models: Path, photos: Path) -> None:
        self.program, self.photos = environment / "bin/rclip", photos
        self.environment = {**os.environ, "RCLIP_DATADIR": str(models)}

    def index(self) -> None:
        _run(self.program, QUERY, cwd=self.photos, env=self.environment)

    def query(self) -> list[str]:
        told = _run(
            self.program,
            "--no-indexing",
            "--filepath-only",
            "--top",
            TOP,
            QUERY,
            cwd=self.photos,
            env=self.environment,
        )
        return [Path(line.strip('"')).name for line in told.splitlines()]


class ClipRetrieval:
    """clip-retrieval's two commands that make an index, and its server."""

    def __init__(self, environment: Path, folder: Path, photos: Path, weights: Path) -> None:
        self.program, self.folder, self.photos = environment / "bin/clip-retrieval", folder, photos
        self.model = ("--clip_model", f"open_clip:{MODEL}/{weights}", "--use_jit", "False")

    def index(self) -> None:
        embedded, indexed = self.folder / "embedded", self.folder / "indexed"
        images = (
            "--input_dataset",
            self.photos,
            "--output_folder",
            embedded,
            "--enable_text",
            "False",
            "--enable_wandb",
            "False",
        )
        _run(
            self.program,
            "inference",
            *images,
            *self.model,
            "--batch_size",
            64,
            "--num_prepro_workers",
            os.cpu_count(),
        )
        _run(self.program, "index", "--embeddings_folder", embedded, "--index_folder", indexed)

    def page(self) -> float:
        """Seconds from starting the server to its first answer."""
        import httpx

        names = self.folder / "indices.json"
        names.write_text(json.dumps({"photos": str(self.folder / "indexed")}))
        options = (
            "--enable_mclip_option",
            "False",
            "--provide_aesthetic_embeddings",
            "False",
            "--port",
            str(PORT),
        )
        start = time.perf_counter()
        line = [self.program, "back", "--indices_paths", names, *self.model, *options]
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        asked = {"text": QUERY, "modality": "image", "num_images": TOP, "indice_name": "photos"}
        try:
            while process.poll() is None:
                try:
                    httpx.post(
                        f"http://127.0.0.1:{PORT}/knn-service", json=asked, timeout=60
                    ).raise_for_status()
                    return time.perf_counter() - start
                except httpx.ConnectError:
                    time.sleep(0.05)
            raise RuntimeError("clip-retrieval's server stopped")
        finally:
            process.terminate()
            process.wait()


def _run(*line: object, **options) -> str:
    done = subprocess.run([str(part) for part in line], capture_output=True, text=True, **options)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout


def make_weights(folder: Path, exporter: Path) -> tuple[Path, Path]:
    """The file of this project and of clip-retrieval, and rclip's folder."""
    import open_clip
    import torch

    torch.manual_seed(0)
    weights, models = folder / "model.pt", folder / "rclip"
    torch.save(open_clip.create_model(MODEL, None).state_dict(), weights)
    for name in (RCLIP_FOLDER, "tokenizer"):
        (models / name).mkdir(parents=True)
    words = "bpe_simple_vocab_16e6.txt.gz"
    (models / "tokenizer" / words).write_bytes((files("open_clip") / words).read_bytes())
    _run(exporter / "bin/python", "-c", EXPORT, MODEL, weights, models / RCLIP_FOLDER)
    return weights, models


def measure(args: argparse.Namespace, folder: Path) -> dict[str, dict[str, list[float]]]:
    """Seconds of each part of each program, one value for each turn."""
    photos = make_photos(folder, args.photos, args.side)
    weights, models = make_weights(folder, args.clip_retrieval)
    found: dict[str, dict[str, list[float]]] = {}

    def note(program: str, part: str, took: float) -> None:
        found.setdefault(program, {}).setdefault(part, []).append(took)
        print(program, part, round(took, 2), flush=True)

    for turn in range(args.repeats):
        own = folder / f"turn{turn}"
        own.mkdir()
        data = own / "rclip"
        data.mkdir()
        for path in models.iterdir():
            (data / path.name).symlink_to(path)
        here, rclip = Here(own, photos, weights), Rclip(args.rclip, data, photos)
        retrieval = ClipRetrieval(args.clip_retrieval, own, photos, weights)
        for part in ("index", "again"):
            note("here", part, seconds(here.index))
            note("rclip", part, seconds(rclip.index))
        note("clip_retrieval", "index", seconds(retrieval.index))
        for program, command in (("here", here), ("rclip", rclip)):
            note(program, "query", seconds(command.query))
        note("here", "page", here.page())
        note("clip_retrieval", "page", retrieval.page())
        if not set(here.query()) & set(rclip.query()):
            raise RuntimeError(
                "rclip and this project find different photographs with the same weights"
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rclip", type=Path, required=True, help="an environment in which rclip is installed"
    )
    parser.add_argument(
        "--clip-retrieval", type=Path, required=True, help="one with clip-retrieval and onnx"
    )
    parser.add_argument("--photos", type=int, default=512)
    parser.add_argument("--side", type=int, default=512, help="pixels of these")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    args.rclip, args.clip_retrieval = args.rclip.resolve(), args.clip_retrieval.resolve()
    with tempfile.TemporaryDirectory() as name:
        found = measure(args, Path(name))
    middle = {
        program: {part: round(float(np.median(values)), 2) for part, values in parts.items()}
        for program, parts in found.items()
    }
    print(json.dumps(middle, indent=1))
    if args.out:
        command = " ".join(
            [
                "python -m benchmarks.photo_peers",
                "--rclip rclip --clip-retrieval clipr",
                f"--photos {args.photos} --repeats {args.repeats}",
            ]
        )
        write_json(
            args.out,
            {
                "command": command,
                "machine": describe_machine(),
                "photos": args.photos,
                "seconds": middle,
                "turns": found,
            },
        )


if __name__ == "__main__":
    main()
