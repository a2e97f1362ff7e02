"""Labelled clips, the splits of few-shot learning, and batches."""

from .captions import CaptionDataset, SetEpoch, draw_caption
from .catalog import CATALOG, KnownDataset
from .checks import (
    DuplicateAudioError,
    audio_content,
    check_labels,
    check_leaks,
    check_readable,
    clashing_clips,
    leaked_clips,
)
from .class_rules import CLASS_RULES, base_novel_classes, divide_classes
from .collate import AlmCollator, ClipDataset, FeatureDataset
from .datasets import AudioDataset, open_dataset
from .layouts import FoundDataset, find_datasets
from .shots import SHOT_RULES, sample_shots
from .sources import AudioClips, Clip, load_clips, load_csv, load_folder, load_hub_dataset
from .splits import Fold, Split, base_to_novel_split, few_shot_split, folds, held_out_folds

__all__ = [
    "CATALOG",
    "CLASS_RULES",
    "SHOT_RULES",
    "AlmCollator",
    "AudioClips",
    "AudioDataset",
    "CaptionDataset",
    "Clip",
    "ClipDataset",
    "DuplicateAudioError",
    "FeatureDataset",
    "Fold",
    "FoundDataset",
    "KnownDataset",
    "SetEpoch",
    "Split",
    "audio_content",
    "base_novel_classes",
    "base_to_novel_split",
    "check_labels",
    "check_leaks",
    "check_readable",
    "clashing_clips",
    "divide_classes",
    "draw_caption",
    "few_shot_split",
    "find_datasets",
    "folds",
    "held_out_folds",
    "leaked_clips",
    "load_clips",
    "load_csv",
    "load_folder",
    "load_hub_dataset",
    "open_dataset",
    "sample_shots",
]
