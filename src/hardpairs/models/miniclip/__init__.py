"""MiniCLIP's small towers behind OpenCLIP's model interface: ResNet18 or a CNN for pictures, an LSTM or a Transformer for words."""

from hardpairs.models.miniclip.model import MiniCLIP, create_miniclip, is_miniclip

__all__ = ["MiniCLIP", "create_miniclip", "is_miniclip"]
