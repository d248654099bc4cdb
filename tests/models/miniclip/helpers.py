"""Small towers with random weights."""

import torch

from hardpairs.models.create import create_model_and_transforms

WORDS = [f"word{i}" for i in range(190)]


def make(name, words=WORDS, **options):
    torch.manual_seed(0)
    return create_model_and_transforms(name, vocabulary=list(words), **options)[0]


def sizes(model):
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)
