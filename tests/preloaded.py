"""What the fork server of ``tests.processes`` imports: what commands import, and nothing of theirs.

Here is also done once what each command would do for itself: the declarations of all components are
read, and objects that live as long as the process are left out of garbage collection, which would
copy their memory into each fork.
"""

import argparse
import ctypes
import gc
import logging
import weakref
from pathlib import Path

import numba  # noqa: F401
import open_clip  # noqa: F401
import pandas  # noqa: F401
import sklearn.cluster  # noqa: F401
import torch.distributed.run  # noqa: F401

import hardpairs.photos.serve
import hardpairs.training.hooks.run  # noqa: F401
from hardpairs.training.hooks.flags import add_arguments
from hardpairs.training.upstream import patched


def use_huge_pages() -> None:
    """Move this process's memory to huge pages where Linux can (6.1): each fork copies its list of pages."""
    madvise, collapse, size = ctypes.CDLL(None).madvise, 25, 1 << 21
    for line in Path("/proc/self/maps").read_text().splitlines():
        bounds, access, _, _, file, *name = line.split()
        if access == "rw-p" and file == "0" and name in ([], ["[heap]"]):
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            for page in range(-(-start // size) * size, end - size + 1, size):
                madvise(ctypes.c_void_p(page), ctypes.c_size_t(size), collapse)


patched("main")
add_arguments(argparse.ArgumentParser())
# OpenCLIP sets the level of each logger, and that takes longer the more there are.
for name in [*logging.root.manager.loggerDict]:
    if not name.startswith(("hardpairs", "torch.distributed.elastic", "uvicorn")):
        logging.getLogger(name).setLevel(logging.WARNING)
        del logging.root.manager.loggerDict[name]
# PyTorch takes its operators apart when a process ends.
for finalizer in [*weakref.finalize._registry]:
    finalizer.atexit = False
gc.collect()
gc.freeze()
use_huge_pages()
