"""A demonstration of a collection: queries drawn from its captions, or typed, with images drawn.

Each answer is printed, and drawn as a PNG file of one row of photographs for each query.
"""

from __future__ import annotations

import hashlib
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image

from hardpairs.core.atomic import atomic_open, write_json
from hardpairs.core.errors import usage
from hardpairs.data.images import UnreadableImage, read_and_decode
from hardpairs.data.manifest import sha256_file
from hardpairs.models.encoders import Encoders
from hardpairs.photos.index import Index
from hardpairs.photos.photo_files import read_photo
from hardpairs.photos.scan import PhotoFile
from hardpairs.photos.search import clean, combine, search, text_vectors, unknown_words
from hardpairs.photos.terminal import shown_path
from hardpairs.training.logs import read_params

QUERIES = 5
"""Captions drawn for the automatic demonstration."""
DRAWN_SIDE = 320
"""Pixels of the longer side of a drawn photograph."""
STOP = ("quit", "exit", "q")


@dataclass(frozen=True)
class Answer:
    """A query and its nearest photographs.

    Attributes:
        query: The text.
        rows: Their rows in the index, best first.
        results: For each ``path``, ``filename``, ``score`` (a cosine) and ``rank`` from 1.
    """

    query: str
    rows: list[int]
    results: list[dict[str, Any]]


@dataclass(frozen=True)
class Demonstration:
    """Answers of one model over one index, and the files they are drawn in.

    Attributes:
        index: The photographs.
        encoders: The model that the index was made with.
        top: Photographs in an answer, at most.
        out: Folder of the files.
        name: End of the files' names; may be empty.
    """

    index: Index
    encoders: Encoders
    top: int
    out: Path
    name: str

    def automatic(self, captions: Sequence[str], seed: int | None) -> None:
        """Answer captions that are drawn by lot; write ``demo_results_NAME.png`` and ``.json``.

        Args:
            captions: What is drawn from; repeated and empty ones count once and never.
            seed: Of the lot; ``None`` draws others each time.
        """
        different = list(dict.fromkeys(filter(None, captions)))
        queries = random.Random(seed).sample(different, min(QUERIES, len(different)))
        answers = [self._answer(text) for text in queries]
        file = self._file("demo_results", ".json")
        self._draw(answers, file.with_suffix(".png"))
        content = {
            "model_type": self.name,
            "mode": "automatic",
            "timestamp": datetime.now().isoformat(timespec="seconds"),
            "queries": [{"query": a.query, "results": a.results} for a in answers],
        }
        write_json(file, content)
        print(f"saved: {file.with_suffix('.png')}, {file}", file=sys.stderr)

    def interactive(self) -> None:
        """Answer what is typed until quit, exit or q; draw each as ``query_N_TEXT_NAME.png``."""
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
            answer = self._answer(text)
            short = re.sub(r"\W+", "_", text[:30]).strip("_")
            file = self._file(f"query_{number}_{short}", ".png")
            self._draw([answer], file)
            print(f"saved: {file}", file=sys.stderr)

    def _file(self, start: str, suffix: str) -> Path:
        return self.out / f"{'_'.join(filter(None, (start, self.name)))}{suffix}"

    def _answer(self, text: str) -> Answer:
        """Search for a text and print what is nearest to it."""
        if strange := unknown_words(self.encoders, [text]):
            print(strange, file=sys.stderr)
        vector = combine(list(text_vectors(self.encoders, [text])), [])
        nearest = list(search(self.index, vector, self.top))
        print(f"Top {len(nearest)} results for {text!r}:")
        results = []
        for rank, result in enumerate(nearest, start=1):
            file, score = self.index.photos.file(result.row), result.similarity
            name = file.key or Path(file.path).name
            results.append({"path": file.path, "filename": name, "score": score, "rank": rank})
            print(f"   {rank}. {shown_path(name)} (score: {score:.3f})")
        sys.stdout.flush()
        return Answer(text, [result.row for result in nearest], results)

    def _draw(self, answers: list[Answer], file: Path) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        columns = max((len(answer.rows) for answer in answers), default=1) or 1
        figure = Figure(figsize=(2.6 * columns, 3 * len(answers)), layout="constrained")
        FigureCanvasAgg(figure)
        bare: dict[str, Any] = {"xticks": (), "yticks": (), "frame_on": False}
        grid = figure.subplots(len(answers), columns, squeeze=False, subplot_kw=bare)
        for line, answer in zip(grid, answers, strict=True):
            for axes, row, result in zip(line, answer.rows, answer.results, strict=False):
                axes.imshow(_thumbnail(self.index.photos.file(row)))
                axes.set_title(f"{result['rank']}. {result['score']:.3f}", fontsize=9)
            title = answer.query.replace("$", r"\$")[:80]  # between $ stand formulas
            style = {"fontsize": 11, "fontweight": "bold"}
            line[0].text(0, 1.16, title, transform=line[0].transAxes, **style)
        with atomic_open(file) as stream:
            figure.savefig(stream, format="png", dpi=100)


def _thumbnail(file: PhotoFile) -> Image.Image:
    """Return a small image; a gray one where the photograph cannot be read any more."""
    try:
        image = read_and_decode(lambda: read_photo(file), for_side=DRAWN_SIDE)
    except UnreadableImage:
        return Image.new("RGB", (64, 64), (200, 200, 200))
    image.thumbnail((DRAWN_SIDE, DRAWN_SIDE))
    return image


def short_hash(*facts: str) -> str:
    """Return eight characters for a file's name that are others when a fact is another."""
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


def index_folder(out: Path, name: str, model: str, pretrained: str) -> Path:
    """Return the folder in ``out`` of a demonstration's index: one for each model's weights."""
    weights = sha256_file(pretrained) if Path(pretrained).is_file() else pretrained
    start = "_".join(filter(None, ("photos", name)))
    return out / f"{start}-{short_hash(model, weights)}.index"


def newest_run(folder: Path, name: str) -> tuple[str, str]:
    """Return (model, best.pt) of the newest run whose model's name contains ``name``.

    Args:
        folder: A folder of runs, a run's folder, or its ``checkpoints``.
        name: Part of a model's name, such as ``lstm``.

    Raises:
        UserError: exit 2 where there is none.
    """
    patterns = ("best.pt", "checkpoints/best.pt", "*/checkpoints/best.pt")
    models = {
        path: str(read_params(path.resolve().parent.parent / "params.txt").get("model", ""))
        for pattern in patterns
        for path in folder.glob(pattern)
    }
    runs = [path for path, model in models.items() if name in model]
    if not runs:
        raise usage(
            f"no such checkpoint: the folder has no best.pt of a run with a {name} model",
            where=str(folder),
            fix="name a run's folder, or the folder of all runs",
        )
    newest = max(runs, key=lambda path: path.stat().st_mtime_ns)
    return models[newest], str(newest)
