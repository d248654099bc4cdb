"""The losses on a CUDA device against float64 on the CPU."""

import pytest
import torch
import torch.nn.functional as F

from hardpairs.batches import BatchInfo
from hardpairs.losses import (
    ContrastiveLoss,
    GeometryLoss,
    GlobalLoss,
    HardNegativeMarginLoss,
    SANWLoss,
    SigmoidLoss,
    SimilarityWeights,
)
from hardpairs.losses.kernels import KERNELS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

LOSSES = {
    "clip_ce": ContrastiveLoss,
    "hardness": lambda **more: ContrastiveLoss(hardness=9.0, **more),
    "sanw_debias": lambda **more: SANWLoss(delta=0.0, **more),
    "sanw_bandpass": lambda **more: SANWLoss("bandpass", m1=-0.2, **more),
    "siglip": SigmoidLoss,
    "siglip + bandpass": lambda **more: SigmoidLoss(
        weights=SimilarityWeights("bandpass", m1=-0.2), **more
    ),
    "memory": lambda **more: ContrastiveLoss(memory_batches=1, **more),
    "global": lambda **more: GlobalLoss(4096, gamma=0.5, rho=2.0, **more),
    "margin": HardNegativeMarginLoss,
    "geometry": GeometryLoss,
}


def value_and_gradients(name, dtype, device, block_rows, scale):
    generator = torch.Generator().manual_seed(0)
    text = F.normalize(torch.randn(4096, 64, generator=generator, dtype=torch.float64), dim=1)
    image = F.normalize(
        text + 0.5 * torch.randn(4096, 64, generator=generator, dtype=torch.float64), dim=1
    )
    sides = [
        side.bfloat16().to(device, dtype).requires_grad_() for side in (image, text)
    ]  # exactly the same numbers in every dtype
    arguments = (
        []
        if name == "geometry"
        else [torch.tensor(scale, device=device, dtype=torch.promote_types(dtype, torch.float32))]
    )
    if name.startswith("siglip"):
        arguments.append(torch.tensor(-10.0, device=device, dtype=arguments[0].dtype))
    made, more = LOSSES[name](block_rows=block_rows), {}
    if name in ("memory", "global"):
        rows = torch.arange(4096, device=device)
        made(*(side.detach().flip(0) for side in sides), *arguments, info=BatchInfo(rows=rows))
        made.end_step()
        more = {"info": BatchInfo(rows=rows.roll(64))}
    loss = made(*sides, *arguments, **more)
    (loss * 1024).backward()  # as torch's GradScaler does for float16
    return [loss.detach().double().cpu(), *(side.grad.double().cpu() / 1024 for side in sides)]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("block_rows", [None, 1000])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.03), (torch.float16, 0.03)]
)
def test_as_on_the_cpu(name, block_rows, dtype, tolerance):
    scale = 100.0 if dtype == torch.float32 else 20.0
    expected = value_and_gradients(name, torch.float64, "cpu", None, scale)
    for ours, right in zip(
        value_and_gradients(name, dtype, "cuda", block_rows, scale), expected, strict=True
    ):
        assert ours.isfinite().all()
        assert (ours - right).norm() <= tolerance * right.norm()


@pytest.mark.parametrize("name", ["clip_ce", "siglip"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_kernels_as_on_the_cpu(monkeypatch, name, dtype):
    pytest.importorskip("triton")
    expected = value_and_gradients(name, torch.float64, "cpu", None, 20.0)
    monkeypatch.setenv(KERNELS, "1")
    found = value_and_gradients(name, dtype, "cuda", 1000, 20.0)
    for ours, right in zip(found, expected, strict=True):
        assert (ours - right).norm() <= 0.03 * right.norm()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_finite_at_full_scale(name, dtype):
    assert all(
        value.isfinite().all() for value in value_and_gradients(name, dtype, "cuda", 1024, 100.0)
    )
