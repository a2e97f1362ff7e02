"""Reduction of rows and the table: folds first, then seeds; both forms side by side."""

from __future__ import annotations

from statistics import fmean, stdev
from typing import Any

import pytest

from alm_prompt.errors import AlmPromptError
from alm_prompt.evaluation.report import Score, markdown_report, markdown_table, summarise


def row(method: str, seed: int, fold: str | None, scores: tuple[float, float, float, float]) -> dict[str, Any]:
    base, novel, base_g, novel_g = scores
    return {
        "method": method,
        "seed": seed,
        "fold": fold,
        "base": base,
        "novel": novel,
        "base_g": base_g,
        "novel_g": novel_g,
        "novel_to_base": 1 - novel_g,
        "trainable_parameters": 8192,
        "seconds": 2.0,
        "shots": 16,
        "base_classes": ["a", "b"],
        "novel_classes": ["c"],
        "encoder_mode": "frozen",
        "template": "This is a sound of {}.",
        "logit_scale": 100.0,
        "split_hash": "0123456789abcdef",
    }


ROWS = [
    row("coop", 0, "1", (0.9, 0.4, 0.8, 0.2)),
    row("coop", 0, "2", (0.7, 0.6, 0.6, 0.5)),
    row("coop", 1, "1", (0.8, 0.2, 0.7, 0.1)),
    row("coop", 1, "2", (0.6, 0.8, 0.5, 0.6)),
]


def h(base: float, novel: float) -> float:
    return 2 * base * novel / (base + novel)


def test_reduction_is_over_folds_then_over_seeds() -> None:
    [summary] = summarise(ROWS)
    assert summary.separate.base.mean == pytest.approx(fmean([0.8, 0.7]))
    assert summary.separate.base.deviation == pytest.approx(stdev([0.8, 0.7]))
    assert summary.generalised.novel.mean == pytest.approx(fmean([0.35, 0.35]))
    assert summary.generalised.novel.deviation == pytest.approx(0)
    assert summary.novel_to_base.mean == pytest.approx(0.65)
    assert (summary.seeds, summary.folds, summary.trainable_parameters) == (2, 2, 8192)


def test_the_two_reductions_of_h_are_kept_apart() -> None:
    separate = summarise(ROWS)[0].separate
    per_seed = [fmean([h(0.9, 0.4), h(0.7, 0.6)]), fmean([h(0.8, 0.2), h(0.6, 0.8)])]
    assert separate.mean_of_h.mean == pytest.approx(fmean(per_seed))
    assert separate.mean_of_h.deviation == pytest.approx(stdev(per_seed))
    assert separate.h_of_means.mean == pytest.approx(h(separate.base.mean, separate.novel.mean))
    assert separate.h_of_means.deviation == pytest.approx(stdev([h(0.8, 0.5), h(0.7, 0.5)]))


def test_methods_keep_their_order() -> None:
    rows = [row("zero-shot", 0, None, (0.5, 0.5, 0.4, 0.4)), row("coop", 0, None, (0.9, 0.3, 0.9, 0.1))]
    assert [summary.method for summary in summarise(rows)] == ["zero-shot", "coop"]


def test_score_prints_percent_and_no_deviation_of_one_seed() -> None:
    assert str(Score(0.9166, 0.0123)) == "91.7 ± 1.2"
    assert str(Score(0.5)) == "50.0"


def test_table_holds_both_forms_in_one_row() -> None:
    header, rule, line = markdown_table(summarise(ROWS)).splitlines()
    columns = [cell.strip() for cell in header.strip("|").split("|")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    table = dict(zip(columns, cells, strict=True))
    assert set(rule) <= set("|-: ")
    assert table["method"] == "coop"
    assert table["base"] == "75.0 ± 7.1"
    assert table["novel (g)"] == "35.0 ± 0.0"
    assert table["H of means"].startswith("60.0")
    assert table["novel to base (g)"] == "65.0 ± 0.0"
    assert table["learned"] == "8,192"


def test_report_names_all_that_is_needed_to_repeat_it() -> None:
    page = markdown_report(ROWS, "esc10")
    assert page.startswith("# esc10\n")
    for fact in ("Shots 16", "seeds 0, 1", "folds 1, 2", "frozen", "This is a sound of {}.", "100.00", "0123456789ab"):
        assert fact in page


def test_no_rows_and_unequal_folds_are_refused() -> None:
    with pytest.raises(AlmPromptError, match="no benchmark rows"):
        summarise([])
    with pytest.raises(AlmPromptError, match="different folds"):
        summarise(ROWS[:3])
