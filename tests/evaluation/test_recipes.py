"""Recipes as data: those that ship say what the papers say, and a wrong one is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from alm_prompt.data import CATALOG
from alm_prompt.errors import AlmPromptError
from alm_prompt.evaluation.protocols import RECIPES, read_recipe, recipe_names
from alm_prompt.evaluation.published import find_published, published_tables

OWN = {
    "title": "mine",
    "source": "mine",
    "measure": "all-classes",
    "methods": {"zero-shot": "zero-shot"},
    "datasets": ["SESA"],
}


def written(folder: Path, **changes) -> str:
    """Path of a recipe that differs from a good one; `None` takes a key out."""
    content = {key: value for key, value in (OWN | changes).items() if value is not None}
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)


def test_every_protocol_of_the_papers_ships() -> None:
    assert recipe_names() == sorted(
        [
            "palm-few-shot",
            "sept-base-to-new",
            "zebra-base-to-novel",
            "generalized",
            "cross-dataset",
            "shots",
            "sept-ablation",
            "palm-ablation",
            "templates",
            "llm",
            "reclap-prompts",
            "tta",
        ]
    )


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_name_known_things(name: str) -> None:
    recipe = read_recipe(name)
    assert (recipe.name, recipe.shot_rule, recipe.folds, recipe.encoder_mode) == (name, "hashed", None, "frozen")
    assert {dataset for entry in recipe.datasets for dataset in entry.split(":")} <= CATALOG.keys()
    if recipe.official:
        assert recipe.as_official().methods == recipe.methods
    else:
        with pytest.raises(AlmPromptError, match="not known; leave out --official"):
            recipe.as_official()


# The paper's sources of neighbours (llm) are not published: lines for them are made by --neighbors.
@pytest.mark.parametrize("name", sorted({table.protocol for table in published_tables().values()} - {None, "llm"}))
def test_every_published_line_can_be_run(name: str) -> None:
    recipe = read_recipe(name)
    rows = [row for table in find_published(recipe.track, name) for row in table.rows]
    assert {row["method"] for row in rows} <= {line.label for line in recipe.methods}
    sources = {entry.partition(":")[0] for entry in recipe.datasets}
    assert {row["dataset"] for row in rows} & {None, *sources}


def test_recipes_are_those_of_the_papers() -> None:
    palm, sept, zebra = map(read_recipe, ("palm-few-shot", "sept-base-to-new", "zebra-base-to-novel"))
    assert [recipe.training["learning_rate"] for recipe in (palm, sept, zebra)] == [0.05, 0.0125, 0.05]
    assert all(recipe.training["num_train_epochs"] == 50 and recipe.shots == [16] for recipe in (palm, sept, zebra))
    assert (palm.template, sept.template, zebra.template) == (
        "The is a recording of {}.",
        "This is a sound of {}",
        "The is a recording of {}.",
    )
    assert (sept.class_rule, zebra.class_rule) == ("alphabetical-halves", "seed-42-halves")
    assert (palm.as_official().seeds, palm.as_official().shot_rule) == ([0, 1, 2], "pandas")
    assert (zebra.as_official().seeds, zebra.as_official().folds) == ([0], ["fixed"])
    dept = next(line for line in sept.methods if line.label == "coop+dept")
    assert dept.config().fusion is False
    anchors = {line.label: line.config() for line in sept.methods if line.label.startswith("kgcoop")}
    assert {label: getattr(config, "prompt", config).anchor for label, config in anchors.items()} == {
        "kgcoop": "template",
        "kgcoop+sept": "template",
        "kgcoop-100-templates": "ensemble",
        "kgcoop-100-templates+sept": "ensemble",
    }


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"sheds": [0]}, "recipe mine: unknown key 'sheds'; the nearest known one is 'seeds'"),
        ({"measure": None}, "recipe mine: measure is missing"),
        ({"official": {"fold": ["1"]}}, "recipe mine, official: unknown key 'fold'; the nearest known one is 'folds'"),
        ({"official": {"seeds": 0}}, "recipe mine, official: seeds is 0; write a list"),
        ({"official": {"seeds": [-1]}}, "recipe mine: seeds has -1; give whole numbers of at least 0"),
        ({"methods": {"mine": "copo"}}, "recipe mine, method 'mine': unknown prompt method 'copo'; did you mean"),
        (
            {"methods": {"mine": {"stak": "coop"}}},
            "method 'mine': unknown key 'stak'; the nearest known one is 'stack'",
        ),
        ({"methods": {"coop": {"options": {"coop.n_cxt": 2}}}}, "unknown option of coop 'n_cxt'"),
        ({"methods": {"coop": {"template": "a sound"}}}, "template 'a sound' needs one {}"),
        ({"methods": {"coop": {"sentences": 2}}}, "sentences counts descriptions"),
        ({"methods": {"coop": {"neighbors": "x.json"}}}, "no method of 'coop' takes neighbours"),
        ({"methods": {"coop": {"options": ["coop.n_ctx"]}}}, "options is ['coop.n_ctx']; write key: value lines"),
        ({"methods": {"coop": 7}}, "method 'coop': is 7; write a stack of methods, or key: value lines"),
        ({"methods": {"zero-shot": {"descriptions": "shipped", "sentences": 0}}}, "sentences is 0; take at least 1"),
        ({"methods": ["coop"]}, "methods is ['coop']; write key: value lines"),
        ({"methods": {}}, "methods is empty"),
        ({"seeds": 3}, "seeds is 3; write a list"),
        ({"seeds": [1, 2, 1]}, "recipe mine: seeds has 1 twice; name it once"),
        ({"datasets": ["SESA", "SESA"]}, "datasets has 'SESA' twice"),
        ({"datasets": [2]}, "takes one data set at a time, not 2"),
        ({"template": "a sound"}, "recipe mine: template 'a sound' needs one {}"),
        ({"allow_fewer": "no"}, "allow_fewer is 'no'; write true or false"),
        ({"seeds": [2**32]}, "seeds has 4294967296; give whole numbers of at least 0 and at most 4294967295"),
        ({"shots": [0]}, "shots has 0; give whole numbers of at least 1"),
        ({"track": "plam"}, "track is 'plam'; choose one of palm"),
        ({"measure": "base-to-novel"}, "does not go with class_rule all"),
        ({"training": {"epochs": 3}}, "unknown training argument 'epochs'; the nearest known one is"),
        ({"training": {"load_best_model_at_end": True}}, "for choosing among epochs"),
        ({"training": {"num_train_epochs": 0}}, "training argument num_train_epochs is 0; give a number above 0"),
        ({"training": {"per_device_train_batch_size": -3}}, "per_device_train_batch_size is -3; give"),
        ({"training": {"learning_rate": "fast"}}, "learning_rate is 'fast'; give a number above 0"),
        ({"training": {"seed": 3}}, "training argument 'seed' is set by every run itself"),
    ],
)
def test_wrong_recipes_are_refused_in_one_line(changes: dict, word: str, tmp_path: Path) -> None:
    with pytest.raises(AlmPromptError) as caught:
        read_recipe(written(tmp_path, **changes))
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_halves_than_the_published_ones_are_a_track_of_their_own() -> None:
    recipe = read_recipe("sept-base-to-new")
    assert recipe.changed(class_rule="alphabetical-halves", seeds=[7]).track == "sept"
    other = recipe.changed(class_rule="seed-42-halves")
    assert (other.track, other.class_rule) == ("own", "seed-42-halves")
    assert not find_published(other.track, other.name)


def test_descriptions_may_be_those_that_a_recipe_has_already() -> None:
    recipe = read_recipe("reclap-prompts")
    assert recipe.with_descriptions("shipped").methods == recipe.methods


def test_numbers_and_words_are_read_as_they_look(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    lines = {**OWN, "training": {"learning_rate": "RATE"}, "title": "TITLE"}
    path.write_text(yaml.safe_dump(lines).replace("RATE", "5e-3").replace("TITLE", "on"), encoding="utf-8")
    recipe = read_recipe(str(path))
    assert (recipe.training, recipe.title) == ({"learning_rate": 0.005}, "on")


def test_own_recipes_are_read_and_broken_files_named(tmp_path: Path) -> None:
    assert read_recipe(written(tmp_path)).seeds == (0, 1, 2)
    (tmp_path / "broken.yaml").write_text("methods: [", encoding="utf-8")
    with pytest.raises(AlmPromptError, match=r"broken\.yaml: cannot be read"):
        read_recipe(str(tmp_path / "broken.yaml"))
    (tmp_path / "code.yaml").write_text("title: !!python/object/apply:os.getcwd []", encoding="utf-8")
    with pytest.raises(AlmPromptError, match="cannot be read"):
        read_recipe(str(tmp_path / "code.yaml"))


def test_lines_of_one_label_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    lines = (
        "title: t\nsource: s\nmeasure: all-classes\ndatasets: [a]\nmethods:\n  one: coop\n  two: palm\n  one: cocoop\n"
    )
    path.write_text(lines, encoding="utf-8")
    with pytest.raises(AlmPromptError) as caught:
        read_recipe(str(path))
    assert f"recipe {path}: cannot be read (line 8: key 'one' is in line 6 already; name it once)" in str(caught.value)
    assert "\n" not in str(caught.value)
    path.write_text(lines.replace("  one: cocoop", "  three: cocoop"), encoding="utf-8")
    assert [line.label for line in read_recipe(str(path)).methods] == ["one", "two", "three"]


def test_mappings_that_start_from_another_may_differ_from_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = (
        "methods: {a: &a {stack: coop, template: 'a {}'}, b: &b {<<: *a, template: 'b {}'}, c: {<<: *b, stack: palm}}"
    )
    path.write_text(f"title: t\nsource: s\nmeasure: all-classes\ndatasets: [a]\n{text}\n", encoding="utf-8")
    found = [(line.label, line.stack, line.template) for line in read_recipe(str(path)).methods]
    assert found == [("a", "coop", "a {}"), ("b", "coop", "b {}"), ("c", "palm", "b {}")]


def test_stacks_may_be_written_with_blanks_and_capitals() -> None:
    recipe = read_recipe("zebra-base-to-novel").with_methods(["CoOp + ZEBRA"], {"zebra.alpha": 0.3, "coop.n_ctx": 2})
    [line] = recipe.methods
    assert (line.config().alpha, line.config().prompt.n_ctx) == (0.3, 2)


@pytest.mark.parametrize("spelling", ["coop+dept", "CoOp+DePT", "coop + dept"])
def test_lines_of_a_recipe_are_found_in_any_spelling(spelling: str) -> None:
    """Else another method would stand beside the published figures of this one."""
    recipe = read_recipe("sept-base-to-new")
    assert recipe.with_methods([spelling], {}).methods == [
        line for line in recipe.methods if line.label == "coop+dept"
    ]


def test_files_hold_nothing_that_yaml_reads_as_something_else() -> None:
    for path in RECIPES.glob("*.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert all(isinstance(label, str) for label in content["methods"]), path
        assert all(isinstance(name, str) for name in content["datasets"]), path


def test_the_how_to_counts_methods_and_runs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "benchmarks.md").read_text(encoding="utf-8")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:3] == "| `"]
    printed = {cells[0].strip("`"): [int(cell.replace(",", "")) for cell in cells[-2:]] for cells in lines}
    counted = {}
    for recipe in map(read_recipe, recipe_names()):
        folds = sum(len(CATALOG[entry.partition(":")[0]].fold_names) for entry in recipe.datasets)
        methods = len(recipe.methods)
        counted[recipe.name] = [methods, methods * folds * len(recipe.seeds) * len(recipe.shots)]
    assert printed == counted
