"""The published per-dataset figures, reduced by our code, give the averages that the papers print."""

from __future__ import annotations

import shlex
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from alm_prompt.evaluation.published import find_published, published_tables
from alm_prompt.evaluation.report import MethodSummary, summarise

# In percent; SEPT (arXiv 2601.20867), last row of Table 1 and of Table 8.
SEPT_AVERAGES = {
    "zero-shot": (40.68, 38.21, 38.46),
    "coop": (65.00, 34.09, 42.83),
    "coop+sept": (64.36, 42.98, 49.70),
    "cocoop": (69.13, 36.83, 46.26),
    "cocoop+sept": (68.63, 42.59, 50.65),
    "kgcoop": (37.99, 37.42, 36.39),
    "kgcoop+sept": (58.92, 45.28, 49.79),
    "coop+dept": (63.86, 39.91, 46.79),
    "coop+dept+sept": (64.57, 41.63, 49.06),
}
SEPT_TABLE_8 = {
    "kgcoop-100-templates": (59.02, 38.76, 44.76),
    "kgcoop-100-templates+sept": (58.34, 40.52, 46.31),
}
# ZEBRA (arXiv 2606.31587): mean base and novel of the logs, then both reductions of H.
ZEBRA_AVERAGES = {
    "zero-shot": (53.53, 55.18, 54.34, 52.62),
    "coop": (79.83, 48.05, 59.99, 58.99),
    "coop+zebra": (80.18, 59.38, 68.23, 67.00),
    "cocoop": (82.06, 50.44, 62.48, 60.28),
    "cocoop+zebra": (81.75, 59.50, 68.87, 67.58),
}
BASE_TO_NEW = ("base", "novel", "mean_of_h")


def summaries(name: str) -> dict[str, MethodSummary]:
    return {summary.method: summary for summary in summarise(published_tables()[name].rows)}


def percent(summary: MethodSummary, *names: str) -> tuple[float, ...]:
    return tuple(100 * summary.figures[name].mean for name in names)


@pytest.mark.parametrize(
    ("method", "average", "seeds"),
    [
        ("zero-shot", 0.3969, (0.3969,)),
        ("coop", 0.7114, (0.7146, 0.7121, 0.7074)),
        ("cocoop", 0.7347, (0.7276, 0.7396, 0.7369)),
        ("palm", 0.7658, (0.7759, 0.7621, 0.7595)),
    ],
)
def test_palm_logs_give_the_averages(method: str, average: float, seeds: tuple[float, ...]) -> None:
    rows = published_tables()["palm-few-shot"].rows
    summary = summaries("palm-few-shot")[method]
    assert (summary.datasets, summary.seeds) == (11, len(seeds))
    assert summary.figures["accuracy"].mean == pytest.approx(average, abs=6e-5)
    for seed, expected in enumerate(seeds):
        of_seed = [row["accuracy"] for row in rows if (row["method"], row["seed"]) == (method, seed)]
        assert fmean(of_seed) == pytest.approx(expected, abs=6e-5)


def test_palm_margins_and_deviation() -> None:
    figures = {method: summary.figures["accuracy"] for method, summary in summaries("palm-few-shot").items()}
    assert figures["palm"].mean - figures["coop"].mean == pytest.approx(0.0544, abs=1e-4)
    assert figures["palm"].mean - figures["cocoop"].mean == pytest.approx(0.0311, abs=1e-4)
    [crema] = [
        summary
        for summary in summarise(
            [row for row in published_tables()["palm-few-shot"].rows if row["dataset"] == "CREMA-D"]
        )
        if summary.method == "palm"
    ]
    assert crema.figures["accuracy"].deviation == pytest.approx(0.106, abs=5e-4)


def test_palm_folds_reduce_to_the_data_sets() -> None:
    """Two transcriptions of the same runs agree: per fold, and per seed."""
    folds = published_tables()["palm-folds"].rows
    seeds = published_tables()["palm-few-shot"].rows
    for dataset in {row["dataset"] for row in folds}:
        by_fold = {
            s.method: s.figures["accuracy"].mean for s in summarise([r for r in folds if r["dataset"] == dataset])
        }
        by_seed = {
            s.method: s.figures["accuracy"].mean for s in summarise([r for r in seeds if r["dataset"] == dataset])
        }
        assert by_fold == pytest.approx(by_seed, abs=1.1e-4)


@pytest.mark.parametrize(
    ("table", "averages"), [("sept-base-to-new", SEPT_AVERAGES), ("sept-kgcoop-100-templates", SEPT_TABLE_8)]
)
def test_sept_tables_give_the_averages(table: str, averages: dict[str, tuple[float, ...]]) -> None:
    measured = summaries(table)
    assert measured.keys() == averages.keys()
    for method, expected in averages.items():
        assert measured[method].datasets == 11
        assert percent(measured[method], *BASE_TO_NEW) == pytest.approx(expected, abs=0.02)


def test_sept_differences_and_the_other_reduction() -> None:
    coop, sept = (summaries("sept-base-to-new")[name] for name in ("coop", "coop+sept"))
    gains = [b - a for a, b in zip(percent(coop, *BASE_TO_NEW), percent(sept, *BASE_TO_NEW), strict=True)]
    assert gains == pytest.approx([-0.64, 8.89, 6.87], abs=0.02)
    assert percent(coop, "h_of_means") == pytest.approx((44.72,), abs=0.02)


def test_zebra_logs_give_both_reductions() -> None:
    measured = summaries("zebra-base-to-novel")
    assert measured.keys() == ZEBRA_AVERAGES.keys()
    for method, expected in ZEBRA_AVERAGES.items():
        assert percent(measured[method], "base", "novel", "h_of_means", "mean_of_h") == pytest.approx(
            expected, abs=0.01
        )


def test_zebra_harmonic_means_follow_from_base_and_novel() -> None:
    for row in published_tables()["zebra-base-to-novel"].rows:
        by_hand = 2 * row["base"] * row["novel"] / (row["base"] + row["novel"])
        assert row["h"] == pytest.approx(by_hand, abs=6e-5)


def test_test_time_adaptation_gives_the_averages() -> None:
    figures = [percent(summary, "accuracy")[0] for summary in summaries("tta").values()]
    assert figures == pytest.approx([62.93, 64.94, 65.92], abs=0.01)  # 62.938 is printed as 62.93


def test_averages_of_one_paper_agree_between_its_tables() -> None:
    def average(table: str, **wanted: Any) -> tuple[float, ...]:
        rows = [row for row in published_tables()[table].rows if all(row[key] == wanted[key] for key in wanted)]
        [summary] = summarise(rows)
        return percent(summary, *BASE_TO_NEW)

    for method, expected in SEPT_AVERAGES.items():
        if method != "zero-shot":
            assert average("sept-shots", method=method, shots=16) == pytest.approx(expected)
    best = SEPT_AVERAGES["coop+sept"]
    assert average("sept-neighbour-sources", method="coop+sept (ChatGPT-4o)") == pytest.approx(best)
    assert average("sept-margin-templates", method="coop+sept") == pytest.approx(best)
    # Table 3 mixes the base and new accuracy of Table 12 with the H of Table 1.
    assert average("sept-ablation", method="coop+sept") == pytest.approx((64.37, 42.93, 49.70))
    assert average("sept-filtered-neighbours") == pytest.approx((64.37, 42.93, 49.64))


def test_single_cells_stand_where_the_papers_have_them() -> None:
    [cross] = [
        row
        for row in published_tables()["sept-cross-dataset"].rows
        if (row["dataset"], row["method"]) == ("RAVDESS", "coop+dept+sept")
    ]
    assert (cross["target_dataset"], cross["source"], cross["target"]) == ("CREMA-D", 0.2783, 0.2707)
    cost = {row["method"]: row for row in published_tables()["sept-cost"].rows}
    assert (cost["cocoop"]["trainable_parameters"], cost["coop+sept"]["seconds"]) == (107_072, 170.7)
    ablation = {row["method"]: row["accuracy"] for row in published_tables()["palm-ablation"].rows}
    assert (ablation["palm"], ablation["linear_probe"]) == (0.7658, 0.7299)
    templates = {(row["method"], row["dataset"]): row["accuracy"] for row in published_tables()["palm-templates"].rows}
    assert templates["This audio file contains a recording of{}", "VocalSound"] == 0.4327
    assert len(published_tables()["palm-bare-class-names"].rows) == 11


def test_a_protocol_finds_its_table_inside_its_track() -> None:
    one, eight = find_published("sept", "sept-base-to-new")
    assert (one.citation, eight.source) == ("SEPT (arXiv 2601.20867), Table 1", "Table 8")
    assert [table.name for table in find_published("sept", "sept-ablation")] == [
        "sept-ablation",
        "sept-margin-templates",
    ]
    assert find_published("zebra", "sept-base-to-new") == []


def test_the_docs_name_sources_of_neighbours_as_the_paper_does() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "benchmarks.md"
    [command] = [line for line in page.read_text(encoding="utf-8").splitlines() if " benchmark llm " in line]
    named = [word.partition("=")[0] for word in shlex.split(command) if "=" in word]
    [table] = find_published("sept", "llm")
    assert named
    assert {f"coop+sept ({name})" for name in named} <= {row["method"] for row in table.rows}
