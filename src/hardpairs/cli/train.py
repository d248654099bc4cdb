r"""Train with OpenCLIP's trainer, all its flags and ours.

    hardpairs train --train-data pairs.csv --csv-separator , --csv-img-key filepath \
        --model ViT-B-32 --pretrained start.pt --use-hard --batch-size 64 --max-steps 100 \
        --hard-dict-dir OUT/cc3m_hard_sample.csv --device cpu
    torchrun --nproc_per_node 8 -m -- training.main ...

torchrun reads ``--logs`` and other flags as abbreviations of its own unless ``--`` stands before
the module's name.
"""

from __future__ import annotations

import argparse
import atexit
import logging
import os
import re
import sys
import tarfile
import traceback
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from hardpairs.cli.command_line import command_arguments
from hardpairs.cli.train_results import write_results
from hardpairs.core import peers
from hardpairs.core.errors import Exit, UserError
from hardpairs.core.interrupts import goes_on
from hardpairs.core.lock import locked
from hardpairs.core.remote import is_url
from hardpairs.core.workers import kill_workers
from hardpairs.training.preemption import REQUESTS, Stopped, preempted
from hardpairs.training.upstream import patched, world_info

UPSTREAM_ERRORS = {
    FileNotFoundError: Exit.USAGE,
    ValueError: Exit.BAD_INPUT,
    tarfile.ReadError: Exit.BAD_INPUT,
    RuntimeError: Exit.MISMATCH,
    FloatingPointError: Exit.NON_FINITE,
    AssertionError: Exit.USAGE,
}
"""Errors that the mended trainer raises for wrong input (patches/README.md): our exit codes."""


def main(argv: list[str] | None = None) -> int:
    """Train with the arguments of a command line; a run that is asked to stop saves its state."""
    with REQUESTS.listening():
        return _train(argv)


def _train(argv: list[str] | None) -> int:
    # What is wrong is said, and --help answers, before PyTorch is imported.
    parser = patched("params")
    argv = command_arguments("train", argv)
    args = parser.parse_args(argv)
    asked = args.resume
    if args.batching is None:
        REQUESTS.ignore()
    trainer: Any = patched("main")
    trainer.parse_args = lambda _: args
    logging.FileHandler.handleError = _tell_once  # type: ignore[method-assign,assignment]
    if hasattr(trainer, "pt_load"):  # the trainer of a version that saves in another way has none
        _use_our_files(trainer)
    _watch_others(trainer)
    import torch.distributed as dist

    atexit.register(kill_workers)  # before the handler of multiprocessing, which waits for them
    try:
        with _only_job(args):
            code = trainer.main(argv)
        peers.unwatch()
        if dist.is_available() and dist.is_initialized():
            # Without it gloo's threads may abort a run that succeeded.
            dist.destroy_process_group()
    except Stopped:
        raise preempted(REQUESTS.save()) from None
    except KeyboardInterrupt:
        _say_how_to_go_on(args, asked)
        raise
    except tuple(UPSTREAM_ERRORS) as error:
        message = _message_of_trainer(error)
        if message is None:
            raise
        raise UserError(_exit_code(error), message) from None
    finally:
        trainer.parse_args = parser.parse_args
        _quiet_torch()
    if code not in (None, 0):
        return Exit.UNEXPECTED
    if os.environ.get("RANK", "0") == "0":
        write_results(argv)
    return Exit.OK


def _tell_once(log: logging.FileHandler, record: logging.LogRecord) -> None:
    """Say in one line that a log file cannot be written: a full disk is told when a run saves."""
    error = sys.exc_info()[1]
    if not isinstance(error, OSError):
        logging.Handler.handleError(log, record)
        return
    log.setLevel(logging.CRITICAL + 1)
    print(f"warning: {log.baseFilename} ends here: {error.strerror}", file=sys.stderr)


def _use_our_files(trainer: Any) -> None:
    """Let the trainer write sealed checkpoints, and verify those that it reads."""
    from hardpairs.models.checkpoint import load_checkpoint
    from hardpairs.models.weight_files import save_checkpoint

    theirs = trainer.pt_load

    def load(path: str, map_location: Any = None) -> Any:
        return theirs(path, map_location=map_location) if is_url(path) else load_checkpoint(path)

    trainer.pt_save, trainer.pt_load = save_checkpoint, load


def _watch_others(trainer: Any) -> None:
    """Let the processes of a run watch each other from when they meet, long before they train."""
    from hardpairs.training.hooks.build import config_of

    theirs = patched("distributed").init_distributed_device

    def meet(args: argparse.Namespace) -> Any:
        timeout = config_of(args).saving.peer_timeout
        with peers.joining(timeout):
            device = theirs(args)
        peers.watch(args.rank, args.world_size, timeout)
        return device

    trainer.init_distributed_device = meet


def _only_job(args: argparse.Namespace) -> AbstractContextManager[None]:
    """Return the lock of the run's folder, which rank 0 holds; a run without a name has its own."""
    if world_info()[0] or not args.name or not args.logs or args.logs.lower() == "none":
        return nullcontext()
    return locked(Path(args.logs) / args.name / ".train.lock", f"the run {args.name}")


def _say_how_to_go_on(args: argparse.Namespace, asked: str | None) -> None:
    """Let the message of Ctrl-C say how the run goes on, if it has saved a state.

    Args:
        args: The trainer's arguments, as it has changed them.
        asked: The value of ``--resume`` on the command line.
    """
    folder = Path(args.logs or "", args.name or "", "checkpoints")
    if args.name and any(folder.glob("*.pt")):
        line = "the same command" if asked == "latest" else "the same command with --resume latest"
        goes_on(f"{line} goes on from the last checkpoint")


def _exit_code(error: BaseException) -> Exit:
    if "--train-num-samples" in str(error):
        return Exit.USAGE
    return next(code for kind, code in UPSTREAM_ERRORS.items() if isinstance(error, kind))


def _message_of_trainer(error: BaseException) -> str | None:
    """Return the message of an error that the patched trainer itself raised.

    In a worker of a loader it is the last line of a traceback, which is all that PyTorch hands on.

    Returns:
        ``None`` for errors of the libraries below the trainer.
    """
    message, file = str(error), traceback.extract_tb(error.__traceback__)[-1].filename
    if message.startswith("Caught ") and "\nOriginal Traceback " in message:
        name = re.escape(type(error).__name__)
        *_, last = re.finditer(rf"\n(?:\w+\.)*{name}: ", message)
        *_, file = re.findall(r'\n +File "(.*?)", line', message[: last.start()])
        message = message[last.end() :].rstrip()
    return message if "open_clip_train" in file else None


def _quiet_torch() -> None:
    """Set torch's loggers to WARNING.

    OpenCLIP sets every logger to INFO, and torch's compiler would print statistics at exit.
    """
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("torch"):
            logging.getLogger(name).setLevel(logging.WARNING)
