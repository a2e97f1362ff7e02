"""Labelled clips, the splits of few-shot learning, and batches."""

from .captions import CaptionDataset, SetEpoch, draw_caption
from .collate import AlmCollator, ClipDataset, FeatureDataset
from .sources import AudioClips, Clip, load_clips, load_csv, load_folder, load_hub_dataset
from .splits import Split, base_novel_classes, base_to_novel_split, check_leaks, folds, sample_shots

__all__ = [
    "AlmCollator",
    "AudioClips",
    "CaptionDataset",
    "Clip",
    "ClipDataset",
    "FeatureDataset",
    "SetEpoch",
    "Split",
    "base_novel_classes",
    "base_to_novel_split",
    "check_leaks",
    "draw_caption",
    "folds",
    "load_clips",
    "load_csv",
    "load_folder",
    "load_hub_dataset",
    "sample_shots",
]
