"""Honest measurement: accuracy on base and novel classes, apart and together, over seeds and folds."""

from .benchmark import BenchmarkResult, run_benchmark
from .contestant import Contestant
from .few_shot import FewShotTask, few_shot_task, open_task
from .grid import plan_runs
from .metrics import accuracy, h_of_means, harmonic_mean, macro_f1, mean_of_h
from .protocols import Recipe, read_recipe, recipe_names
from .report import markdown_report, markdown_table, summarise
from .rows import RowStore
from .run import predict_features
from .runner import Runner

__all__ = [
    "BenchmarkResult",
    "Contestant",
    "FewShotTask",
    "Recipe",
    "RowStore",
    "Runner",
    "accuracy",
    "few_shot_task",
    "h_of_means",
    "harmonic_mean",
    "macro_f1",
    "markdown_report",
    "markdown_table",
    "mean_of_h",
    "open_task",
    "plan_runs",
    "predict_features",
    "read_recipe",
    "recipe_names",
    "run_benchmark",
    "summarise",
]
