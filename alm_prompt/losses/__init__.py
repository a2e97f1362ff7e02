"""Losses: pure functions of tensors, and the hooks that bring them into a model's objective."""

from .classification import prediction_entropy
from .hooks import AnchorLoss, LossHook, ZebraLoss

__all__ = ["AnchorLoss", "LossHook", "ZebraLoss", "prediction_entropy"]
