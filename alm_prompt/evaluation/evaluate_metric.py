"""Our metrics as metrics of the `evaluate` library, usable without the Hub: `evaluate.load` is not needed."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate

from ..errors import AlmPromptError
from .metrics import accuracy, h_of_means, harmonic_mean, macro_f1, mean_of_h


class Accuracy(evaluate.Metric):
    """Share of clips whose predicted class is the true one."""

    def _info(self) -> evaluate.MetricInfo:
        return _class_indices("Share of clips whose predicted class is the true one.")

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        """Compute the metric.

        Args:
            predictions: class index per clip.
            references: true class index per clip.
        """
        return {"accuracy": accuracy(predictions, references)}


class MacroF1(evaluate.Metric):
    """Mean of the F1 scores of the classes that occur; a class never predicted counts as 0."""

    def _info(self) -> evaluate.MetricInfo:
        return _class_indices("Mean of the F1 scores of the classes that occur.")

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        """Compute the metric.

        Args:
            predictions: class index per clip.
            references: true class index per clip.
        """
        return {"macro_f1": macro_f1(predictions, references)}


class BaseNovelAccuracy(evaluate.Metric):
    """Accuracy on base and novel clips, classified among all classes, and their harmonic mean.

    Use it like any metric of `evaluate`, for instance in a Trainer's `compute_metrics`:

    ```python
    metric = BaseNovelAccuracy()
    metric.compute(predictions=[0, 1, 3], references=[0, 1, 2], num_base=2)
    ```
    """

    def _info(self) -> evaluate.MetricInfo:
        return _class_indices(
            "Accuracy on base and novel clips among all classes, and their harmonic mean.",
            "base classes first; num_base: how many",
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


class HarmonicMeans(evaluate.Metric):
    """Several runs to one H, in both published ways; each goes by its name, for they differ.

    ```python
    HarmonicMeans().compute(base=[0.9, 0.7], novel=[0.4, 0.6])  # {"mean_of_h": ..., "h_of_means": ...}
    ```
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Mean over runs of the harmonic mean, and harmonic mean of the means over runs.",
            citation="",
            inputs_description="base, novel: accuracies of each run.",
            features=datasets.Features({"base": datasets.Value("float64"), "novel": datasets.Value("float64")}),
        )

    def _compute(self, base: Sequence[float], novel: Sequence[float]) -> dict[str, float]:
        """Compute the metric.

        Args:
            base: accuracy on base clips, per run.
            novel: accuracy on novel clips, per run.
        """
        pairs = list(zip(base, novel, strict=True))
        return {"mean_of_h": mean_of_h(pairs), "h_of_means": h_of_means(pairs)}


def _class_indices(description: str, inputs: str = "") -> evaluate.MetricInfo:
    return evaluate.MetricInfo(
        description=description,
        citation="",
        inputs_description="predictions, references: class indices" + (f", {inputs}." if inputs else "."),
        features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
    )
