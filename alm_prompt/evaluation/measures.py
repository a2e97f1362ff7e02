"""What a run measures: figures by name, from the predictions for test clips that took part in nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .metrics import accuracy, harmonic_mean, macro_f1

if TYPE_CHECKING:
    from ..data import AudioClips, Split

    Predict = Callable[[AudioClips, Sequence[str]], list[int]]
    """Most likely class of every clip, among some classes, as an index into them."""

ACROSS_CLASSES = "all-classes"
BASE_TO_NOVEL = "base-to-novel"
CROSS_DATASET = "cross-dataset"
TEST_TIME = "test-time"


def all_classes(predict: Predict, split: Split, target: AudioClips | None) -> dict[str, float]:
    """Accuracy and macro F1 among the classes that were learned (PALM, arXiv 2409.19806)."""
    predictions, references = predict(split.test, split.base_classes), split.test.label_ids(split.base_classes)
    return {"accuracy": accuracy(predictions, references), "macro_f1": macro_f1(predictions, references)}


def base_to_novel(predict: Predict, split: Split, target: AudioClips | None) -> dict[str, float]:
    """Accuracy in both forms: each half among its own classes, then every clip among all classes."""
    base, novel = list(split.base_classes), list(split.novel_classes)
    base_clips, novel_clips = split.test.select(labels=base), split.test.select(labels=novel)

    def correct(clips: AudioClips, classes: Sequence[str]) -> float:
        return accuracy(predict(clips, classes), clips.label_ids(classes))

    novel_among_all = predict(novel_clips, base + novel)
    scores = {
        "base": correct(base_clips, base),
        "novel": correct(novel_clips, novel),
        "base_g": correct(base_clips, base + novel),
        "novel_g": accuracy(novel_among_all, novel_clips.label_ids(base + novel)),
        "novel_to_base": sum(label < len(base) for label in novel_among_all) / len(novel_among_all),
    }
    return scores | {
        "h": harmonic_mean(scores["base"], scores["novel"]),
        "h_g": harmonic_mean(scores["base_g"], scores["novel_g"]),
    }


def cross_dataset(predict: Predict, split: Split, target: AudioClips | None) -> dict[str, float]:
    """Accuracy on the data set that was learned, and on another among that one's classes (SEPT, table 2)."""
    return {
        "source": accuracy(predict(split.test, split.base_classes), split.test.label_ids(split.base_classes)),
        "target": accuracy(predict(target, target.class_names), target.label_ids(target.class_names)),
    }


# At test time nothing is trained: a run adapts to the test clips themselves, without their labels.
MEASURES: dict[str, Callable[[Predict, Split, AudioClips | None], dict[str, float]]] = {
    ACROSS_CLASSES: all_classes,
    BASE_TO_NOVEL: base_to_novel,
    CROSS_DATASET: cross_dataset,
    TEST_TIME: all_classes,
}
