"""Losses: pure functions of tensors, and the hooks that bring them into a model's objective."""

from .classification import prediction_entropy
from .hooks import LossHook, ZebraLoss

__all__ = ["LossHook", "ZebraLoss", "prediction_entropy"]
