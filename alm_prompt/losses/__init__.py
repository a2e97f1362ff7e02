"""Losses: pure functions of tensors, and the hooks that bring them into a model's objective."""

from .classification import confident_views, prediction_entropy, view_entropy
from .contrastive import contrastive_loss, gather_pairs
from .geometry import pairwise_distances, semantic_expansion
from .hooks import AnchorLoss, LossHook, SeptLoss, TransferLoss, ZebraLoss

__all__ = [
    "AnchorLoss",
    "LossHook",
    "SeptLoss",
    "TransferLoss",
    "ZebraLoss",
    "confident_views",
    "contrastive_loss",
    "gather_pairs",
    "pairwise_distances",
    "prediction_entropy",
    "semantic_expansion",
    "view_entropy",
]
