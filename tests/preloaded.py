"""What the fork server of ``tests.processes`` imports: what commands import, and nothing of theirs."""

import numba  # noqa: F401
import open_clip  # noqa: F401
import pandas  # noqa: F401
import sklearn.cluster  # noqa: F401
import torch.distributed.run  # noqa: F401

import hardpairs.photos.serve
import hardpairs.training.hooks.run  # noqa: F401
from hardpairs.training.upstream import patched

patched("main")
