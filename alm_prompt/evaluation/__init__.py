"""Honest measurement: accuracy on base and novel classes, apart and together, over seeds and folds."""

from .benchmark import BenchmarkResult, run_benchmark
from .metrics import accuracy, h_of_means, harmonic_mean, macro_f1, mean_of_h
from .report import markdown_report, markdown_table, summarise
from .run import predict_features

__all__ = [
    "BenchmarkResult",
    "accuracy",
    "h_of_means",
    "harmonic_mean",
    "macro_f1",
    "markdown_report",
    "markdown_table",
    "mean_of_h",
    "predict_features",
    "run_benchmark",
    "summarise",
]
