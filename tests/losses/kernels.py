"""What the tests of Triton kernels share: where they run, and what they are compared with."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from tests.helpers import ROOT

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed"
)
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [torch.float32, torch.float16, *([torch.bfloat16] if DEVICE == "cuda" else [])]
"""The interpreter does not multiply bfloat16."""
can_run = pytest.mark.skipif(
    not (INTERPRETED or DEVICE == "cuda"), reason="no CUDA device, and not in the interpreter"
)
not_interpreted = pytest.mark.skipif(INTERPRETED, reason="this is the interpreter")

TYPES = {
    **dict.fromkeys(("image", "text"), "*bf16"),
    **dict.fromkeys(("row_ids", "column_ids"), "*i64"),
    **dict.fromkeys(("height", "width", "depth", "first"), "i32"),
}
"""Triton's types of the kernels' parameters; the others are pointers to float32."""


def run_in_the_interpreter(file):
    """Run the tests of a file in Triton's interpreter, which is chosen before Triton is imported."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", file],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def compile_for_a_gpu(kernel, capability, **constants):
    """Compile a kernel to machine code without a GPU: tensor cores multiply, and the tiles fit into its memory."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from hardpairs.losses.tiles_triton import LAUNCH, SHAPE

    constants, names = {**SHAPE, "GROUPS": 2, **constants}, kernel.arg_names
    signature = {name: TYPES.get(name, "*fp32") for name in names}
    signature |= dict.fromkeys(constants, "constexpr")
    signature |= {"out": "*bf16"} if "out" in names else {}
    places = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(kernel, signature, places)
    made = compile(source, target=GPUTarget("cuda", capability, 32), options=LAUNCH)
    assert len(made.asm["cubin"]) > 1000 and "mma" in made.asm["ptx"]
    assert made.metadata.shared < 99 * 1024
