"""The photograph search: indexing against its own encoder, a second run, queries, starting; and
what others take for the same.

    python -m benchmarks.search --out benchmarks/results/search.json
    python -m benchmarks.search --rclip VENV/bin/python --faiss VENV/bin/python     (environments of their own)
    python -m benchmarks.search --photos 64 --files 2000 --rows 10000 --repeats 1   (to try it)

Data: JPEGs of noise over gradients (``benchmarks.embed``), an index of random unit rows. Models
have random weights, which are as fast as any. Where decoding and encoding share the cores, the best
there is takes as long as both together; both shares are reported.

Others: what is measured here is what they do around the model (whole programs:
``benchmarks.photo_peers``). rclip's own ``search`` (reads all vectors from its database, in each of
its processes) and ``ensure_index`` over an unchanged folder, with a given vector in place of the
text encoder's; clip-retrieval's exact search is faiss' IndexFlatIP, which is loaded and asked; its
service is not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.embed import make_shards
from benchmarks.machine import describe_machine
from hardpairs.core.atomic import write_json
from hardpairs.data.opening import open_samples
from hardpairs.models.encoders import Encoders, open_encoders
from hardpairs.photos.encoding import encode_pixels, encode_texts, load_batches
from hardpairs.photos.index import Index, write_index
from hardpairs.photos.model import ModelName
from hardpairs.photos.scan import PhotoFile, scan
from hardpairs.photos.search import search
from hardpairs.photos.table import Row, Table
from hardpairs.photos.update import update_index

WIDTH = 512
SMALL = "hardpairs-test"
QUERY = "a dog in the snow"


def make_photos(folder: Path, count: int, side: int) -> Path:
    """The pictures of ``benchmarks.embed`` as files, each with bytes of its own."""
    samples = open_samples(str(make_shards(folder / "shards", min(count, 64), side)))
    pictures = [samples.image_bytes(row) for row in range(len(samples))]
    for i in range(count):
        path = folder / f"photos/{i // 1000:03d}/{i:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            pictures[i % len(pictures)] + i.to_bytes(4, "little")
        )  # bytes after a JPEG's end are not looked at
    return folder / "photos"


def median(measure, repeats: int) -> float:
    return float(np.median([measure() for _ in range(repeats)]))


def seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def indexing(args: argparse.Namespace, folder: Path) -> dict:
    """Photographs/s of the encoder on decoded tensors, of loading alone, and of the whole; in
    turns, so that all see the same machine.
    """
    photos, encoders = (
        make_photos(folder, args.photos, args.side),
        open_encoders(model=args.model, pretrained="none", device=args.device),
    )
    places, options = (
        scan([str(photos)]).files,
        {"batch_size": args.batch_size, "workers": args.workers},
    )
    found: dict[str, list[float]] = {"encoder": [], "loading": [], "whole": []}
    for turn in range(args.repeats):
        found["encoder"].append(_encoder_alone(encoders, places, args))
        found["loading"].append(
            len(places)
            / seconds(
                lambda: list(load_batches(places, {}, frozenset(), encoders.image, **options))
            )
        )
        load, out = (
            seconds(lambda: ModelName(args.model, "none").load(args.device, download=False)),
            folder / f"{turn}",
        )
        whole = _index_seconds(photos, out, args, options)
        found["whole"].append(len(places) / (whole - load))
    speed = {name: float(np.median(values)) for name, values in found.items()}
    both = 1 / speed["encoder"] + 1 / speed["loading"]
    return {
        "photos": len(places),
        "side": args.side,
        "model": args.model,
        **{f"{name}_per_s": round(value, 1) for name, value in speed.items()},
        "of_encoder": round(speed["whole"] / speed["encoder"], 3),
        "of_shared_cores": round(speed["whole"] * both, 3),
        "share_decoding": round(1 / speed["loading"] / both, 3),
        "share_encoding": round(1 / speed["encoder"] / both, 3),
    }


def _index_seconds(
    photos: Path, out: Path, args: argparse.Namespace, options: dict[str, int]
) -> float:
    return seconds(
        lambda: update_index(
            [str(photos)], out, model=args.model, pretrained="none", device=args.device, **options
        )
    )


def _encoder_alone(encoders: Encoders, places: list[PhotoFile], args: argparse.Namespace) -> float:
    batch = next(
        load_batches(
            places[: args.batch_size],
            {},
            frozenset(),
            encoders.image,
            batch_size=args.batch_size,
            workers=0,
        )
    )
    assert batch.pixels is not None
    rounds = max(len(places) // args.batch_size, 1)
    encode_pixels(encoders, batch.pixels, args.device)  # warm
    return (
        rounds
        * len(batch.pixels)
        / seconds(
            lambda: [encode_pixels(encoders, batch.pixels, args.device) for _ in range(rounds)]
        )
    )


def second_run(args: argparse.Namespace, folder: Path) -> dict:
    """Seconds of the whole command over a folder of which nothing has changed, a new process each
    time.
    """
    photos, checkpoint = make_photos(folder, args.files, 32), folder / "model.pt"
    _small_checkpoint(checkpoint)
    index = folder / "index"
    update_index([str(photos)], index, model=SMALL, pretrained=str(checkpoint), batch_size=256)
    line = [sys.executable, "-m", "tools.photo_search", "index", str(photos), "--out", str(index)]
    again = median(
        lambda: seconds(lambda: subprocess.run(line, check=True, capture_output=True)),
        args.repeats + 2,
    )
    row = {"files": args.files, "seconds": round(again, 3)}
    if args.rclip:
        told = _child(args.rclip, RCLIP_SECOND_RUN, folder / "rclip.db", photos)
        row["rclip_seconds"] = round(told["seconds"], 3)
    return row


def _small_checkpoint(path: Path) -> None:
    """The tiny model as a file: a word model carries its words."""
    import open_clip

    from hardpairs.models.model_config import register_configs

    register_configs()
    model = open_clip.create_model(SMALL, None)
    torch.save({"state_dict": model.state_dict(), "vocabulary": ["a", "dog"]}, path)


def make_index(folder: Path, rows: int, model: str, width: int) -> Path:
    """Random unit rows of places that are not there."""
    rng, encoders = np.random.default_rng(0), open_encoders(model=model, pretrained="none")
    name = ModelName(model, "none")
    blocks = (
        _unit(rng.normal(size=(min(4096, rows - start), width))) for start in range(0, rows, 4096)
    )
    table = Table.of(
        Row(PhotoFile(f"/photos/{i // 1000:03d}/{i:06d}.jpg", "", -1, 1, 1), rng.bytes(32), "")
        for i in range(rows)
    )
    content = {**encoders.description, **name.facts(), "sources": ["/photos"]}
    folder.mkdir(parents=True)
    write_index(folder, blocks, (rows, width), table, Table.of([]), content)
    return folder


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def querying(args: argparse.Namespace, folder: Path) -> dict:
    """Milliseconds of a query after the text encoder, of the text encoder, and of opening the
    index.
    """
    encoders = open_encoders(model=args.model, pretrained="none")
    path = make_index(folder / "index", args.rows, args.model, WIDTH)
    opening = seconds(lambda: Index.open(path))
    index, rng = Index.open(path), np.random.default_rng(1)
    queries = _unit(rng.normal(size=(200, WIDTH)))
    search(index, queries[0], 24)  # reads the file
    times = {
        cut: [seconds(lambda q=query, c=cut: search(index, q, 24, cut=c)) for query in queries]
        for cut in (False, True)
    }
    text = [seconds(lambda: encode_texts(encoders, [QUERY])) for _ in range(20)]
    row = {
        "rows": args.rows,
        "width": WIDTH,
        "query_ms": round(1000 * float(np.median(times[False])), 2),
        "query_p99_ms": round(1000 * float(np.quantile(times[False], 0.99)), 2),
        "query_cut_ms": round(1000 * float(np.median(times[True])), 2),
        "text_encoder_ms": round(1000 * float(np.median(text)), 2),
        "open_index_ms": round(1000 * opening, 2),
    }
    if args.faiss:
        row |= {
            f"faiss_{name}": round(value, 2)
            for name, value in _child(args.faiss, FAISS, index.folder / "embeddings-1.npy").items()
        }
    if args.rclip:
        told = _child(
            args.rclip, RCLIP_QUERY, folder / "rclip.db", index.folder / "embeddings-1.npy"
        )
        row |= {f"rclip_{name}": round(value, 2) for name, value in told.items()}
    return row


def starting(args: argparse.Namespace, folder: Path) -> dict:
    """Seconds of new processes: importing and loading the model alone, a whole query, and the page
    until its first answer.
    """
    index = folder / "index"
    load = f"from mining.encoders import open_encoders; open_encoders(model={args.model!r}, pretrained='none')"

    def run(*line: str) -> float:
        return median(
            lambda: seconds(
                lambda: subprocess.run([sys.executable, *line], check=True, capture_output=True)
            ),
            args.repeats,
        )

    model, query = run("-c", load), run("-m", "tools.photo_search", "query", str(index), QUERY)
    page = median(lambda: first_answer(index), args.repeats)
    row = {
        "model_s": model,
        "query_s": query,
        "query_beyond_model_s": query - model,
        "page_s": page,
        "page_beyond_model_s": page - model,
    }
    return {name: round(value, 2) for name, value in row.items()}


def first_answer(index: Path) -> float:
    """Seconds from starting the page's server to the first search answered over HTTP."""
    import httpx

    start = time.perf_counter()
    line = [sys.executable, "-m", "tools.photo_search", "serve", str(index), "--port", "0"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    killer = threading.Timer(300, process.kill)
    killer.start()
    try:
        assert process.stdout is not None
        with httpx.Client(base_url=process.stdout.readline().strip(), timeout=60) as client:
            functions = client.get("/config").json()["dependencies"]
            ask = next(
                f["id"] for f in functions if len(f["inputs"]) == 5 and len(f["outputs"]) == 2
            )
            body = {"data": [QUERY, "", "", 24, False], "fn_index": ask, "session_hash": "first"}
            client.post("/gradio_api/queue/join", json=body).raise_for_status()
            with client.stream(
                "GET", "/gradio_api/queue/data", params={"session_hash": "first"}
            ) as answers:
                assert any("process_completed" in text for text in answers.iter_lines())
        return time.perf_counter() - start
    finally:
        killer.cancel()
        process.terminate()
        process.wait()


FAISS = """
import json, sys, time, numpy, faiss
rows = numpy.load(sys.argv[1]); index = faiss.IndexFlatIP(rows.shape[1]); index.add(rows)
faiss.write_index(index, sys.argv[1] + '.faiss'); start = time.perf_counter()
index = faiss.read_index(sys.argv[1] + '.faiss'); opened = time.perf_counter() - start
queries = numpy.random.default_rng(1).normal(size=(100, rows.shape[1])).astype('float32'); index.search(queries[:1], 24); times = []
for query in queries:
    start = time.perf_counter(); index.search(query[None], 24); times.append(time.perf_counter() - start)
print(json.dumps({'query_ms': 1000 * float(numpy.median(times)), 'open_index_ms': 1000 * opened}))
"""
_RCLIP = """
import json, os, sys, time, numpy
from rclip import db, main, model
class Given(model.Model):
    def compute_text_features(self, text):
        return numpy.full((len(text), 512), 512 ** -0.5, numpy.float32)
store = db.DB(sys.argv[1])
rclip = main.RClip(Given(), store, indexing_batch_size=8, exclude_dirs=None)
"""
RCLIP_QUERY = (
    _RCLIP
    + """
for i, row in enumerate(numpy.load(sys.argv[2])):
    store.upsert_image({'filepath': f'/photos/{i:06d}.jpg', 'modified_at': 1.0, 'size': 1, 'vector': row.tobytes(), 'hash': str(i)}, commit=False)
store.commit(); times = []
for _ in range(3):
    start = time.perf_counter(); rclip.search('a dog', '/photos', top_k=24); times.append(time.perf_counter() - start)
print(json.dumps({'query_ms': 1000 * float(numpy.median(times))}))
"""
)
RCLIP_SECOND_RUN = (
    _RCLIP
    + """
for folder, _, names in os.walk(sys.argv[2]):
    for entry in os.scandir(folder):
        if entry.is_file():
            row = {'filepath': entry.path, 'vector': bytes(2048), 'hash': entry.name, **main.get_image_meta(entry)}
            store.upsert_image(row, commit=False)
store.commit(); start = time.perf_counter(); rclip.ensure_index(sys.argv[2])
print(json.dumps({'seconds': time.perf_counter() - start}))
"""
)


def _child(python: Path, code: str, *arguments: Path) -> dict[str, float]:
    done = subprocess.run(
        [str(python), "-c", code, *map(str, arguments)], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=512, help="to index")
    parser.add_argument("--side", type=int, default=512, help="pixels of these")
    parser.add_argument("--files", type=int, default=20_000, help="of the unchanged folder")
    parser.add_argument("--rows", type=int, default=100_000, help="of the index that is asked")
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--rclip", type=Path, help="a Python in whose environment rclip is installed"
    )
    parser.add_argument(
        "--faiss", type=Path, help="one with faiss, which clip-retrieval searches with"
    )
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    results = {
        "command": " ".join(["python -m benchmarks.search", *sys.argv[1:]]),
        "machine": describe_machine(),
        "threads": torch.get_num_threads(),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, measure in (
            ("indexing", indexing),
            ("second_run", second_run),
            ("querying", querying),
        ):
            results[part] = measure(args, folder / part)
            print(part, json.dumps(results[part]), flush=True)
        results["starting"] = starting(args, folder / "querying")
        print("starting", json.dumps(results["starting"]), flush=True)
    if args.out:
        write_json(args.out, results)


if __name__ == "__main__":
    main()
