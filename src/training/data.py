"""HELIP's name for the trainer's data: ``hardpairs.training.data``."""

from hardpairs.training.data import *  # noqa: F403
from hardpairs.training.hooks.build import get_data

__all__ = ["get_data"]
