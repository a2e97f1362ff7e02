"""The metrics work as `evaluate` metrics do, without the Hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from alm_prompt.errors import AlmPromptError
from alm_prompt.evaluation.evaluate_metric import Accuracy, BaseNovelAccuracy, HarmonicMeans, MacroF1


def test_base_novel_accuracy_over_batches(tmp_path: Path) -> None:
    metric = BaseNovelAccuracy(cache_dir=str(tmp_path))
    metric.add_batch(predictions=[0, 1, 1], references=[0, 1, 0])
    metric.add_batch(predictions=[2, 0, 3, 1, 0], references=[2, 2, 3, 3, 0])
    scores = metric.compute(num_base=2)
    assert scores["base"] == pytest.approx(3 / 4)
    assert scores["novel"] == pytest.approx(2 / 4)
    assert scores["harmonic_mean"] == pytest.approx(2 * 0.75 * 0.5 / 1.25)


def test_one_sided_clips_are_refused(tmp_path: Path) -> None:
    metric = BaseNovelAccuracy(cache_dir=str(tmp_path))
    with pytest.raises(AlmPromptError, match="num_base=2"):
        metric.compute(predictions=[0, 1], references=[0, 1], num_base=2)


def test_accuracy_and_macro_f1(tmp_path: Path) -> None:
    clips = {"predictions": [0, 0, 1, 1], "references": [0, 1, 1, 1]}
    assert Accuracy(cache_dir=str(tmp_path)).compute(**clips) == {"accuracy": 3 / 4}
    # Class 0: precision 1/2, recall 1. Class 1: precision 1, recall 2/3.
    assert MacroF1(cache_dir=str(tmp_path)).compute(**clips) == {"macro_f1": pytest.approx((2 / 3 + 4 / 5) / 2)}


def test_both_reductions_of_h_over_runs(tmp_path: Path) -> None:
    scores = HarmonicMeans(cache_dir=str(tmp_path)).compute(base=[0.9, 0.6], novel=[0.3, 0.6])
    assert scores["mean_of_h"] == pytest.approx((2 * 0.9 * 0.3 / 1.2 + 0.6) / 2)
    assert scores["h_of_means"] == pytest.approx(2 * 0.75 * 0.45 / 1.2)
