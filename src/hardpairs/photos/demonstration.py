"""MiniCLIP's demonstration modes, with its files and names, over an index that is made once.

    python -m tools.photo_search --mode automatic --model_type lstm --captions_json data/captions.json --image_root data/images
    python -m tools.photo_search --mode interactive --model_type lstm

``--model_type lstm`` alone is interactive, and with ``--batch`` automatic, as in MiniCLIP. Automatic: five captions by lot, the best five photographs of each, in demo_results_{model_type}.png and .json. Interactive: queries until
quit, exit or q; each is also drawn in query_{n}_{text}_{model_type}.png.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image

from hardpairs.core.atomic import atomic_open, write_json
from hardpairs.core.errors import Exit, usage, whole_number
from hardpairs.data.images import UnreadableImage, decode
from hardpairs.data.manifest import sha256_file
from hardpairs.data.samples import open_samples
from hardpairs.models.checkpoint import load_checkpoint
from hardpairs.photos.index import Index
from hardpairs.photos.model import open_model
from hardpairs.photos.pictures import read_place
from hardpairs.photos.scan import Place
from hardpairs.photos.search import clean, combine, search, text_vectors, unknown_words
from hardpairs.photos.terminal import shown_path
from hardpairs.photos.update import update_index
from hardpairs.training.logs import read_params

QUERIES = 5
DRAWN = 320
STOP = ("quit", "exit", "q")
Result = dict[str, Any]
Ask = Callable[[str], tuple[list[Result], list[Image.Image]]]


def parse_args(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.photo_search", description="MiniCLIP's demonstration."
    )
    parser.add_argument("--mode", choices=("automatic", "interactive"), default="interactive")
    parser.add_argument(
        "--batch", dest="mode", action="store_const", const="automatic", help="--mode automatic"
    )
    parser.add_argument(
        "--model_type",
        "--model-type",
        choices=("lstm", "transformer"),
        default="lstm",
        help="stands in the files' names",
    )
    parser.add_argument(
        "--captions_json",
        "--captions-json",
        default="data/captions.json",
        help="captions to draw queries from",
    )
    parser.add_argument(
        "--image_root", "--image-root", default="data/images", help="the photographs"
    )
    parser.add_argument(
        "--checkpoint_dir",
        "--checkpoint-dir",
        type=Path,
        default=Path("checkpoints"),
        help="where best_model_*.pth is, or runs of ours",
    )
    parser.add_argument("--results_dir", "--results-dir", type=Path, default=Path("results"))
    parser.add_argument("--top", "--top_k", type=whole_number(1), default=5)
    parser.add_argument(
        "--seed", type=whole_number(0), help="of the captions; none: others each time"
    )
    parser.add_argument("--model", help="default: miniclip-MODEL_TYPE")
    parser.add_argument("--pretrained", help="default: what is in --checkpoint_dir")
    parser.add_argument("--index", type=Path, help="default: in --results_dir, one for each model")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    args = parse_args(argv)
    model, pretrained = (
        (args.model or _kind(args.model_type), args.pretrained) if args.pretrained else _found(args)
    )
    weights = sha256_file(pretrained) if Path(pretrained).is_file() else pretrained
    folder = (
        args.index or args.results_dir / f"photos_{args.model_type}-{_mark(model, weights)}.index"
    )
    update_index([args.image_root], folder, model=model, pretrained=pretrained, device=args.device)
    index = Index.open(folder)
    encoders = open_model(index, None, None, args.device)

    def ask(text: str) -> tuple[list[Result], list[Image.Image]]:
        if strange := unknown_words(encoders, [text]):
            print(strange, file=sys.stderr)
        hits = search(index, combine(list(text_vectors(encoders, [text])), []), args.top)
        results = [
            _result(index, hit.row, hit.similarity, rank) for rank, hit in enumerate(hits, start=1)
        ]
        return results, [_picture(index.photos.place(hit.row)) for hit in hits]

    if args.mode == "automatic":
        _automatic(args, ask)
    else:
        _interactive(args, ask)
    return Exit.OK


def _mark(*facts: str) -> str:
    """Short, for a file's name: other facts have another one."""
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


def _kind(model_type: str) -> str:
    """The model's name, or its beginning: that with MiniCLIP's CNN ends in ``-cnn``."""
    return f"miniclip-{model_type}"


def _found(args: argparse.Namespace) -> tuple[str, str]:
    """(model, checkpoint) of what ``--checkpoint_dir`` holds: MiniCLIP's ``best_model_*.pth``, else ``best.pt`` of the newest run of ours."""
    folder, kind = args.checkpoint_dir, _kind(args.model_type)
    theirs = folder / f"best_model_{args.model_type}.pth"
    if theirs.is_file():
        return _imported(theirs, args)
    places = [
        path
        for pattern in ("best.pt", "checkpoints/best.pt", "*/checkpoints/best.pt")
        for path in folder.glob(pattern)
    ]
    runs = {
        path: str(read_params(path.resolve().parent.parent / "params.txt").get("model", kind))
        for path in places
    }
    newest = max(
        (path for path in places if runs[path].startswith(kind)),
        key=lambda path: path.stat().st_mtime_ns,
        default=None,
    )
    if newest is None:
        fix = "--checkpoint_dir; of a run here its folder, or the folder of its --logs"
        raise usage("no such checkpoint, and no best.pt of a run here", where=str(theirs), fix=fix)
    return args.model or runs[newest], str(newest)


def _imported(theirs: Path, args: argparse.Namespace) -> tuple[str, str]:
    """(model, checkpoint) of MiniCLIP's file: imported once, with the words of its captions.json. Another file, or other captions, are another import."""
    from hardpairs.cli.import_miniclip import import_checkpoint

    captions = (
        sha256_file(args.captions_json) if Path(args.captions_json).is_file() else ""
    )  # the import says what is wrong with it
    ours = (
        args.results_dir / f"best_model_{args.model_type}-{_mark(sha256_file(theirs), captions)}.pt"
    )
    if ours.is_file():
        return load_checkpoint(ours)["name"], str(ours)
    args.results_dir.mkdir(parents=True, exist_ok=True)
    return import_checkpoint(str(theirs), args.captions_json, ours), str(ours)


def _result(index: Index, row: int, score: float, rank: int) -> Result:
    place = index.photos.place(row)
    return {
        "path": place.path,
        "filename": place.key or Path(place.path).name,
        "score": score,
        "rank": rank,
    }


def _automatic(args: argparse.Namespace, ask: Ask) -> None:
    captions = list(
        dict.fromkeys(
            filter(None, open_samples(args.captions_json, image_root=args.image_root).captions)
        )
    )
    drawn = random.Random(args.seed).sample(captions, min(QUERIES, len(captions)))
    answers = [ask(text) for text in drawn]
    found = [
        {"query": text, "results": results}
        for text, (results, _) in zip(drawn, answers, strict=True)
    ]
    for query in found:
        _print(query)
    name = args.results_dir / f"demo_results_{args.model_type}"
    _draw(found, [pictures for _, pictures in answers], Path(f"{name}.png"))
    now = datetime.now().isoformat(timespec="seconds")
    write_json(
        f"{name}.json",
        {"model_type": args.model_type, "mode": args.mode, "timestamp": now, "queries": found},
    )
    print(f"saved: {name}.png, {name}.json", file=sys.stderr)


def _interactive(args: argparse.Namespace, ask: Ask) -> None:
    number = 0
    while True:
        print("query (quit to end): ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        text = clean(line)
        if not line or text.lower() in STOP:
            return
        if not text:
            continue
        number += 1
        results, pictures = ask(text)
        found = {"query": text, "results": results}
        _print(found)
        short = re.sub(r"\W+", "_", text[:30]).strip("_")
        path = args.results_dir / f"query_{number}_{short}_{args.model_type}.png"
        _draw([found], [pictures], path)
        print(f"saved: {path}", file=sys.stderr)


def _print(query: dict[str, Any]) -> None:
    print(f"Top {len(query['results'])} results for {query['query']!r}:")
    for result in query["results"]:
        print(
            f"   {result['rank']}. {shown_path(result['filename'])} (score: {result['score']:.3f})"
        )
    sys.stdout.flush()


def _draw(queries: list[dict[str, Any]], pictures: list[list[Image.Image]], path: Path) -> None:
    """One row of photographs for each query."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max((len(query["results"]) for query in queries), default=1) or 1
    figure = Figure(figsize=(2.6 * columns, 3 * len(queries)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(queries), columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for line, query, shown in zip(grid, queries, pictures, strict=True):
        for axes, result, picture in zip(line, query["results"], shown, strict=False):
            axes.imshow(picture)
            axes.set_title(f"{result['rank']}. {result['score']:.3f}", fontsize=9)
        line[0].text(
            0,
            1.16,
            _plain(query["query"]),
            transform=line[0].transAxes,
            fontsize=11,
            fontweight="bold",
        )
    with atomic_open(path) as file:
        figure.savefig(file, format="png", dpi=100)


def _plain(text: str) -> str:
    """Matplotlib reads formulas between dollar signs."""
    return text.replace("$", r"\$")[:80]


def _picture(place: Place) -> Image.Image:
    """Small; grey where it cannot be read any more."""
    try:
        image = decode(read_place(place), for_side=DRAWN)
    except (OSError, UnreadableImage):
        return Image.new("RGB", (64, 64), (200, 200, 200))
    image.thumbnail((DRAWN, DRAWN))
    return image
