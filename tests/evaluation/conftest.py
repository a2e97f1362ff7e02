"""Rows of benchmarks as a run would write them, with figures of the test's choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

MakeRow = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def make_row() -> MakeRow:
    """Makes a row: method, seed, fold, then figures and whatever else differs from the usual."""

    def make(method: str, seed: int = 0, fold: str | None = None, **different: Any) -> dict[str, Any]:
        row = {
            "format": 2,
            "track": "sept",
            "protocol": "sept-base-to-new",
            "dataset": "ESC50",
            "target_dataset": None,
            "method": method,
            "shots": 16,
            "seed": seed,
            "fold": fold,
            "trainable_parameters": 0 if method == "zero-shot" else 8192,
            "seconds": 2.0,
            "base_classes": ["a", "b"],
            "novel_classes": ["c"],
            "class_rule": "alphabetical-halves",
            "shot_rule": "hashed",
            "encoder_mode": "frozen",
            "template": "This is a sound of {}.",
            "described": False,
            "training": {"learning_rate": 0.0125},
            "logit_scale": 100.0,
            "split_hash": f"{seed}{fold}0123456789abcdef",
            "settings": f"{method}{seed}{fold}",
            **different,
        }
        for half, other, both in (("base", "novel", "h"), ("base_g", "novel_g", "h_g")):
            if half in row:
                row[both] = 2 * row[half] * row[other] / (row[half] + row[other])
        return row

    return make


@pytest.fixture(scope="session")
def base_to_novel_rows(make_row: MakeRow) -> list[dict[str, Any]]:
    """Zero-shot and two methods, two seeds, two folds; CoOp wins on base and loses on novel classes."""
    figures = {
        "zero-shot": [(0.5, 0.6), (0.7, 0.6), (0.5, 0.6), (0.7, 0.6)],
        "coop": [(0.9, 0.4), (0.7, 0.6), (0.8, 0.2), (0.6, 0.8)],
        "coop+sept": [(0.8, 0.5), (0.8, 0.7), (0.7, 0.6), (0.9, 0.6)],
    }
    runs = [(0, "1"), (0, "2"), (1, "1"), (1, "2")]
    return [
        make_row(method, seed, fold, base=base, novel=novel, base_g=base - 0.1, novel_g=novel / 2, novel_to_base=0.3)
        for method, scores in figures.items()
        for (seed, fold), (base, novel) in zip(runs, scores, strict=True)
    ]
