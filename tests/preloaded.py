"""What the fork server of ``tests.processes`` imports: all that commands import.

Here is also done once what each command would do for itself: the declarations of all components are
read, and objects that live as long as the process are left out of garbage collection, which would
copy their memory into each fork.
"""

import argparse
import contextlib
import ctypes
import encodings.utf_8_sig  # noqa: F401
import gc
import importlib
import logging
import pkgutil
import weakref
from pathlib import Path

import pyarrow.pandas_compat  # noqa: F401
import sklearn.cluster  # noqa: F401
import torch.distributed.run  # noqa: F401
import webdataset  # noqa: F401
from numba.core.registry import cpu_target

import hardpairs
from hardpairs.training.hooks.flags import add_arguments
from hardpairs.training.upstream import patched

PROGRAMS = ("__main__", "hardpairs.training.launch", "hardpairs.training.torchrun")
"""Modules that are run; Python warns if they have been imported."""


def import_all() -> None:
    """Import all of our modules whose libraries are there."""
    for module in pkgutil.walk_packages(hardpairs.__path__, "hardpairs."):
        if not module.name.endswith(PROGRAMS):
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)


def use_huge_pages() -> None:
    """Move this process's memory to huge pages where Linux can (6.1): each fork copies its list of pages."""
    madvise, collapse, size = ctypes.CDLL(None).madvise, 25, 1 << 21
    for line in Path("/proc/self/maps").read_text().splitlines():
        bounds, access, _, _, file, *name = line.split()
        if access == "rw-p" and file == "0" and name in ([], ["[heap]"]):
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            for page in range(-(-start // size) * size, end - size + 1, size):
                madvise(ctypes.c_void_p(page), ctypes.c_size_t(size), collapse)


import_all()
patched("main")
patched("data")
add_arguments(argparse.ArgumentParser())
# OpenCLIP sets the level of each logger, and that takes longer the more there are.
for name in [*logging.root.manager.loggerDict]:
    if not name.startswith(("hardpairs", "torch.distributed.elastic", "uvicorn")):
        logging.getLogger(name).setLevel(logging.WARNING)
        del logging.root.manager.loggerDict[name]
# numba imports its parts when the first function is called.
cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()
# PyTorch takes its operators apart when a process ends.
for finalizer in [*weakref.finalize._registry]:
    finalizer.atexit = False
gc.collect()
gc.freeze()
use_huge_pages()
