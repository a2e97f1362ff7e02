"""The generalised base-to-novel accuracy as a metric of the `evaluate` library, usable without the Hub."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate

from ..errors import AlmPromptError
from .metrics import accuracy, harmonic_mean


class BaseNovelAccuracy(evaluate.Metric):
    """Accuracy on base and novel clips, classified among all classes, and their harmonic mean.

    Use it like any metric of `evaluate`, for instance in a Trainer's `compute_metrics`; `evaluate.load` is not needed:

    ```python
    metric = BaseNovelAccuracy()
    metric.compute(predictions=[0, 1, 3], references=[0, 1, 2], num_base=2)
    ```
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Accuracy on base and novel clips among all classes, and their harmonic mean.",
            citation="",
            inputs_description="predictions, references: class indices, base classes first; num_base: how many.",
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: Sequence[int], references: Sequence[int], num_base: int) -> dict[str, float]:
        """Compute the metric.

        Args:
            predictions: class index per clip.
            references: true class index per clip; the base classes are those below `num_base`.
            num_base: number of base classes.

        Raises:
            AlmPromptError: there are no base clips or no novel clips.
        """
        pairs = list(zip(predictions, references, strict=True))
        halves = [[pair for pair in pairs if (pair[1] < num_base) == is_base] for is_base in (True, False)]
        if not all(halves):
            raise AlmPromptError(f"num_base={num_base} leaves no base or no novel clips among {len(pairs)} references")
        base, novel = (accuracy(*zip(*half, strict=True)) for half in halves)
        return {"base": base, "novel": novel, "harmonic_mean": harmonic_mean(base, novel)}
