"""When the Triton kernels of the losses are used."""

import pytest
import torch

from hardpairs.batches import BatchInfo
from hardpairs.losses import ContrastiveLoss, SANWLoss, SigmoidLoss
from hardpairs.losses.kernels import KERNELS, takes, use_kernels
from tests.losses.helpers import features


def test_a_cpu_does_not_use_them(monkeypatch):
    monkeypatch.setenv(KERNELS, "1")
    image, text = features(dtype=torch.float16)
    assert not use_kernels(image, ContrastiveLoss().negatives(image, text))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_what_they_do_not_know_is_left_to_plain_torch(monkeypatch):
    image, text = (side.cuda() for side in features(dtype=torch.float16))
    ids = BatchInfo(group_ids=torch.arange(12, device="cuda")[:, None] // 2)
    for loss in (ContrastiveLoss(), SigmoidLoss(multi_positive=True)):
        assert takes(image, loss.negatives(image, text))
        assert takes(image, loss.negatives(image, text, ids))
        assert not takes(image.float(), loss.negatives(image, text))
    for loss in (SANWLoss(), ContrastiveLoss(hardness=1.0)):
        assert not takes(image, loss.negatives(image, text, ids))
    plain = ContrastiveLoss().negatives(image, text)
    assert not use_kernels(image, plain)
    monkeypatch.setenv(KERNELS, "1")
    assert use_kernels(image, plain)
