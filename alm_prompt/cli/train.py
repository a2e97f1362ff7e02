"""`alm-prompt train`: learn prompts for your classes from a few clips of each, or from sentences."""

from __future__ import annotations

import shlex
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cache import caching_in
from ..errors import AlmPromptError
from .options import CachedModelOptions, DataOptions, MethodOptions, RunOptions, TrainingDataOptions, TrainingOptions
from .parser import CommandParser
from .training_data import TrainingClips, TrainingSentences

if TYPE_CHECKING:
    from accelerate import PartialState
    from peft import PeftConfig, PeftModel

    from ..data import ClipDataset, FeatureDataset
    from ..training import AlmTrainer

DESCRIPTION = "Learn prompts for your classes from a few clips or sentences of each, and save them as an adapter."
LOG_EVERY = 0.1  # of all steps
# Flags that can be others when a run is resumed: where things are kept, what is spent on them.
PASSING = ("cache_dir", "no_cache", "num_workers", "text_memory")


def run(argv: list[str]) -> None:
    """Train an adapter, save it with a record of the run, and print what to do next."""
    options = [MethodOptions, CachedModelOptions, TrainingDataOptions, TrainingOptions, RunOptions]
    parsed = CommandParser("train", DESCRIPTION, options).parse(argv)
    from ..distributed import ending_together
    from .processes import join_processes

    with ending_together(), join_processes() as processes:
        _train(*parsed[: len(options)], processes)


def _train(
    method: MethodOptions,
    model: CachedModelOptions,
    data: TrainingDataOptions,
    training: TrainingOptions,
    output: RunOptions,
    processes: PartialState,
) -> None:
    from peft import get_peft_model
    from transformers import set_seed

    from .loading import TINY, check_several, open_cache, open_model, open_neighbors, set_classes, spoken_name
    from .run_folder import (
        TRAINING_PARTS,
        check_output_dir,
        check_outside,
        check_settings,
        open_output_dir,
        write_settings,
    )

    if output.output_dir is None:
        raise AlmPromptError("--output-dir is missing; name the folder for the adapter")
    folder = check_output_dir(output.output_dir, TRAINING_PARTS, resume=output.resume, overwrite=output.overwrite)
    check_outside(folder, data.data)
    start = time.perf_counter()
    examples = (TrainingSentences if data.audio_free else TrainingClips)(data, training, method.seed)
    check_several(examples.class_names)
    neighbors = open_neighbors(method.neighbors, examples.class_names)
    config = _config(method, neighbors, training.encoder_mode)
    alm, processor = open_model(model.model or TINY, model)
    set_classes(alm, examples.class_names, model)
    drawn = examples.draw(alm.class_names)
    # What the files hold, not where they lie: a run must not go on with other text.
    texts = {"neighbors": neighbors, "descriptions": alm.class_bank.descriptions}
    settings = _settings(method, model, training) | drawn | texts | {"processes": processes.num_processes}
    if output.resume:
        check_settings(folder, settings)
    print(f"{examples} of {len(alm.class_names)} classes; {method.method} on {spoken_name(model.model)}", flush=True)
    set_seed(method.seed)
    adapted = get_peft_model(alm, config)
    cache = open_cache(model)
    # What the first process has encoded, the others find in the cache.
    with processes.main_process_first():
        dataset = examples.dataset(adapted, processor, cache)
    if processes.is_main_process:
        open_output_dir(folder, TRAINING_PARTS, overwrite=output.overwrite)
        write_settings(folder, settings)
    processes.wait_for_everyone()
    trainer = _trainer(adapted, dataset, folder, training, method, processes)
    with caching_in(cache.folder):
        trainer.train(resume_from_checkpoint=output.resume or None)
    adapter = _save(trainer, adapted, folder, {"data": data.data, **settings}, start)
    _print_next(adapter, data, examples.other_folds)


def _config(method: MethodOptions, neighbors: dict[str, list[str]] | None, encoder_mode: str) -> PeftConfig:
    from .loading import parse_methods

    config = parse_methods([method.method], method.method_options, neighbors, encoder_mode)[method.method]
    if config is None:
        raise AlmPromptError(f"{method.method} has nothing to learn; measure it with alm-prompt evaluate")
    return config


def _trainer(
    model: PeftModel,
    dataset: FeatureDataset | ClipDataset,
    folder: Path,
    training: TrainingOptions,
    method: MethodOptions,
    processes: PartialState,
) -> AlmTrainer:
    from ..data import AlmCollator
    from ..training import AlmTrainer, AlmTrainingArguments

    args = AlmTrainingArguments(
        output_dir=str(folder),
        seed=method.seed,
        logging_strategy="steps",
        logging_steps=LOG_EVERY,
        # As the processes have found each other: asked again, accelerate would leave each of them alone.
        use_cpu=processes.distributed_type == "MULTI_CPU",
        **training.trainer_arguments(),
    )
    return AlmTrainer(model=model, args=args, train_dataset=dataset, data_collator=AlmCollator())


def _settings(*options: Any) -> dict[str, Any]:
    """What decides a run, beside what it learns from; it is compared when the run is resumed."""
    chosen = {item.name: getattr(group, item.name) for group in options for item in fields(group)}
    return {name: value for name, value in chosen.items() if name not in PASSING}


def _save(trainer: AlmTrainer, model: PeftModel, folder: Path, settings: dict[str, Any], start: float) -> Path:
    """Save the adapter, and the record of a run that began at `start`; return the adapter's folder."""
    from ..training import RunRecord
    from .run_folder import ADAPTER_NAME

    facts = {"shots": settings["shots"], "split hash": settings["split_hash"]}
    model.active_peft_config.results.training |= {name: value for name, value in facts.items() if value is not None}
    trainer.save_model(str(folder / ADAPTER_NAME))
    if trainer.args.should_save:
        RunRecord(
            settings={name: value for name, value in settings.items() if name != "trained_on"},
            seeds=[settings["seed"]],
            wall_seconds=time.perf_counter() - start,
            encoder_mode=settings["encoder_mode"],
            split_hash=settings["split_hash"],
            text_paths=sorted(map(str, model.get_base_model().alm.text_tower.paths_taken)),
            results={
                # Upstream's mean over the run counts the steps before a resumption, but not their losses.
                "last_loss": next(entry["loss"] for entry in reversed(trainer.state.log_history) if "loss" in entry),
                "steps": trainer.state.global_step,
                "trainable_parameters": model.get_nb_trainable_parameters()[0],
            },
        ).save(folder)
    return folder / ADAPTER_NAME


def _print_next(adapter: Path, data: DataOptions, other_folds: list[str]) -> None:
    evaluate = ["alm-prompt", "evaluate", "--adapter", str(adapter), "--data", data.data or "my-sounds"]
    for item in fields(DataOptions):
        value = other_folds if item.name == "folds" else getattr(data, item.name)
        if item.name != "data" and value not in (None, [], item.default):
            evaluate += [f"--{item.name.replace('_', '-')}", *([value] if isinstance(value, str) else value)]
    print(f"\nadapter saved in {adapter}. Next:")
    print(f"  {shlex.join(['alm-prompt', 'predict', '--adapter', str(adapter), 'some.wav'])}")
    print(f"  {shlex.join(evaluate)}")
