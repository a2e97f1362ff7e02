"""Reduction of rows and what a report says about them: folds first, then data sets, then seeds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from statistics import fmean, stdev
from typing import Any

import pytest
from peft import PeftConfig

from alm_prompt import CoOpPromptConfig, ZebraPromptConfig
from alm_prompt.errors import AlmPromptError
from alm_prompt.evaluation.report import (
    Report,
    Score,
    build_report,
    compare,
    markdown_report,
    markdown_table,
    summarise,
)
from alm_prompt.evaluation.statistics import bootstrap_interval

Rows = list[dict[str, Any]]
MakeRow = Callable[..., dict[str, Any]]


def h(base: float, novel: float) -> float:
    return 2 * base * novel / (base + novel)


def cells(report: Report, section: int, table: int) -> list[dict[str, str]]:
    shown = report.sections[section].tables[table]
    names = [column.name for column in shown.columns]
    return [dict(zip(names, (cell.text for cell in row), strict=True)) for row in shown.rows]


def line(lines: Sequence[dict[str, str]], **wanted: str) -> dict[str, str]:
    [found] = [one for one in lines if all(one[key] == value for key, value in wanted.items())]
    return found


def test_reduction_is_over_folds_then_over_seeds(base_to_novel_rows: Rows) -> None:
    summary = summarise(base_to_novel_rows)[1]
    assert (summary.method, summary.datasets, summary.seeds, summary.runs) == ("coop", 1, 2, 4)
    assert summary.figures["base"].mean == pytest.approx(fmean([0.8, 0.7]))
    assert summary.figures["base"].deviation == pytest.approx(stdev([0.8, 0.7]))
    assert summary.figures["novel_g"].mean == pytest.approx(0.25)
    assert summary.figures["novel_g"].deviation == pytest.approx(0)


def test_both_reductions_of_h(base_to_novel_rows: Rows) -> None:
    coop = summarise(base_to_novel_rows)[1].figures
    by_seed = [fmean([h(0.9, 0.4), h(0.7, 0.6)]), fmean([h(0.8, 0.2), h(0.6, 0.8)])]
    assert coop["mean_of_h"].mean == pytest.approx(fmean(by_seed))
    assert coop["mean_of_h"].deviation == pytest.approx(stdev(by_seed))
    assert coop["h_of_means"].mean == pytest.approx(h(0.75, 0.5))
    assert coop["h_of_means"].deviation == pytest.approx(stdev([h(0.8, 0.5), h(0.7, 0.5)]))


def test_every_data_set_counts_the_same_whatever_its_folds(make_row: MakeRow) -> None:
    gains = [("ESC50", "1", 0.1), ("ESC50", "2", 0.1), ("ESC50", "3", 0.1), ("SESA", None, -0.08)]
    rows = [
        make_row(method, 0, fold, dataset=dataset, accuracy=0.5 + gain * learned)
        for method, learned in (("zero-shot", 0), ("palm", 1))
        for dataset, fold, gain in gains
    ]
    assert summarise(rows)[1].figures["accuracy"] == Score(pytest.approx(0.5 + (0.1 - 0.08) / 2))
    weighted = [0.1 / 3, 0.1 / 3, 0.1 / 3, -0.08]
    extreme = 0
    for signs in itertools.product((1, -1), repeat=4):
        extreme += abs(sum(s * w for s, w in zip(signs, weighted, strict=True))) >= abs(sum(weighted)) - 1e-12
    found = compare(rows, "zero-shot")[1]
    assert (found.method, found.difference) == ("palm", pytest.approx(0.01))
    # Unweighted, the three folds of ESC50 would make it 0.25.
    assert found.p == extreme / 16 == 1
    assert found.interval == bootstrap_interval([0.6, 0.6, 0.6, 0.42], [1 / 3, 1 / 3, 1 / 3, 1])


def test_comparison_against_a_hand_loop(base_to_novel_rows: Rows) -> None:
    [found] = [c for c in compare(base_to_novel_rows, "zero-shot") if (c.figure.name, c.method) == ("base", "coop")]
    differences = [0.9 - 0.5, 0.7 - 0.7, 0.8 - 0.5, 0.6 - 0.7]
    extreme = 0
    for signs in itertools.product((1, -1), repeat=4):
        extreme += abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= abs(sum(differences)) - 1e-12
    assert found.difference == pytest.approx(fmean(differences))
    assert (found.p, found.pairs) == (pytest.approx(extreme / 16), 4)
    low, high = found.interval
    assert 0.6 <= low < 0.75 < high <= 0.9
    [own] = [c for c in compare(base_to_novel_rows, "zero-shot") if (c.figure.name, c.method) == ("base", "zero-shot")]
    assert (own.difference, own.p) == (None, None)


def test_one_seed_of_zero_shot_stands_for_all(base_to_novel_rows: Rows) -> None:
    fewer = [row for row in base_to_novel_rows if row["method"] != "zero-shot" or row["seed"] == 0]
    assert [(c.difference, c.p, c.pairs) for c in compare(fewer, "zero-shot")] == [
        (c.difference, c.p, c.pairs) for c in compare(base_to_novel_rows, "zero-shot")
    ]


def test_a_run_that_is_the_same_with_every_seed_counts_once(make_row: MakeRow) -> None:
    """Two zero-shot lines, three seeds, four folds: four runs each, not twelve that would look three times as sure."""
    rows = [
        make_row(method, seed, str(fold), base=base + 0.1 * fold, novel=0.5, trainable_parameters=0)
        for method, base in (("zero-shot", 0.5), ("bare names", 0.45))
        for seed in (0, 1, 2)
        for fold in range(4)
    ]
    zero_shot, bare = (c for c in compare(rows, "zero-shot") if c.figure.name == "base")
    assert zero_shot.interval == bootstrap_interval([0.5, 0.6, 0.7, 0.8], [1 / 4] * 4)
    assert (bare.pairs, bare.p) == (4, 2 / 2**4)


def test_a_learning_method_is_paired_seed_by_seed(base_to_novel_rows: Rows) -> None:
    fewer = [row for row in base_to_novel_rows if row["method"] != "coop" or row["seed"] == 0]
    pairs = {c.method: c.pairs for c in compare(fewer, "coop")}
    assert pairs == {"zero-shot": 2, "coop": 0, "coop+sept": 2}


def test_wins_and_losses_have_sign_symbol_and_word(base_to_novel_rows: Rows) -> None:
    lines = cells(build_report(base_to_novel_rows, "page"), 0, 1)
    assert line(lines, figure="base", method="coop")["against zero-shot"] == "▲ +15.0 better"
    assert line(lines, figure="novel", method="coop")["against zero-shot"] == "▼ \N{MINUS SIGN}10.0 worse"
    assert line(lines, figure="novel", method="coop+sept")["against zero-shot"] == "= 0.0 equal"


def test_fewer_novel_clips_given_to_base_classes_are_better(base_to_novel_rows: Rows) -> None:
    rows = [row | {"novel_to_base": 0.1} if row["method"] == "coop" else row for row in base_to_novel_rows]
    told = line(cells(build_report(rows, "page"), 0, 1), figure="novel to base (g)", method="coop")[
        "against zero-shot"
    ]
    assert told == "▲ \N{MINUS SIGN}20.0 better"


def test_published_figures_of_the_same_data_stand_beside_ours(base_to_novel_rows: Rows) -> None:
    report = build_report(base_to_novel_rows, "page")
    sept = line(cells(report, 0, 1), figure="mean of H", method="coop+sept")
    # SEPT, Table 1, ESC50: zero-shot 14.33, CoOp+SEPT 24.70.
    assert (sept["published"], sept["published difference"]) == ("24.7", "▲ +10.4 better")
    assert "SEPT (arXiv 2601.20867), Table 1" in report.sections[0].tables[1].captions[0]


def test_other_data_stands_beside_the_published_mean_with_a_warning(base_to_novel_rows: Rows) -> None:
    report = build_report([row | {"dataset": "my-sounds"} for row in base_to_novel_rows], "page")
    assert line(cells(report, 0, 1), figure="mean of H", method="coop+sept")["published"] == "49.7"
    assert "mean of 11 data sets; not only the data above" in report.sections[0].tables[1].captions[0]


def test_a_method_is_looked_up_in_every_table_of_its_protocol(make_row: MakeRow) -> None:
    rows = [
        make_row(method, protocol="sept-ablation", base=0.8, novel=0.4)
        for method in ("zero-shot", "coop", "coop+sept", "coop+sept-one-template")
    ]
    lines = cells(build_report(rows, "page"), 0, 1)
    printed = {one["method"]: one["published"] for one in lines if one["figure"] == "base"}
    # Table 3 has CoOp and SEPT, Table 7 the other two and SEPT again, by 0.01 different.
    assert printed == {"zero-shot": "40.7", "coop": "65.0", "coop+sept": "64.4", "coop+sept-one-template": "63.4"}


def test_each_figure_is_looked_up_in_the_table_that_has_it(make_row: MakeRow) -> None:
    rows = [
        make_row(method, track="palm", protocol="palm-few-shot", accuracy=0.8, macro_f1=0.7)
        for method in ("zero-shot", "coop", "palm")
    ]
    report = build_report(rows, "page")
    lines = cells(report, 0, 1)
    # PALM's logs: accuracy on ESC50, and macro F1 as the mean over the 11 data sets only.
    assert line(lines, figure="accuracy", method="palm")["published"].startswith("95.9 ± ")
    f1 = line(lines, figure="macro F1", method="palm")
    assert (f1["published"], f1["published difference"]) == ("76.0", "▲ +42.0 better")
    logs, mean = report.sections[0].tables[1].captions[:2]
    assert logs == "Published: PALM (arXiv 2409.19806), released logs (Table 2)."
    assert mean.startswith("Published: PALM (arXiv 2409.19806), released logs, mean of the 11 data sets; not only the")


def test_published_figures_of_different_data_make_no_difference(make_row: MakeRow) -> None:
    """PALM prints bare class names per data set, and its other lines as a mean over eleven."""
    rows = [
        make_row(method, track="palm", protocol="palm-ablation", accuracy=accuracy, macro_f1=accuracy)
        for method, accuracy in (("{}", 0.4), ("palm", 0.8))
    ]
    report = build_report(rows, "page", reference="{}")
    [palm] = [one for one in cells(report, 0, 1) if one["method"] == "palm" and one["figure"] == "accuracy"]
    assert (palm["published"], palm["against {}"]) == ("76.6", "▲ +40.0 better")
    assert "published difference" not in palm


def test_nothing_published_leaves_the_columns_out(base_to_novel_rows: Rows) -> None:
    own = [row | {"track": "own", "protocol": "mine"} for row in base_to_novel_rows]
    assert "published" not in cells(build_report(own, "page"), 0, 1)[0]


def test_sections_by_protocol_and_shots_scopes_by_data_set(make_row: MakeRow) -> None:
    rows = [
        make_row(method, dataset=dataset, shots=shots, protocol="shots", base=0.8, novel=novel)
        for shots in (2, 16)
        for dataset in ("ESC50", "SESA")
        for method, novel in (("coop", 0.4), ("coop+sept", 0.5))
    ]
    rows.append(make_row("palm", track="palm", protocol="palm-few-shot", accuracy=0.9, macro_f1=0.8))
    rows.append(
        make_row("coop", dataset="RAVDESS", target_dataset="CREMA-D", protocol="cross-dataset", source=0.4, target=0.2)
    )
    report = build_report(rows, "page")
    assert [section.title.split(" ")[:2] for section in report.sections] == [
        ["shots,", "2"],
        ["shots,", "16"],
        ["palm-few-shot,", "16"],
        ["cross-dataset,", "16"],
    ]
    titles = [table.title for table in report.sections[0].tables]
    assert [title.partition(":")[0] for title in titles[::2]] == ["Mean of 2 data sets", "ESC50", "SESA"]
    assert report.sections[3].tables[0].title.startswith("RAVDESS → CREMA-D")
    assert cells(report, 2, 0)[0]["macro F1"] == "80.0"
    # SEPT, Table 6, CoOp at 2 shots; the table has no zero-shot, so there is no published difference.
    assert line(cells(report, 0, 1), figure="mean of H", method="coop")["published"] == "37.7"


def test_without_zero_shot_the_first_method_is_the_reference(make_row: MakeRow) -> None:
    """As in PALM's figure on templates, which begins with bare class names."""
    sentence = "This is an audio clip of {}"
    rows = [
        make_row(method, 0, fold, track="palm", protocol="templates", accuracy=accuracy, macro_f1=accuracy)
        for method, accuracy in (("{}", 0.4), (sentence, 0.5))
        for fold in ("1", "2")
    ]
    # In whatever order several processes have finished them.
    for order in (rows[::-1], rows):
        [section] = build_report(order, "page").sections
        assert section.tables[1].title == "ESC50: compared with {}"
    assert section.tables[1].captions[-1].endswith("; reference {}.")
    found = line(cells(build_report(rows, "page"), 0, 1), figure="accuracy", method=sentence)
    # PALM, Figure 2, ESC50: bare names .4330, this sentence .4721.
    assert (found["against {}"], found["p"], found["published difference"]) == (
        "▲ +10.0 better",
        "0.500",
        "▲ +3.9 better",
    )
    [section] = build_report(rows[:2], "page").sections
    assert section.tables[1].title == "ESC50: intervals"
    assert "reference" not in section.tables[1].captions[-1]


def test_settings_stand_under_every_table(base_to_novel_rows: Rows) -> None:
    for table in build_report(base_to_novel_rows, "page").sections[0].tables:
        settings = table.captions[-1]
        for fact in (
            "track sept", "shots 16", "seeds 0, 1", "folds 1, 2", "encoders frozen", "'This is a sound of {}.'",
            "logit scale 100.00", "class rule alphabetical-halves", "shot rule hashed", "learning_rate 0.0125",
            "2 base, 1 novel", "(of 4)", "(of 12)",
        ):  # fmt: skip
            assert fact in settings


def test_settings_that_differ_name_the_methods(base_to_novel_rows: Rows) -> None:
    rows = [row | {"encoder_mode": "reference"} if row["method"] == "coop" else row for row in base_to_novel_rows]
    assert "encoders frozen (zero-shot, coop+sept), reference (coop)" in markdown_report(rows, "page")


def test_incomplete_seeds_are_left_out_and_named(base_to_novel_rows: Rows) -> None:
    report = build_report(base_to_novel_rows[:-1], "page")
    lines = cells(report, 0, 0)
    assert line(lines, method="coop+sept")["base"] == "80.0"
    assert line(lines, method="coop")["base"] == "75.0 ± 7.1"
    assert "coop+sept, seed 1: 1 of 2 runs" in report.sections[0].tables[0].captions[0]


def test_settings_are_those_of_the_runs_in_the_table(base_to_novel_rows: Rows, make_row: MakeRow) -> None:
    begun = make_row("coop", 7, "2", base=0.5, novel=0.5, base_g=0.5, novel_g=0.5, novel_to_base=0.3)
    for with_it, without in zip(
        *(
            build_report(rows, "page").sections[0].tables
            for rows in ([*base_to_novel_rows, begun], base_to_novel_rows)
        ),
        strict=True,
    ):
        assert with_it.settings == without.settings
        assert with_it.captions[0] == "Left out because incomplete: coop, seed 7: 1 of 2 runs are there."
    [alone] = build_report([base_to_novel_rows[0], base_to_novel_rows[-1] | {"seed": 3}], "page").sections[0].tables
    assert (alone.rows, alone.settings) == ((), {})


def test_failed_runs_are_listed(base_to_novel_rows: Rows, make_row: MakeRow) -> None:
    failed = {key: value for key, value in make_row("palm", 2, "1").items() if key != "base"} | {"error": "no memory"}
    report = build_report([*base_to_novel_rows, failed], "page")
    assert cells(report, -1, 0) == [
        {"protocol": "sept-base-to-new", "run": "ESC50, palm, 16 shots, seed 2, fold 1", "error": "no memory"}
    ]


def test_tables_of_the_benchmark(base_to_novel_rows: Rows) -> None:
    header, rule, *lines = markdown_table(summarise(base_to_novel_rows)).splitlines()
    columns = [cell.strip() for cell in header.strip("|").split("|")]
    table = dict(zip(columns, (cell.strip() for cell in lines[1].strip("|").split("|")), strict=True))
    assert set(rule) <= set("|-: ")
    assert (table["method"], table["learned"], table["base"]) == ("coop", "8,192", "75.0 ± 7.1")
    assert (table["novel (g)"], table["novel to base (g)"]) == ("25.0 ± 0.0", "30.0 ± 0.0")
    assert table["H of means"].startswith("60.0")
    assert markdown_report(base_to_novel_rows, "my page").startswith("# my page\n")


def test_rows_of_earlier_versions_are_read_as_the_own_protocol(base_to_novel_rows: Rows) -> None:
    new = (
        "format",
        "track",
        "protocol",
        "dataset",
        "target_dataset",
        "class_rule",
        "shot_rule",
        "training",
        "described",
    )
    old = [{key: value for key, value in row.items() if key not in new} for row in base_to_novel_rows]
    page = markdown_report(old, "page")
    assert "## 16 shots per class (track own)" in page
    assert "class rule not recorded" in page
    how = ("encoder_mode", "template", "logit_scale")
    page = markdown_report([{key: value for key, value in row.items() if key not in how} for row in old], "page")
    assert "encoders not recorded; class text not recorded; logit scale not recorded" in page


def test_two_tracks_make_no_difference(base_to_novel_rows: Rows) -> None:
    other = [row | {"track": "zebra"} for row in base_to_novel_rows if row["method"] == "coop"]
    mine = [row for row in base_to_novel_rows if row["method"] != "coop"]
    for refused in (compare, summarise, lambda rows: compare(mine, "zero-shot", published=other)):
        with pytest.raises(AlmPromptError, match=r"over two tracks: sept \(coop\+sept\), zebra \(coop\)"):
            refused([*mine, *other])
    with pytest.raises(AlmPromptError, match="'coop' was run in track zebra, not in track sept"):
        build_report([*mine, *other], "page", reference="coop")
    assert len(build_report([*mine, *other], "page").sections) == 2


def test_two_models_make_no_difference(base_to_novel_rows: Rows) -> None:
    a, b = {"model": "a", "model_hash": "12" * 32}, {"model": "b", "model_hash": "34"}
    rows = [row | (a if row["method"] == "coop" else b) for row in base_to_novel_rows]
    for refused in (compare, summarise):
        with pytest.raises(AlmPromptError, match=r"two models: b \(34\) \(coop\+sept\), a \(121212121212\) \(coop\)"):
            refused(rows)
    titles = [section.title for section in build_report(rows, "page").sections]
    assert [title.partition(", model ")[2] for title in titles] == ["b (34))", "a (121212121212))"]
    page = markdown_report([row for row in rows if row["method"] == "coop"], "page")
    assert "; model a (121212121212); " in page


def as_recorded(config: PeftConfig) -> dict[str, Any]:
    """A config as rows of a file have it."""
    return json.loads(json.dumps(config.to_dict()))


def coop_config(**options: Any) -> dict[str, Any]:
    return as_recorded(CoOpPromptConfig(**options))


def test_method_options_stand_under_every_table(make_row: MakeRow) -> None:
    neighbors = {name: [f"{name} again"] for name in "ab"}
    configs = {
        "zero-shot": None,
        "coop": coop_config(),
        "short": coop_config(n_ctx=2, ctx_init="a sound of"),
        "coop+zebra": as_recorded(ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=4), alpha=0.25)),
        "told": {"peft_type": "ALM_ELSEWHERE", "weight": 2, "peft_version": "1", "neighbors": neighbors},
    }
    rows = [make_row(method, base=0.8, novel=0.4, config=config) for method, config in configs.items()]
    expected = (
        "; method options defaults (zero-shot, coop), coop.ctx_init='a sound of' coop.n_ctx=2 (short), "
        "coop.n_ctx=4 zebra.alpha=0.25 (coop+zebra), elsewhere.neighbors=own ("
    )
    report = build_report(rows, "page")
    for table in report.sections[0].tables:
        assert expected in table.captions[-1]
    rows[-1] = rows[-1] | {"config": configs["told"] | {"neighbors": {"a": ["x"], "b": ["y"]}}}
    told = [found.sections[0].tables[0].settings["method options"] for found in (report, build_report(rows, "page"))]
    assert told[0] != told[1]


def test_classes_with_fewer_clips_than_shots_are_told(make_row: MakeRow) -> None:
    rows = [
        make_row(method, seed, base=0.8, novel=0.4, train_clips=clips)
        for seed, clips in ((0, 19), (1, 17))
        for method in ("zero-shot", "coop")
    ]
    [section] = build_report(rows, "page").sections
    assert section.title == "sept-base-to-new, up to 16 shots per class (track sept)"
    for table in section.tables:
        assert "; shots 16, fewer where a class has fewer: 17 to 19 training clips; " in table.captions[-1]
    [section] = build_report([row | {"train_clips": 32} for row in rows], "page").sections
    assert section.title == "sept-base-to-new, 16 shots per class (track sept)"
    assert "; shots 16; " in section.tables[0].captions[-1]


def test_there_are_no_shots_where_nothing_is_trained(make_row: MakeRow) -> None:
    palm = {"track": "palm", "protocol": "templates", "accuracy": 0.8, "macro_f1": 0.8}
    tta = {"track": "tta", "protocol": "tta", "accuracy": 0.8, "macro_f1": 0.8, "measure": "test-time"}
    rows = [make_row("{}", trainable_parameters=0, **palm), make_row("tta-one-clip", **tta)]
    report = build_report(rows, "page")
    assert [section.title for section in report.sections] == ["templates (track palm)", "tta (track tta)"]
    for section in report.sections:
        assert all("; shots none, nothing is trained; " in table.captions[-1] for table in section.tables)


def test_method_options_of_earlier_versions_are_not_recorded(base_to_novel_rows: Rows) -> None:
    assert "; method options not recorded; " in markdown_report(base_to_novel_rows, "page")


def test_runs_with_different_settings_make_no_mean(make_row: MakeRow) -> None:
    first = make_row("coop", 0, base=0.8, novel=0.4, config=coop_config(), descriptions_hash="12")
    for different, told in (
        ({"config": coop_config(n_ctx=2)}, "coop.n_ctx 2, but ESC50, coop, 16 shots, seed 0 with its default"),
        ({"training": {"learning_rate": 0.5}}, r"learning_rate 0\.5, but .* with 0\.0125"),
        ({"template": "{}"}, r"template '\{\}', but .* with 'This is a sound of \{\}\.'"),
        ({"encoder_mode": "reference"}, "encoder_mode 'reference', but .* with 'frozen'"),
        ({"described": True}, "described True"),
        ({"descriptions_hash": "34"}, "descriptions_hash '34', but .* with '12'"),
        ({"shot_rule": "pandas"}, "shot_rule 'pandas'"),
        ({"class_rule": "seed-42-halves"}, "class_rule 'seed-42-halves'"),
        ({"novel_classes": ["d"]}, "novel_classes"),
    ):
        second = make_row("coop", 1, base=0.7, novel=0.5, **({"config": coop_config()} | different))
        for refused in (summarise, lambda rows: build_report(rows, "page")):
            with pytest.raises(AlmPromptError, match=f"^ESC50, coop, 16 shots, seed 1: was run with {told}"):
                refused([first, second])
        other_data = second | {"dataset": "SESA", "seed": 0}
        assert summarise([first, other_data])[0].datasets == 2


def test_rows_of_two_versions_make_one_mean(make_row: MakeRow) -> None:
    new = coop_config() | {"peft_version": "99", "later_option": 1}
    old = {key: value for key, value in coop_config().items() if key not in ("class_position", "descriptions")}
    first = make_row("coop", 0, base=0.8, novel=0.4, config=new)
    second = make_row("coop", 1, base=0.7, novel=0.5, config=old)
    del second["training"], second["described"], second["class_rule"]
    fixed = [make_row("zero-shot", seed, base=0.5, novel=0.5, config=None, training={"seed": seed}) for seed in (0, 1)]
    assert [summary.seeds for summary in summarise([first, second, *fixed])] == [2, 2]


def test_bad_rows_are_refused_in_one_line(base_to_novel_rows: Rows) -> None:
    with pytest.raises(AlmPromptError, match="no benchmark rows"):
        summarise([])
    with pytest.raises(AlmPromptError, match="no benchmark rows"):
        build_report([], "page")
    with pytest.raises(AlmPromptError, match="different folds"):
        summarise(base_to_novel_rows[:3])
    with pytest.raises(AlmPromptError, match=r"zero-shot, 16 shots, seed 0, fold 1: there are two rows"):
        build_report([*base_to_novel_rows, base_to_novel_rows[0]], "page")
    with pytest.raises(AlmPromptError, match=r"'nobody'; choose one of coop, coop\+sept, zero-shot"):
        build_report(base_to_novel_rows, "page", reference="nobody")
    moved = [row | {"split_hash": "other"} if row["method"] == "coop" else row for row in base_to_novel_rows]
    with pytest.raises(AlmPromptError, match=r"coop.*another split than zero-shot"):
        build_report(moved, "page")
