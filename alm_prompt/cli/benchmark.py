"""`alm-prompt benchmark`: the published protocols, one recipe each."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AlmPromptError
from .benchmark_data import list_datasets, open_datasets
from .benchmark_options import BenchmarkDataOptions, RecipeOptions, RunnerOptions
from .options import CachedModelOptions
from .parser import CommandParser

if TYPE_CHECKING:
    from ..evaluation.protocols import Recipe
    from ..evaluation.runner import Runner

DESCRIPTION = (
    "Run a published protocol: `alm-prompt benchmark list` names them. Without a recipe, say which data sets lie "
    "below --data-root. Under torchrun or accelerate launch the runs are dealt over the processes."
)
LIST = "list"


def run(argv: list[str]) -> None:
    """List recipes or data sets, or run a recipe.

    Raises:
        AlmPromptError: bad input, or runs that failed: all of them, or any with `--strict`.
    """
    parser = CommandParser(
        "benchmark", DESCRIPTION, [BenchmarkDataOptions, CachedModelOptions, RecipeOptions, RunnerOptions]
    )
    parser.add_argument("recipe", nargs="?", help="name of a recipe, a YAML file of one, or `list`")
    data, model, changes, output, request = parser.parse(argv)
    if request.recipe == LIST:
        _list_recipes()
    elif request.recipe is None:
        if data.data_root is None:
            raise AlmPromptError(f"name a recipe (`alm-prompt benchmark {LIST}` shows them), or give --data-root")
        list_datasets(Path(data.data_root).expanduser())
    else:
        from ..data import DuplicateAudioError

        try:
            _run_recipe(request.recipe, data, model, changes, output)
        except DuplicateAudioError as error:
            raise AlmPromptError(f"{error}, or go on with --keep-duplicates") from error


def _list_recipes() -> None:
    from ..evaluation.protocols import read_recipe, recipe_names

    for name in recipe_names():
        recipe = read_recipe(name)
        print(f"{name:<22}{recipe.title}\n{'':<22}{recipe.source}; {len(recipe.methods)} methods")


def _run_recipe(
    name: str, data: BenchmarkDataOptions, model: CachedModelOptions, changes: RecipeOptions, output: RunnerOptions
) -> None:
    from ..evaluation.grid import plan_runs
    from ..evaluation.ranks import take_rank
    from ..evaluation.rows import RowStore
    from ..evaluation.runner import Runner
    from .loading import TINY, open_cache, open_model
    from .run_folder import BENCHMARK_PARTS, check_output_dir

    rank = take_rank()
    recipe = _changed(name, model, changes)
    if output.output_dir is not None:
        check_output_dir(output.output_dir, BENCHMARK_PARTS, resume=True)
    elif not output.dry_run:
        raise AlmPromptError("--output-dir is missing; name the folder for the benchmark's rows and table")
    recipe, datasets = open_datasets(recipe, data, quiet=rank.index > 0)
    alm, processor = open_model(model.model or TINY, model)
    if model.model in (None, TINY):
        _keep_to_one_thread()
    runs, impossible = plan_runs(recipe, datasets, alm.config.template)
    store = RowStore(output.output_dir)
    if output.dry_run:
        if rank.index == 0:
            whole = Runner(alm, processor, runs, store, open_cache(model), keep_duplicates=data.keep_duplicates)
            _print_costs(recipe, whole, impossible)
        return
    runner = Runner(alm, processor, runs, store, open_cache(model), rank, data.keep_duplicates)
    start = time.perf_counter()
    for row in impossible:
        store.fail(row)
    runner.run()
    rows, failures = runner.rows(), [*impossible, *runner.failures()]
    tried_elsewhere = not runner.pending and len(failures) > len(impossible)
    if tried_elsewhere or len(rows) + len(failures) < len(runs) + len(impossible):
        # Another process still has runs to make, or to make again; the last one reports.
        return
    settings = {"recipe": name, **vars(data), **vars(model), **vars(changes)}
    _report(recipe, rows, failures, Path(output.output_dir), settings, time.perf_counter() - start, alm)
    if failures and (output.strict or not rows):
        raise AlmPromptError(f"{len(failures)} of {len(rows) + len(failures)} runs failed; they are listed above")


def _changed(name: str, model: CachedModelOptions, changes: RecipeOptions) -> Recipe:
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
    from ..evaluation.rows import TABLE_NAME, run_name
    from ..files import write_whole
    from ..training import RunRecord

    report = build_report([*rows, *failures], f"{recipe.name}: {recipe.title}")
    write_whole(folder / TABLE_NAME, write_markdown(report))
    paths = sorted(map(str, alm.alm.text_tower.paths_taken))
    RunRecord(settings, list(recipe.seeds), seconds, recipe.encoder_mode, text_paths=paths).save(folder)
    for section in report.sections:
        print(f"\n{section.title}\n\n{grid(section.tables[0])}")
    for row in failures:
        print(f"failed: {run_name(row)}: {row['error']}")
    print(f"\n{len(rows)} runs finished, {len(failures)} failed; written to {folder}: {TABLE_NAME}")
    print(f"all tables, also as HTML, LaTeX or CSV: alm-prompt report {folder}")
