"""``hardpairs photos``: index one's own photos, search them, and serve a page."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from hardpairs.cli.command_line import parse_arguments
from hardpairs.cli.data_flags import add_data_flags, open_named
from hardpairs.core.errors import Exit, UserError, bad_input, flags, usage, whole_number
from hardpairs.core.parser import Parser
from hardpairs.core.paths import check_exists, check_weights
from hardpairs.data.images import (
    HEIC_HELP,
    HEIC_REASON,
    UnreadableImage,
    decode,
    read_and_decode,
)
from hardpairs.pages.numbers import plural
from hardpairs.photos import terminal
from hardpairs.photos.index import Index
from hardpairs.photos.model import open_model
from hardpairs.photos.photo_files import exists, read_photo
from hardpairs.photos.scan import PhotoFile

if TYPE_CHECKING:
    from hardpairs.photos.page import PageContent
    from hardpairs.photos.search import SearchResult

MAX_TOP = 10_000


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of the command."""
    parser = Parser(
        prog="hardpairs photos",
        description="Search one's own photos.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_index(
        commands.add_parser(
            "index", help="make an index of folders or shards, or bring it up to date"
        )
    )
    _add_query(
        commands.add_parser("query", help="print the photos that a text or an image describes")
    )
    _add_serve(commands.add_parser("serve", help="open a page for searching on 127.0.0.1"))
    _add_demo(
        commands.add_parser(
            "demo", help="answer captions drawn at random, or typed queries, and draw the results"
        )
    )
    return parse_arguments(parser, "photos", argv)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mode", choices=("automatic", "interactive"), default="interactive")
    parser.add_argument(
        "--name", default="", help="part of the model's name; becomes part of the files' names"
    )
    parser.add_argument(
        "--captions-json", default="data/captions.json", help="captions to draw queries from"
    )
    parser.add_argument("--image-root", default="data/images", help="folder of the photos")
    parser.add_argument(
        "--checkpoint-dir",
        type=Path,
        default=Path("checkpoints"),
        help="folder of training runs, or of a best_model_NAME.pth",
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the files")
    parser.add_argument("--top", type=whole_number(1), default=5, help="photos at most")
    parser.add_argument(
        "--seed", type=whole_number(0), help="of the captions; default: others in each run"
    )
    parser.add_argument("--index", type=Path, help="default: in --out, one for each model")
    _add_model(parser)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", help="OpenCLIP model name (default: the index's; of a new one ViT-B-32)"
    )
    parser.add_argument(
        "--pretrained",
        help="its checkpoint file or OpenCLIP tag (default: the index's; of a new one "
        "laion2b_s34b_b79k)",
    )
    parser.add_argument("--device", default="cpu")


def _add_index(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources", nargs="*", help="folders of photos, or shards; none: those of the last run"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="INDEX",
        help="the index's folder (default: FOLDER.index beside the first folder)",
    )
    parser.add_argument(
        "--batch-size",
        type=whole_number(1),
        help="images encoded at once (default: 16 on a CPU, 64 elsewhere)",
    )
    parser.add_argument(
        "--workers", type=whole_number(0), default=2, help="processes that read and decode"
    )
    parser.add_argument(
        "--forget",
        action="store_true",
        help="drop the photos of folders that are gone or empty; without it such folders are "
        "refused, since a drive that is not mounted looks the same",
    )
    _add_model(parser)


def _add_query(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("index", type=Path)
    parser.add_argument("text", nargs="*", help="what the photo shows; several texts are added up")
    parser.add_argument(
        "--image",
        type=Path,
        action="append",
        default=[],
        help="an image like it; added to the texts",
    )
    parser.add_argument(
        "--minus", action="append", default=[], metavar="TEXT", help="what it does not show"
    )
    parser.add_argument("--top", type=whole_number(1), default=5, help="photos at most")
    parser.add_argument(
        "--cut",
        action="store_true",
        help="only those that stand out from the rest of the collection",
    )
    parser.add_argument(
        "--scores", action="store_true", help="print the similarity before each path"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="a list of {image_path, id, similarity}, as clip-retrieval gives",
    )
    parser.add_argument(
        "-0", "--null", action="store_true", help="end each path with a zero byte, for xargs -0"
    )
    parser.add_argument("--preview", action="store_true", help="show the images in the terminal")
    _add_model(parser)


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("index", type=Path)
    parser.add_argument(
        "--compare-with", type=Path, metavar="INDEX", help="another index, shown side by side"
    )
    parser.add_argument(
        "--port", type=whole_number(0), help="default: 7860, or a free one when that is taken"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="an address that other machines reach needs --token"
    )
    parser.add_argument("--token", help="what a visitor must give: http://HOST:PORT/?token=TOKEN")
    parser.add_argument(
        "--example",
        action="append",
        default=[],
        metavar="TEXT",
        help="a query to offer on the page",
    )
    review = parser.add_argument_group("hard pairs")
    review.add_argument(
        "--hard-pairs",
        type=Path,
        metavar="TABLE",
        help="mined hard pairs to accept or reject; needs --data",
    )
    review.add_argument("--data", help="what they were mined on: CSV, TSV, shards or captions.json")
    add_data_flags(review)
    review.add_argument(
        "--reject",
        type=Path,
        help="the file of rejected rows (default: rejected.json beside the table)",
    )
    parser.add_argument(
        "--batches",
        nargs=argparse.REMAINDER,
        metavar="FLAG",
        help="last of all: the flags of training.main whose batches to show",
    )
    _add_model(parser)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    args = parse_args(argv)
    run = {"index": index, "query": query, "serve": serve, "demo": demo}[args.command]
    renamed = {"out": "--index"} if args.command == "demo" else {}
    with flags(vars(args), **renamed):
        return run(args)


def demo(args: argparse.Namespace) -> int:
    """Show what a trained model finds in a collection."""
    check_weights(args.pretrained)
    from hardpairs.data.opening import open_samples
    from hardpairs.photos import demonstration
    from hardpairs.photos.update import update_index

    model, pretrained = _demo_model(args)
    folder = args.index or demonstration.index_folder(args.out, args.name, model, pretrained)
    source = [args.image_root]
    update_index(source, folder, model=model, pretrained=pretrained, device=args.device)
    photos = Index.open(folder)
    encoders = open_model(photos, device=args.device)
    shown = demonstration.Demonstration(photos, encoders, args.top, args.out, args.name)
    if args.mode == "automatic":
        captions = open_samples(args.captions_json, image_root=args.image_root).captions
        shown.automatic(list(captions), args.seed)
    else:
        shown.interactive()
    return Exit.OK


def _demo_model(args: argparse.Namespace) -> tuple[str, str]:
    """Return (model, checkpoint): those given, MiniCLIP's file, or the newest run's."""
    from hardpairs.compat.miniclip_checkpoint import imported_once
    from hardpairs.photos.demonstration import newest_run

    if args.pretrained:
        if not args.model:
            raise usage("--pretrained names the weights of --model", fix="give both")
        return args.model, args.pretrained
    theirs = args.checkpoint_dir / f"best_model_{args.name}.pth"
    if theirs.is_file():
        return imported_once(theirs, args.captions_json, args.out)
    model, checkpoint = newest_run(args.checkpoint_dir, args.name)
    return args.model or model, checkpoint


def index(args: argparse.Namespace) -> int:
    """Make an index, or bring it up to date; print what was done as JSON."""
    from hardpairs.photos.update import UNREADABLE_LIST, update_index

    check_weights(args.pretrained)
    out = args.out or default_index(args.sources)
    for source in () if args.forget else args.sources:
        check_exists(source)
    done = update_index(
        args.sources,
        out,
        model=args.model,
        pretrained=args.pretrained,
        device=args.device,
        batch_size=args.batch_size,
        workers=args.workers,
        forget=args.forget,
    )
    if done.unreadable:
        count = plural(sum(done.unreadable.values()), "file is", "files are")
        print(f"{count} unreadable; the list is {out / UNREADABLE_LIST}", file=sys.stderr)
    if heic := done.unreadable.get(HEIC_REASON):
        print(f"{heic} of them are HEIC: {HEIC_HELP}, and index again", file=sys.stderr)
    print(json.dumps({"index": str(out), **asdict(done)}))
    return Exit.OK


def default_index(sources: list[str]) -> Path:
    """Return ``photos.index``, beside the folder ``photos``."""
    if not sources or Path(sources[0]).is_file():
        raise usage("nothing says where the index is to be written", fix="--out INDEX")
    if not Path(sources[0]).is_dir():
        raise usage(
            "no such folder",
            where=sources[0],
            fix="check the path; for shards by pattern give --out INDEX",
        )
    folder = Path(os.path.realpath(sources[0]))
    return folder.with_name(f"{folder.name}.index")


def query(args: argparse.Namespace) -> int:
    """Print the photos that texts and images describe."""
    check_weights(args.pretrained)
    if not (args.text or args.image or args.minus):
        raise usage("nothing to search for", fix='a text: "a dog in the snow", or --image FILE')
    opened = _open_index(args.index)
    from hardpairs.photos.search import combine, image_vector, ranked, text_vectors, unknown_words

    encoders = open_model(opened, args.model, args.pretrained, args.device)
    if unknown := unknown_words(encoders, args.text + args.minus):
        print(unknown, file=sys.stderr)
    given = [image_vector(encoders, _read_image(path), args.device) for path in args.image]
    plus = [*text_vectors(encoders, args.text), *given]
    vector = combine(plus, list(text_vectors(encoders, args.minus)))
    results: list[tuple[PhotoFile, SearchResult]] = []
    gone: list[PhotoFile] = []
    top = min(args.top, MAX_TOP)
    for result in ranked(opened, vector, top + 100, cut=args.cut):  # photos that are gone count too
        if len(results) == top:
            break
        file = opened.photos.file(result.row)
        if exists(file):
            results.append((file, result))
        else:
            gone.append(file)
    _report_gone(gone, args.index)
    if not results:
        print("nothing stands out" if args.cut and not gone else "nothing is left", file=sys.stderr)
    if args.json:
        rows = [
            {"image_path": path_text(file), "id": opened.ids[r.row], "similarity": r.similarity}
            for file, r in results
        ]
        print(json.dumps(rows, indent=2))
    else:
        _print_paths(results, args)
    return Exit.OK


def _open_index(folder: Path) -> Index:
    """Open an index; where there is none, name the command that makes it."""
    try:
        return Index.open(folder)
    except UserError as error:
        if error.code != Exit.USAGE:
            raise
        fix = "make it: hardpairs photos index PHOTOS --out INDEX"
        raise usage(error.what, where=error.where, fix=fix) from None


def _report_gone(gone: list[PhotoFile], index: Path) -> None:
    if gone:
        names = ", ".join(terminal.shown_path(path_text(file)) for file in gone[:10])
        count = plural(len(gone), "photo is", "photos are")
        print(f"{count} gone since the index was made: {names}", file=sys.stderr)
        print(f"to remove them: hardpairs photos index --out {index}", file=sys.stderr)


def path_text(file: PhotoFile) -> str:
    """Return ``photo.jpg``, or ``shard.tar/key`` for a photo in a tar."""
    return f"{file.path}/{file.key}" if file.key else file.path


def _read_image(path: Path) -> Image.Image:
    try:
        return decode(path.read_bytes())
    except OSError as error:
        message = f"cannot read the image: {error.strerror}"
        raise usage(message, where=str(path), fix="check the path of --image") from None
    except UnreadableImage as error:
        fix = HEIC_HELP if str(error) == HEIC_REASON else "give a JPEG, PNG or WebP"
        raise bad_input(f"the image cannot be used: {error}", where=str(path), fix=fix) from None


def _print_paths(results: list[tuple[PhotoFile, SearchResult]], args: argparse.Namespace) -> None:
    on_terminal = sys.stdout.isatty()
    if args.preview and not on_terminal:
        print("--preview is for a terminal; only paths are printed", file=sys.stderr)
    for file, result in results:
        path = path_text(file)
        if on_terminal:
            path = terminal.shown_path(path)
            if args.preview:
                _print_image(file)
        line = f"{result.similarity:.4f}\t{path}" if args.scores else path
        print(line, end="\0" if args.null else "\n")


def _print_image(file: PhotoFile) -> None:
    # A photo may have changed since it was indexed; its path is printed nevertheless.
    with contextlib.suppress(UnreadableImage):
        image = read_and_decode(lambda: read_photo(file))
        print(terminal.image_text(image, terminal.image_protocol(os.environ)))


def serve(args: argparse.Namespace) -> int:
    """Serve the page until it is stopped."""
    for folder in filter(None, (args.index, args.compare_with)):
        _open_index(folder)
    for path in filter(None, (args.hard_pairs, args.data)):
        check_exists(path)
    check_weights(args.pretrained)
    try:
        from hardpairs.photos.serve import serve as run
    except ModuleNotFoundError as error:
        raise usage(
            f"the page needs {error.name}, which is not installed", fix=f"pip install {error.name}"
        ) from None
    try:
        run(lambda: page_content(args), host=args.host, port=args.port, token=args.token)
    except KeyboardInterrupt:  # nothing is left unfinished, so there is nothing to say
        sys.exit(Exit.INTERRUPTED)
    return Exit.OK


def page_content(args: argparse.Namespace) -> PageContent:
    """Open what the page shows, by the flags of ``serve``."""
    from hardpairs.photos.library import Library, QueryImages
    from hardpairs.photos.page import PageContent
    from hardpairs.photos.review import open_review

    review = None
    if args.hard_pairs is not None:
        if args.data is None:
            raise usage(
                "--hard-pairs shows images, and nothing says where they are",
                fix="give what the pairs were mined on: --data",
            )
        review = open_review(args.hard_pairs, open_named(args.data, args), args.reject)
    for folder in filter(None, (args.index, args.compare_with)):
        _open_index(folder)
    libraries = [Library.open(args.index, args.model, args.pretrained, args.device)]
    if args.compare_with is not None:
        libraries.append(Library.open(args.compare_with, device=args.device))
    batches, examples = _batch_page(args.batches), tuple(args.example)
    return PageContent(libraries, QueryImages(libraries), review, batches, examples)


def _batch_page(training_flags: list[str] | None) -> str:
    """Return the page of the batches that these flags of a training command make."""
    if training_flags is None:
        return ""
    from hardpairs.cli.training_flags import parse_training_flags
    from hardpairs.reporting.batch_page import make_page, render

    command = shlex.join(["python", "-m", "training.main", *training_flags])
    return render(make_page(parse_training_flags(training_flags), command=command))
