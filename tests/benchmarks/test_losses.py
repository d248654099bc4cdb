"""The losses that are measured at the largest batches."""

from benchmarks.losses import huge, huge_losses


def test_a_cpu_measures_all_losses_without_kernels():
    figures = huge([8], 4, "cpu")
    losses = huge_losses(4, "cpu")
    assert [figure["loss"] for figure in figures] == list(losses)
    assert not any(kernels for kernels, _ in losses.values())


def test_a_gpu_measures_the_same_losses_with_and_without_kernels():
    losses = huge_losses(4, "cuda")
    with_kernels = {name: loss for name, (kernels, loss) in losses.items() if kernels}
    assert list(with_kernels) == [
        "clip_ce, kernels",
        "siglip, kernels",
        "siglip multi-positive, kernels",
    ]
    for name, loss in with_kernels.items():
        assert losses[name.removesuffix(", kernels")] == (False, loss)
