"""`alm-prompt benchmark`: every recipe end to end on stand-ins of the published data sets, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from alm_prompt.cli.main import main
from alm_prompt.data import CATALOG
from alm_prompt.evaluation import runner
from alm_prompt.evaluation.protocols import read_recipe, recipe_names
from alm_prompt.evaluation.rows import read_rows
from alm_prompt.training import view_features

FIGURES = {
    "all-classes": {"accuracy", "macro_f1"},
    "base-to-novel": {"base", "novel", "h", "base_g", "novel_g", "h_g", "novel_to_base"},
    "cross-dataset": {"source", "target"},
    "test-time": {"accuracy", "macro_f1"},
}
SMALL = ["--seeds", "0", "--shots", "2", "--epochs", "1"]
# Two methods of every recipe and what makes them quick.
QUICK = {
    "cross-dataset": ["coop", "cocoop"],
    "generalized": ["zero-shot", "palm+zebra"],
    "llm": ["coop", "coop+sept"],
    "palm-ablation": ["palm-context-only", "linear_probe"],
    "palm-few-shot": ["coop", "palm"],
    "reclap-prompts": ["template", "1 description"],
    "sept-ablation": ["coop", "coop+sept-one-template"],
    "sept-base-to-new": ["zero-shot", "coop+dept"],
    "shots": ["zero-shot", "coop"],
    "templates": ["{}", "This captures the sound of {}"],
    "tta": ["zero-shot", "tta-one-clip"],
    "zebra-base-to-novel": ["coop", "coop+zebra"],
}
OPTIONS = {
    "llm": ["--method-options", "sept.margin_templates=template"],
    "tta": ["--method-options", "tta.views=2"],
}


def small(recipe: str, root: Path, folder: Path, *more: str) -> list[str]:
    """A recipe in small: one small data set or pair, two methods, one seed, one fold, one epoch."""
    datasets = "SESA:Beijing-Opera" if recipe == "cross-dataset" else "Beijing-Opera"
    command = ["benchmark", recipe, "--data-root", str(root), "--datasets", datasets, "--output-dir", str(folder)]
    return [*command, "--folds", "1", *SMALL, "--methods", *QUICK[recipe], *OPTIONS.get(recipe, []), *more]


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_runs_from_data_to_table(name: str, standins: Path, tmp_path: Path, capfd) -> None:
    shots = ["--shots", "1", "2"] if name == "shots" else []
    assert main([*small(name, standins, tmp_path), *shots]) == 0
    recipe, rows = read_recipe(name), read_rows(tmp_path / "rows.jsonl")
    assert [row["method"] for row in rows] == QUICK[name] * (2 if shots else 1)
    assert not (tmp_path / "failed.jsonl").exists()
    for row in rows:
        assert (row["protocol"], row["track"], row["class_rule"]) == (name, recipe.track, recipe.class_rule)
        assert FIGURES[recipe.measure] <= row.keys()
        assert all(0 <= row[figure] <= 1 for figure in FIGURES[recipe.measure])
        assert bool(row["novel_classes"]) == (recipe.measure == "base-to-novel")
        assert (row["dataset"], row.get("target_dataset")) == (
            ("SESA", "Beijing-Opera") if name == "cross-dataset" else ("Beijing-Opera", None)
        )
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert ("shots per class" in table) == (name not in ("templates", "reclap-prompts", "tta"))
    printed = capfd.readouterr().out
    assert all(f"| {label} " in table and f"| {label} " in printed for label in QUICK[name])


def test_all_data_sets_are_trained_on_in_one_protocol(standins: Path, tmp_path: Path) -> None:
    """The published data sets, on the fixed pair of lists that every one of them has."""
    published = [name for name, known in CATALOG.items() if not known.exchanged_folds]
    some = ["--shots", "1", "--folds", "fixed", "--methods", "coop+zebra", "--datasets", *published]
    assert main([*small("zebra-base-to-novel", standins, tmp_path), *some]) == 0
    rows = read_rows(tmp_path / "rows.jsonl")
    assert [row["dataset"] for row in rows] == published
    assert all(row["fold"] is None and row["trainable_parameters"] > 0 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", recipe_names())
def test_every_data_set_runs_in_every_recipe(name: str, standins: Path, tmp_path: Path) -> None:
    """The second fold, where there are folds: the first whose lists are exchanged in `TUT2017-corrected`."""
    recipe, sets = read_recipe(name), list(CATALOG)
    if recipe.measure == "cross-dataset":
        others = [f"{source}:{target}" for source, target in zip(sets, sets[1:] + sets[:1], strict=True)]
        sets = list(dict.fromkeys([*recipe.datasets, *others]))
    some = ["--shots", "1", "--folds", "2", "--methods", QUICK[name][-1], "--datasets", *sets]
    assert main([*small(name, standins, tmp_path), *some]) == 0
    rows = read_rows(tmp_path / "rows.jsonl")
    assert [":".join(filter(None, (row["dataset"], row.get("target_dataset")))) for row in rows] == sets
    assert all(row["fold"] == ("2" if len(CATALOG[row["dataset"]].fold_names) > 1 else None) for row in rows)
    learned = any(line.stack != "zero-shot" for line in recipe.methods)
    assert all((row["trainable_parameters"] > 0) == learned for row in rows)
    assert not (tmp_path / "failed.jsonl").exists()


def test_official_settings_are_those_of_the_published_runs(standins: Path, tmp_path: Path) -> None:
    command = ["benchmark", "zebra-base-to-novel", "--official", "--data-root", str(standins), "--datasets", "SESA"]
    assert main([*command, "--bf16", "--methods", "zero-shot", "--output-dir", str(tmp_path)]) == 0
    [row] = read_rows(tmp_path / "rows.jsonl")
    assert (row["seed"], row["shot_rule"], row["fold"], row["shots"]) == (0, "pandas", None, 16)
    assert (row["base_classes"], row["novel_classes"]) == (["casual", "siren"], ["explosion", "gunshot"])
    assert row["training"] == {
        "num_train_epochs": 50,
        "learning_rate": 0.05,
        "per_device_train_batch_size": 16,
        "bf16": True,
    }


def test_the_same_command_goes_on_and_repeats_nothing(standins: Path, tmp_path: Path, capfd) -> None:
    command = small("palm-few-shot", standins, tmp_path)
    assert main([*command, "--methods", "zero-shot"]) == 0
    before = read_rows(tmp_path / "rows.jsonl")
    assert main([*command, "--methods", "zero-shot", "coop"]) == 0
    after = read_rows(tmp_path / "rows.jsonl")
    assert after[0] == before[0]
    assert [row["method"] for row in after] == ["zero-shot", "coop"]
    capfd.readouterr()
    assert main([*command, "--methods", "zero-shot", "coop", "palm", "--dry-run"]) == 0
    lines = {line.split()[0]: line.split()[1:] for line in capfd.readouterr().out.splitlines()[5:8]}
    assert {method: cells[:2] for method, cells in lines.items()} == {
        "zero-shot": ["1", "0"],
        "coop": ["1", "0"],
        "palm": ["1", "1"],
    }
    assert read_rows(tmp_path / "rows.jsonl") == after


def test_estimates_keep_nothing_where_nothing_is_to_be_kept(
    standins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    monkeypatch.setenv("ALM_PROMPT_CACHE", str(tmp_path / "cache"))
    assert main(small("sept-ablation", standins, tmp_path / "run", "--dry-run", "--no-cache")) == 0
    assert "coop+sept-one-template" in capfd.readouterr().out
    assert list(tmp_path.iterdir()) == []


def printed_by_two(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> list[str]:
    """What each of two processes prints that a launcher started, one after the other."""
    printed = []
    for rank in ("0", "1"):
        for variable, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"}.items():
            monkeypatch.setenv(variable, value)
        assert main(command) == 0
        printed.append(capfd.readouterr().out)
    return printed


def test_one_of_several_processes_prints_the_estimates(
    standins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    """All of them, and not those of its own share."""
    command = small("templates", standins, tmp_path / "run", "--dry-run", "--no-cache")
    printed = printed_by_two(command, monkeypatch, capfd)
    lines = [line.split() for line in printed[0].splitlines() if line.endswith("two epochs of one run")]
    assert [words[-8:-6] for words in lines] == [["1", "1"], ["1", "1"]]
    assert printed[1] == ""


def test_failed_runs_are_listed_and_tried_again(standins: Path, tmp_path: Path, capfd) -> None:
    prompts = small("reclap-prompts", standins, tmp_path)
    methods = ["--methods", "template", "3 descriptions"]
    assert main([*prompts, *methods]) == 0
    [failed] = read_rows(tmp_path / "failed.jsonl")
    assert "2 sentences, fewer than 3" in failed["error"]
    assert failed["error"] in capfd.readouterr().out
    assert main([*prompts, *methods, "--strict"]) == 2
    assert main([*prompts, "--methods", "3 descriptions"]) == 2
    texts = {name: [f"{name} {word}" for word in "abc"] for name in ("bangu", "daluo", "naobo", "xiaoluo")}
    (tmp_path / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    assert main([*prompts, *methods[:1], "3 descriptions", "--descriptions", str(tmp_path / "texts.json")]) == 0
    assert read_rows(tmp_path / "failed.jsonl") == []
    assert [row["method"] for row in read_rows(tmp_path / "rows.jsonl")] == ["template", "3 descriptions"]


def test_failures_that_another_process_tries_again_do_not_end_the_launch(
    standins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    """The first of two processes has nothing to do; if it ended in an error, the launcher would stop the second."""
    command = [*small("templates", standins, tmp_path), "--strict"]
    make, names = runner.train_and_measure, QUICK["templates"]

    def out_of_memory(run, *arguments):
        if run.label == names[1]:
            raise RuntimeError("out of memory")
        return make(run, *arguments)

    with monkeypatch.context() as faulty:
        faulty.setattr(runner, "train_and_measure", out_of_memory)
        assert main(command) == 2
    capfd.readouterr()
    printed = printed_by_two(command, monkeypatch, capfd)
    assert printed[0] == ""
    assert "2 runs finished, 0 failed" in printed[1]


def test_duplicates_are_refused_or_kept_and_counted(
    standins: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    """A test clip that is trained on, and one whose audio is trained on under another label."""
    data = shutil.copytree(standins / "SESA", tmp_path / "data" / "SESA")
    train, test, other = (
        (data / f"{side}.csv").read_text().splitlines()[line].split(",")[0]
        for side, line in (("train", 1), ("test", 1), ("test", 2))
    )
    shutil.copy(data / train, data / test)
    shutil.copy(data / train, data / other)
    few = ["benchmark", "palm-few-shot", "--data-root", data.parent, "--output-dir", tmp_path / "run", *SMALL]
    few += ["--shots", "3", "--methods", "zero-shot"]
    assert "under two labels: correct one, or remove one, or go on with --keep-duplicates" in refused(*few)
    assert main([*map(str, few), "--keep-duplicates"]) == 0
    [row] = read_rows(tmp_path / "run" / "rows.jsonl")
    assert (row["leaked_clips"], row["clashing_clips"]) == (2, 2)
    expected = "duplicates kept: up to 2 test clips of a run also in training, 2 of two labels"
    assert expected in (tmp_path / "run" / "table.md").read_text(encoding="utf-8")
    shutil.copy(standins / "SESA" / other, data / other)
    message = refused(*few[:5], tmp_path / "again", *few[6:])
    assert message.startswith(f"error: SESA: test clip {test!r} is the same audio as train clip")
    assert message.endswith("remove one, or go on with --keep-duplicates")
    assert not (tmp_path / "again").exists()


def test_data_that_is_not_whole_is_refused_where_that_is_asked_for(
    standins: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    command = small("palm-few-shot", standins, tmp_path / "run", "--check-data")
    assert "not Beijing-Opera as published: 8 test clips in fold 1 instead of 48" in refused(*command)


def test_ways_out_are_flags_that_benchmark_has(
    standins: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], refused: Callable[..., str]
) -> None:
    with pytest.raises(SystemExit):
        main(["benchmark", "--help"])
    known = set(re.findall(r"--[a-z0-9-]+", capfd.readouterr().out))
    mine = shutil.copytree(standins / "SESA", tmp_path / "mine")
    recipe = (
        "title: t\nsource: s\nmeasure: all-classes\nmethods: {zero-shot: }\ndatasets: [mine]\nallow_fewer: false\n"
    )
    (tmp_path / "own.yaml").write_text(recipe, encoding="utf-8")
    command = ["benchmark", tmp_path / "own.yaml", "--data-root", tmp_path, "--output-dir", tmp_path / "run"]
    table = mine / "train.csv"
    listed = table.read_text(encoding="utf-8")
    for spoiled, word in (
        (listed, "mine: class 'casual' has 3 clips, fewer than 16 shots: add clips, lower shots (--shots)"),
        (
            listed.replace("path,classname", "file,label"),
            f"{table} has no column path, classname (it has: file, label)",
        ),
        (listed.replace("audios/", "sounds/", 1), f"{table}: 1 of 12 audio files are missing or unreadable"),
    ):
        table.write_text(spoiled, encoding="utf-8")
        message = refused(*command)
        assert word in message
        assert set(re.findall(r"--[a-z0-9-]+", message)) <= known


def test_views_of_test_clips_are_encoded_once_for_all_lines(
    standins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []

    def counted(*args, seed, **kwargs):
        encoded.append(seed)
        return view_features(*args, seed=seed, **kwargs)

    monkeypatch.setattr("alm_prompt.evaluation.run.view_features", counted)
    both = ["--seeds", "0", "1", "--methods", "tta-one-clip", "tta-five-clips"]
    assert main(small("tta", standins, tmp_path / "both", *both)) == 0
    assert encoded == [0, 1]
    one, *_, five = read_rows(tmp_path / "both" / "rows.jsonl")
    assert (one["method"], five["method"], five["seed"]) == ("tta-one-clip", "tta-five-clips", 1)
    assert main(small("tta", standins, tmp_path / "alone", "--seeds", "1", "--methods", "tta-five-clips")) == 0
    alone = read_rows(tmp_path / "alone" / "rows.jsonl")[-1]
    assert {**five, "seconds": 0} == {**alone, "seconds": 0}


def test_published_data_sets_come_from_the_hub_by_name(
    standins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, repo_type: str(standins / name[6:]))
    command = ["benchmark", "zebra-base-to-novel", "--datasets", "MahiA/SESA", "--methods", "zero-shot", *SMALL]
    assert main([*command, "--output-dir", str(tmp_path)]) == 0
    [row] = read_rows(tmp_path / "rows.jsonl")
    assert (row["dataset"], row["base_classes"]) == ("SESA", ["casual", "siren"])


def test_own_recipes_run_on_own_folders(standins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(standins / "SESA", tmp_path / "mine")
    recipe = "title: t\nsource: s\nmeasure: all-classes\nseeds: [0]\nmethods: {zero-shot: }\ndatasets: [mine, ESC50]\n"
    (tmp_path / "own.yaml").write_text(recipe, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for root in ([], ["--data-root", "."]):
        folder = f"runs-{len(root)}"
        assert main(["benchmark", "own.yaml", "--output-dir", folder, *root]) == 0
        [row] = read_rows(tmp_path / folder / "rows.jsonl")
        assert (row["protocol"], row["track"], row["dataset"]) == ("own", "own", "mine")


def test_sources_of_neighbours_are_lines_of_their_own(standins: Path, tmp_path: Path) -> None:
    for source in ("one", "two"):
        (tmp_path / source).mkdir()
        terms = {name: [f"{source} {name} {number}" for number in range(2)] for name in ("bangu", "daluo")}
        (tmp_path / source / "Beijing-Opera.json").write_text(json.dumps(terms), encoding="utf-8")
    sources = [f"{name}={tmp_path / name}" for name in ("one", "two")]
    assert main(small("llm", standins, tmp_path / "run", "--neighbors", *sources)) == 0
    rows = read_rows(tmp_path / "run" / "rows.jsonl")
    assert [row["method"] for row in rows] == ["coop", "coop+sept (one)", "coop+sept (two)"]
    assert rows[2]["config"]["neighbors"]["bangu"] == ["two bangu 0", "two bangu 1"]
    table = (tmp_path / "run" / "table.md").read_text(encoding="utf-8")
    assert len(set(re.findall(r"sept\.neighbors=own \((\w{12})\)", table))) == 2


def test_own_descriptions_are_told_apart(standins: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    """By a hash under the tables, whichever of them a seed draws; never averaged over two files."""
    hashes = []
    for word in ("one", "two"):
        texts = {name: [f"{word} {name} {i}" for i in range(3)] for name in ("bangu", "daluo", "naobo", "xiaoluo")}
        (tmp_path / f"{word}.json").write_text(json.dumps(texts), encoding="utf-8")
        command = small("reclap-prompts", standins, tmp_path / word, "--descriptions", str(tmp_path / f"{word}.json"))
        assert main([*command, "--methods", "1 description", "--seeds", "0", "1"]) == 0
        table = (tmp_path / word / "table.md").read_text(encoding="utf-8")
        hashes += set(re.findall(r"descriptions hash (\w{12}) \(of 1\)", table))
    assert len(set(hashes)) == 2
    assert "descriptions_hash" in refused(*command[:7], tmp_path / "one", *command[8:], "--seeds", "2")


def test_recipes_and_data_sets_are_listed(standins: Path, shared_dir: Path, capfd) -> None:
    assert main(["benchmark", "list"]) == 0
    listed = capfd.readouterr().out
    assert all(name in listed for name in recipe_names())
    assert main(["benchmark", "--data-root", str(standins)]) == 0
    out = capfd.readouterr().out
    assert all(name in out for name in CATALOG)
    assert not re.search("missing|in part|get it", out)
    assert main(["benchmark", "--data-root", str(shared_dir / "data")]) == 0
    out = capfd.readouterr().out
    assert "hf download MahiA/SESA" in out
    assert "esc10" in out


def test_what_is_listed_is_what_is_on_disk(standins: Path, tmp_path: Path, capfd) -> None:
    lists = shutil.copytree(standins / "Beijing-Opera", tmp_path / "Beijing-Opera") / "csv_files"
    shutil.copytree(standins / "SESA", tmp_path / "SESA")
    for side in ("train", "test"):
        (lists / f"{side}_3.csv").unlink()
    (lists / "test_5.csv").unlink()
    assert main(["benchmark", "--data-root", str(tmp_path)]) == 0
    lines = capfd.readouterr().out.splitlines()
    [drums] = [place for place, line in enumerate(lines) if line.startswith("Beijing-Opera")]
    assert " in part " in lines[drums]
    assert "3 of 5 pair(s) of lists; published: 4 classes, 5 fold(s), 236 test clips" in lines[drums]
    assert "get it: hf download MahiA/Beijing-Opera" in lines[drums + 1]
    [sesa] = [line for line in lines if line.startswith("SESA")]
    assert " there " in sesa
    assert "1 of 1 pair(s) of lists" in sesa
    [missing] = [line for line in lines if line.startswith("ESC50 ")]
    assert " missing " in missing
    assert "of lists" not in missing


def test_what_cannot_be_run_is_refused_in_one_line(
    standins: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    folder = tmp_path / "run"
    few = small("palm-few-shot", standins, folder)
    assert "'palm-few-shot'" in refused("benchmark", "palm-few-shto", "--output-dir", folder)
    assert "--output-dir" in refused("benchmark", "palm-few-shot")
    assert "benchmark list" in refused("benchmark")
    assert "did you mean 'coop'" in refused(*few, "--methods", "copo")
    assert "no data set 'Sesa'" in refused(*few, "--datasets", "Sesa")
    assert "no fold '9'" in refused(*few, "--folds", "9")
    assert "takes pairs" in refused(*small("cross-dataset", standins, folder), "--datasets", "SESA")
    assert "takes pairs" in refused("benchmark", "cross-dataset", "--output-dir", folder)
    assert "one data set at a time" in refused(*few, "--datasets", "SESA:Beijing-Opera")
    assert "class_rule" in refused(*few, "--class-rule", "alphabetical-halves")
    assert "seeds has 0 twice" in refused(*few, "--seeds", "0", "0")
    assert "seeds has 99999999999; give whole numbers" in refused(*few, "--seeds", "99999999999")
    assert "methods has 'coop' twice" in refused(*few, "--methods", "coop", "CoOp")
    assert "template 'a sound' needs one {}" in refused(*few, "--template", "a sound")
    assert "none of its methods takes neighbours" in refused(*few, "--neighbors", standins)
    assert "none of its lines reads descriptions" in refused(*few, "--descriptions", "shipped")
    assert "--epochs must be greater than 0" in refused(*few, "--epochs", "0")
    assert "leave out --official" in refused(*small("llm", standins, folder), "--official")
    assert "same name" in refused(*small("llm", standins, folder), "--neighbors", f"a={standins}", f"a={tmp_path}")
    assert not folder.exists()


def test_other_seeds_with_other_settings_are_refused_before_they_run(
    standins: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    command = small("palm-few-shot", standins, tmp_path, "--methods", "zero-shot", "coop")
    assert main(command) == 0
    other = [*command, "--seeds", "1", "--method-options", "coop.n_ctx=2"]
    assert "was run with coop.n_ctx 2, but Beijing-Opera, coop, 2 shots, seed 0, fold 1 with its" in refused(*other)
    assert len(read_rows(tmp_path / "rows.jsonl")) == 2
    assert main([*command, "--seeds", "1"]) == 0


def test_rows_of_another_version_are_refused(standins: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    few = small("palm-few-shot", standins, tmp_path)
    old = {"method": "coop", "seed": 0, "fold": "1", "shots": 2, "settings": "x"}
    for version, word in ((None, "another version"), (99, "newer version")):
        row = old if version is None else old | {"format": version}
        (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
        assert word in refused(*few)
