"""MiniCLIP's small towers behind OpenCLIP's model interface.

``image`` has a ResNet18 and a CNN, ``text`` an LSTM and a Transformer, and ``model`` joins two of
them; start reading there. ``image_weights`` finds ImageNet's weights, and ``seed`` reads MiniCLIP's
own checkpoints.
"""

from hardpairs.models.miniclip.model import MiniCLIP, create_miniclip, is_miniclip

__all__ = ["MiniCLIP", "create_miniclip", "is_miniclip"]
