"""`alm-prompt train`: learn prompts for your classes from a few clips of each."""

from __future__ import annotations

import shlex
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cache import caching_in
from ..errors import AlmPromptError
from .options import DataOptions, MethodOptions, ModelOptions, RunOptions, TrainingOptions
from .parser import CommandParser

if TYPE_CHECKING:
    from peft import PeftModel

    from ..data import AudioClips, ClipDataset, FeatureDataset
    from ..models import AlmProcessor
    from ..training import AlmTrainer, AudioFeatureCache

DESCRIPTION = "Learn prompts for your classes from a few clips of each, and save them as an adapter."
LOG_EVERY = 0.1  # of all steps


def run(argv: list[str]) -> None:
    """Train an adapter, save it with a record of the run, and print what to do next."""
    options = [MethodOptions, ModelOptions, DataOptions, TrainingOptions, RunOptions]
    method, model, data, training, output, _ = CommandParser("train", DESCRIPTION, options).parse(argv)
    from peft import get_peft_model
    from transformers import set_seed

    from ..data import sample_shots
    from .loading import TINY, open_cache, open_clips, open_model, open_neighbors, parse_methods, set_classes
    from .run_folder import ADAPTER_NAME, check_output_dir, check_settings, open_output_dir, write_settings

    if output.output_dir is None:
        raise AlmPromptError("--output-dir is missing; name the folder for the adapter")
    folder = check_output_dir(output.output_dir, resume=output.resume, overwrite=output.overwrite)
    start = time.perf_counter()
    clips = open_clips(data)
    neighbors = open_neighbors(method.neighbors, data.classes or clips.class_names)
    config = parse_methods([method.method], method.method_options, neighbors, training.encoder_mode)[method.method]
    if config is None:
        raise AlmPromptError(f"{method.method} has nothing to learn; measure it with alm-prompt evaluate")
    alm, processor = open_model(model.model or TINY)
    set_classes(alm, data.classes or clips.class_names, model)
    clips = sample_shots(clips.select(labels=alm.class_names), training.shots, method.seed, training.allow_fewer)
    # What the files hold, not where they lie: a run must not go on with other text.
    texts = {"neighbors": neighbors, "descriptions": alm.class_bank.descriptions}
    settings = _settings(clips, method, model, training) | texts
    if output.resume:
        check_settings(folder, settings)
    print(
        f"{len(clips)} clips of {len(alm.class_names)} classes; {method.method} on {model.model or TINY}", flush=True
    )
    set_seed(method.seed)
    adapted = get_peft_model(alm, config)
    cache = open_cache(model)
    dataset = _dataset(adapted, processor, clips, cache)
    open_output_dir(folder, overwrite=output.overwrite)
    write_settings(folder, settings)
    trainer = _trainer(adapted, dataset, folder, training, method)
    with caching_in(cache.folder):
        outcome = trainer.train(resume_from_checkpoint=output.resume or None)
    trainer.save_model(str(folder / ADAPTER_NAME))
    results = {
        "train_loss": outcome.training_loss,
        "steps": outcome.global_step,
        "trainable_parameters": adapted.get_nb_trainable_parameters()[0],
    }
    _record(folder, {"data": data.data, **settings}, results, time.perf_counter() - start)
    _print_next(folder / ADAPTER_NAME, data)


def _dataset(
    model: PeftModel, processor: AlmProcessor, clips: AudioClips, cache: AudioFeatureCache
) -> FeatureDataset | ClipDataset:
    """Encoded clips, or the clips themselves where the encoders' output changes in training."""
    from ..data import ClipDataset, FeatureDataset

    if model.class_head.encoder_mode == "reference":
        return ClipDataset(clips, processor, model.class_names)
    return FeatureDataset(cache.features(model, processor, clips), clips.label_ids(model.class_names))


def _trainer(
    model: PeftModel,
    dataset: FeatureDataset | ClipDataset,
    folder: Path,
    training: TrainingOptions,
    method: MethodOptions,
) -> AlmTrainer:
    from ..data import AlmCollator
    from ..training import AlmTrainer, AlmTrainingArguments

    args = AlmTrainingArguments(
        output_dir=str(folder),
        seed=method.seed,
        logging_strategy="steps",
        logging_steps=LOG_EVERY,
        dataloader_pin_memory=False,
        **training.trainer_arguments(),
    )
    return AlmTrainer(model=model, args=args, train_dataset=dataset, data_collator=AlmCollator())


def _settings(clips: AudioClips, *options: Any) -> dict[str, Any]:
    """What decides a run, to compare when it is resumed; `evaluate` leaves out the clips it was `trained_on`."""
    from ..audio.waveform import content_hash
    from ..data import Split

    chosen = {item.name: getattr(group, item.name) for group in options for item in fields(group)}
    whole = Split(clips, clips[:0], tuple(clips.class_names), (), None, chosen["seed"], chosen["shots"])
    return {
        **{name: value for name, value in chosen.items() if name not in ("cache_dir", "no_cache")},
        "classes": clips.class_names,
        "split_hash": whole.hash,
        "trained_on": sorted(content_hash(clip.source) for clip in clips),
    }


def _record(folder: Path, settings: dict[str, Any], results: dict[str, Any], seconds: float) -> None:
    from ..training import RunRecord

    RunRecord(
        settings={name: value for name, value in settings.items() if name != "trained_on"},
        seeds=[settings["seed"]],
        wall_seconds=seconds,
        encoder_mode=settings["encoder_mode"],
        split_hash=settings["split_hash"],
        results=results,
    ).save(folder)


def _print_next(adapter: Path, data: DataOptions) -> None:
    given = [item for item in fields(data) if getattr(data, item.name) not in (None, item.default)]
    evaluate = ["alm-prompt", "evaluate", "--adapter", str(adapter)]
    for item in given:
        value = getattr(data, item.name)
        evaluate += [f"--{item.name.replace('_', '-')}", *([value] if isinstance(value, str) else value)]
    print(f"\nadapter saved in {adapter}. Next:")
    print(f"  {shlex.join(['alm-prompt', 'predict', '--adapter', str(adapter), 'some.wav'])}")
    print(f"  {shlex.join(evaluate)}")
