"""Measure the constants of this machine."""

from __future__ import annotations

import datetime
import importlib.metadata
import multiprocessing
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

import hardpairs
from hardpairs.mining.plan import free_memory
from hardpairs.planning.machine import Machine
from hardpairs.planning.measure_mining import Effort, load_loops, measure_mining
from hardpairs.planning.measure_model import measure_encoder, measure_loss
from hardpairs.planning.measure_rates import disk_rates, network_rate
from hardpairs.planning.resident import resident_bytes

PACKAGES = ("torch", "numpy", "numba", "open_clip_torch")
TRANSFER = 64 << 20
"""Bytes of what is written, read and sent."""


def calibrate(
    folder: Path,
    *,
    model: str | None = None,
    effort: Effort | None = None,
    transfer: int = TRANSFER,
) -> Machine:
    """Return the constants of this machine; it takes about two minutes where it is idle.

    Args:
        folder: Its disk is measured.
        model: A model of OpenCLIP to measure, too.
        effort: Sizes of what is measured.
        transfer: Bytes of what is written, read and sent.
    """
    effort = effort or Effort()
    free = free_memory()
    load_loops(effort.top_k)
    _tell("disk and processes")
    size = _process_bytes(effort.top_k)
    read, write = disk_rates(folder, transfer)
    network = network_rate(transfer)
    _tell("mining")
    mining = measure_mining(effort)
    _tell("loss" if model is None else f"loss and {model}")
    loss = measure_loss()
    return Machine(
        description=_description(),
        threads=torch.get_num_threads(),
        free_memory=free,
        process_bytes=size,
        read_rate=read,
        write_rate=write,
        network_rate=network,
        mining=mining,
        loss=loss,
        encoder=None if model is None else measure_encoder(model),
    )


def _process_bytes(top_k: int) -> int:
    """Return the memory of a process with everything loaded.

    It is a new one, since compiling the loops has left memory in this one.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_load, top_k).result()


def _load(top_k: int) -> int:
    load_loops(top_k)
    return resident_bytes()


def _tell(what: str) -> None:
    print(f"measuring {what}", file=sys.stderr, flush=True)


def _description() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "python": platform.python_version(),
        "hardpairs": hardpairs.__version__,
        **versions,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
