"""The metric works as `evaluate` metrics do, without the Hub."""

from __future__ import annotations

import pytest

from alm_prompt.errors import AlmPromptError
from alm_prompt.evaluation.evaluate_metric import BaseNovelAccuracy


def test_base_novel_accuracy_over_batches(tmp_path) -> None:
    metric = BaseNovelAccuracy(cache_dir=str(tmp_path))
    metric.add_batch(predictions=[0, 1, 1], references=[0, 1, 0])
    metric.add_batch(predictions=[2, 0, 3, 1, 0], references=[2, 2, 3, 3, 0])
    scores = metric.compute(num_base=2)
    assert scores["base"] == pytest.approx(3 / 4)
    assert scores["novel"] == pytest.approx(2 / 4)
    assert scores["harmonic_mean"] == pytest.approx(2 * 0.75 * 0.5 / 1.25)


def test_one_sided_clips_are_refused(tmp_path) -> None:
    metric = BaseNovelAccuracy(cache_dir=str(tmp_path))
    with pytest.raises(AlmPromptError, match="num_base=2"):
        metric.compute(predictions=[0, 1], references=[0, 1], num_base=2)
