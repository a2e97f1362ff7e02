"""Honest measurement: accuracy on base and novel classes, apart and together, over seeds and folds."""

from .benchmark import BenchmarkResult, run_benchmark
from .few_shot import FewShotTask, few_shot_task, open_task
from .metrics import accuracy, h_of_means, harmonic_mean, macro_f1, mean_of_h
from .report import markdown_report, markdown_table, summarise
from .run import predict_features

__all__ = [
    "BenchmarkResult",
    "FewShotTask",
    "accuracy",
    "few_shot_task",
    "h_of_means",
    "harmonic_mean",
    "macro_f1",
    "markdown_report",
    "markdown_table",
    "mean_of_h",
    "open_task",
    "predict_features",
    "run_benchmark",
    "summarise",
]
