"""Mine hard pairs for CLIP, train on batches that contain them, and measure the gain."""

__version__ = "0.2.0"
