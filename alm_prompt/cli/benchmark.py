"""`alm-prompt benchmark`: the published protocols, one recipe each."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AlmPromptError, nearest
from .benchmark_options import BenchmarkDataOptions, RecipeOptions, RunnerOptions
from .options import ModelOptions
from .parser import CommandParser

if TYPE_CHECKING:
    from ..data import AudioDataset
    from ..evaluation.protocols import Recipe
    from ..evaluation.runner import Runner

DESCRIPTION = (
    "Run a published protocol: `alm-prompt benchmark list` names them. Without a recipe, say which data sets lie "
    "below --data-root. Under torchrun or accelerate launch the runs are dealt over the processes."
)
LIST = "list"
WORLD = "world"


def run(argv: list[str]) -> None:
    """List recipes or data sets, or run a recipe.

    Raises:
        AlmPromptError: bad input, or runs that failed: all of them, or any with `--strict`.
    """
    parser = CommandParser(
        "benchmark", DESCRIPTION, [BenchmarkDataOptions, ModelOptions, RecipeOptions, RunnerOptions]
    )
    parser.add_argument("recipe", nargs="?", help="name of a recipe, a YAML file of one, or `list`")
    data, model, changes, output, request = parser.parse(argv)
    if request.recipe == LIST:
        _list_recipes()
    elif request.recipe is None:
        if data.data_root is None:
            raise AlmPromptError(f"name a recipe (`alm-prompt benchmark {LIST}` shows them), or give --data-root")
        _list_datasets(Path(data.data_root))
    else:
        _run_recipe(request.recipe, data, model, changes, output)


def _list_recipes() -> None:
    from ..evaluation.protocols import read_recipe, recipe_names

    for name in recipe_names():
        recipe = read_recipe(name)
        print(f"{name:<22}{recipe.title}\n{'':<22}{recipe.source}; {len(recipe.methods)} methods")


def _list_datasets(root: Path) -> None:
    from ..data import find_datasets

    for found in find_datasets(root):
        known = found.known
        sizes = (
            f"{len(known.class_names)} classes, {len(known.fold_names)} fold(s), {sum(known.test_clips)} test clips"
        )
        print(f"{known.name:<16}{'there' if found.path else 'missing':<9}{known.task}: {sizes}")
        if found.path is None:
            print(f"{'':<16}get it: {found.how_to_get}")
    others = [path.name for path in _other_folders(root)]
    if others:
        print(f"also below {root}, for --datasets: {', '.join(others)}")


def _run_recipe(
    name: str, data: BenchmarkDataOptions, model: ModelOptions, changes: RecipeOptions, output: RunnerOptions
) -> None:
    from ..evaluation.grid import plan_runs
    from ..evaluation.ranks import take_rank
    from ..evaluation.rows import RowStore
    from ..evaluation.runner import Runner
    from .loading import TINY, open_cache, open_model
    from .run_folder import check_writable

    rank = take_rank()
    recipe = _changed(name, model, changes)
    if output.output_dir is not None:
        check_writable(Path(output.output_dir), "--output-dir")
    elif not output.dry_run:
        raise AlmPromptError("--output-dir is missing; name the folder for the benchmark's rows and table")
    recipe, datasets = _open_datasets(recipe, data, quiet=rank.index > 0)
    alm, processor = open_model(model.model or TINY, model)
    if model.model in (None, TINY):
        _keep_to_one_thread()
    runs, impossible = plan_runs(recipe, datasets, alm.config.template)
    store = RowStore(output.output_dir)
    runner = Runner(alm, processor, runs, store, open_cache(model), rank)
    if output.dry_run:
        _print_costs(recipe, runner, impossible)
        return
    start = time.perf_counter()
    for row in impossible:
        store.fail(row)
    runner.run()
    rows, failures = runner.rows(), [*impossible, *runner.failures()]
    if len(rows) + len(failures) < len(runs) + len(impossible):
        # Another process still has runs to make; the last one reports.
        return
    settings = {"recipe": name, **vars(data), **vars(model), **vars(changes)}
    _report(recipe, rows, failures, Path(output.output_dir), settings, time.perf_counter() - start, alm)
    if failures and (output.strict or not rows):
        raise AlmPromptError(f"{len(failures)} of {len(rows) + len(failures)} runs failed; they are listed above")


def _changed(name: str, model: ModelOptions, changes: RecipeOptions) -> Recipe:
    """The recipe as the flags change it."""
    from ..evaluation.protocols import read_recipe
    from .loading import method_settings

    recipe = read_recipe(name)
    if changes.official:
        recipe = recipe.as_official()
    recipe = recipe.changed(
        seeds=changes.seeds,
        folds=changes.folds,
        shots=changes.shots,
        class_rule=changes.class_rule,
        encoder_mode=changes.encoder_mode,
        template=model.template,
        training={**recipe.training, **changes.training},
    )
    if changes.methods or changes.method_options:
        wanted = changes.methods or [line.label for line in recipe.methods]
        recipe = recipe.with_methods(wanted, method_settings(changes.method_options))
    if changes.neighbors:
        recipe = recipe.with_neighbors(_sources(changes.neighbors))
    return recipe if model.descriptions is None else recipe.with_descriptions(model.descriptions)


def _sources(given: Sequence[str]) -> dict[str, str]:
    """Sources of neighbours by name, checked to be there."""
    sources = {}
    for item in given:
        name, _, path = item.rpartition("=")
        if not Path(path).exists():
            raise AlmPromptError(f"--neighbors {item!r}: no such file or folder; give PATH or NAME=PATH")
        if name in sources:
            raise AlmPromptError(f"--neighbors {item!r}: two sources have the same name; give each one its own")
        sources[name] = path
    return sources


def _open_datasets(
    recipe: Recipe, data: BenchmarkDataOptions, quiet: bool
) -> tuple[Recipe, Mapping[str, AudioDataset]]:
    """The data sets of a recipe that are there, and the recipe with them alone; all that are named must be there."""
    root = None if data.data_root is None else Path(data.data_root).expanduser()
    if root is not None and not root.is_dir():
        raise AlmPromptError(f"--data-root {root}: no such folder")
    if data.datasets:
        recipe = replace(recipe, datasets=data.datasets)
    elif root is None:
        recipe = replace(recipe, datasets=[WORLD])
    else:
        recipe = replace(recipe, datasets=_there(recipe, root, quiet))
    names = dict.fromkeys(name for entry in recipe.datasets for name in entry.split(":"))
    return recipe, {name: _open_dataset(name, root) for name in names}


def _there(recipe: Recipe, root: Path, quiet: bool) -> list[str]:
    from ..data import CATALOG, find_datasets

    found = {entry.known.folder: entry for entry in find_datasets(root)}
    there = []
    for entry in recipe.datasets:
        missing = [found[CATALOG[name].folder] for name in entry.split(":") if not found[CATALOG[name].folder].path]
        if not missing:
            there.append(entry)
        elif not quiet:
            print(f"{entry} is left out; get it: {'; '.join(data.how_to_get for data in missing)}")
    if not there:
        others = ", ".join(path.name for path in _other_folders(root)) or "none"
        raise AlmPromptError(
            f"--data-root {root}: none of the recipe's data sets is there; name others with --datasets (folders "
            f"there: {others})"
        )
    return there


def _open_dataset(name: str, root: Path | None) -> AudioDataset:
    from ..data import CATALOG, open_dataset

    if name == WORLD or root is None:
        return open_dataset(name)
    if name in CATALOG:
        return open_dataset(root / CATALOG[name].folder, name)
    if not (root / name).exists():
        known = [WORLD, *CATALOG, *(path.name for path in _other_folders(root))]
        raise AlmPromptError(f"no data set {name!r} below {root}; {nearest(name, known)}")
    return open_dataset(root / name, name)


def _other_folders(root: Path) -> list[Path]:
    """Folders below the root that are none of the catalog's."""
    from ..data import CATALOG

    known = {entry.folder for entry in CATALOG.values()}
    return sorted(path for path in root.iterdir() if path.is_dir() and path.name not in known)


def _keep_to_one_thread() -> None:
    """The tiny model's matrices are too small to share: more threads only wait for each other."""
    import torch

    torch.set_num_threads(1)


def _print_costs(recipe: Recipe, runner: Runner, impossible: Sequence[Mapping[str, Any]]) -> None:
    from ..evaluation.estimate import expected_costs

    print(f"{recipe.name}: {recipe.title}")
    for field in ("datasets", "shots", "seeds"):
        print(f"  {field}: {', '.join(map(str, getattr(recipe, field)))}")
    print(f"  {'method':<28}{'runs':>6}{'to do':>7}{'min':>8}  from")
    costs = expected_costs(runner)
    for cost in costs:
        source = cost.problem or (f"{cost.measured} finished runs" if cost.measured else "two epochs of one run")
        print(f"  {cost.method:<28}{cost.runs:>6}{cost.pending:>7}{cost.seconds / 60:>8.1f}  {source}")
    for row in impossible:
        print(f"  not possible: {row['method']}, seed {row['seed']}: {row['error']}")
    minutes = sum(cost.seconds for cost in costs) / 60
    print(
        f"expected: {minutes:.1f} min in one process, without encoding audio; the time of a method is taken to grow "
        "with the training clips"
    )


def _report(
    recipe: Recipe,
    rows: list[dict[str, Any]],
    failures: list[dict[str, Any]],
    folder: Path,
    settings: dict[str, Any],
    seconds: float,
    alm: Any,
) -> None:
    """Write table and run record, print the first table of every section and what failed."""
    from ..evaluation.report import build_report, write_markdown
    from ..evaluation.report.markdown import grid
    from ..evaluation.rows import TABLE_NAME, run_name, write_text
    from ..training import RunRecord

    report = build_report([*rows, *failures], f"{recipe.name}: {recipe.title}")
    write_text(folder / TABLE_NAME, write_markdown(report))
    paths = sorted(map(str, alm.alm.text_tower.paths_taken))
    RunRecord(settings, list(recipe.seeds), seconds, recipe.encoder_mode, text_paths=paths).save(folder)
    for section in report.sections:
        print(f"\n{section.title}\n\n{grid(section.tables[0])}")
    for row in failures:
        print(f"failed: {run_name(row)}: {row['error']}")
    print(f"\n{len(rows)} runs finished, {len(failures)} failed; written to {folder}: {TABLE_NAME}")
    print(f"all tables, also as HTML, LaTeX or CSV: alm-prompt report {folder}")
