"""`alm-prompt evaluate`: accuracy of an adapter or of zero-shot, and the base-to-novel benchmark."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AlmPromptError
from ..files import write_whole
from .options import (
    AdapterOptions,
    BenchmarkOptions,
    CachedModelOptions,
    DataOptions,
    RecordOptions,
    RunOptions,
    TrainingOptions,
)
from .parser import CommandParser

if TYPE_CHECKING:
    from ..data import AudioClips

DESCRIPTION = (
    "Measure accuracy of an adapter, or of zero-shot without one. With --base-to-novel: train the --methods on half "
    "of the classes and measure them on both halves, over seeds and folds."
)
COLUMNS = (
    "Accuracy in percent. base, novel: trained and never-trained classes, each among their own half; (g): among all "
    "classes; H: harmonic mean of base and novel."
)


def run(argv: list[str]) -> None:
    """Measure, print, and write the results where `--output-dir` says."""
    options = [
        AdapterOptions,
        BenchmarkOptions,
        CachedModelOptions,
        DataOptions,
        TrainingOptions,
        RunOptions,
        RecordOptions,
    ]
    parser = CommandParser("evaluate", DESCRIPTION, options)
    adapter, benchmark, model, data, training, output, record, _ = parser.parse(argv)
    from ..evaluation.ranks import take_rank
    from .run_folder import BENCHMARK_PARTS, MEASUREMENT_PARTS, check_output_dir, check_outside

    if take_rank().index:
        return  # Of the processes of a launcher, one measures and writes.
    if output.output_dir is not None:
        parts = BENCHMARK_PARTS if benchmark.base_to_novel else MEASUREMENT_PARTS
        check_output_dir(output.output_dir, parts, resume=output.resume, overwrite=output.overwrite)
        check_outside(output.output_dir, data.data)
    if record.record and (adapter.adapter is None or not Path(adapter.adapter).is_dir()):
        raise AlmPromptError("--record writes into the folder of an adapter; name one with --adapter")
    if benchmark.base_to_novel:
        if adapter.adapter is not None:
            raise AlmPromptError("--base-to-novel trains its own adapters; leave out --adapter")
        _benchmark(benchmark, model, data, training, output)
    else:
        if benchmark != BenchmarkOptions() or training != TrainingOptions():
            raise AlmPromptError("methods, seeds and training flags belong to the benchmark; add --base-to-novel")
        _accuracy(adapter.adapter, model, data, output, record.record)


def _benchmark(
    benchmark: BenchmarkOptions,
    model: CachedModelOptions,
    data: DataOptions,
    training: TrainingOptions,
    output: RunOptions,
) -> None:
    from ..data import AudioDataset, base_novel_classes
    from ..evaluation import markdown_table, run_benchmark
    from ..evaluation.rows import TABLE_NAME
    from .loading import (
        TINY,
        open_cache,
        open_clips,
        open_model,
        open_neighbors,
        parse_methods,
        set_classes,
        spoken_name,
    )

    if output.output_dir is None:
        raise AlmPromptError("--output-dir is missing; name the folder for the benchmark's rows and table")
    clips = open_clips(data)
    base, novel = base_novel_classes(data.classes or clips.class_names)
    neighbors = open_neighbors(benchmark.neighbors, base, held_out=novel)
    methods = parse_methods(benchmark.methods, benchmark.method_options, neighbors, training.encoder_mode)
    alm, processor = open_model(model.model or TINY, model)
    set_classes(alm, data.classes or clips.class_names, model)
    name = Path(data.data).stem
    dataset = AudioDataset.from_clips(name, clips.select(labels=alm.class_names))
    folder = Path(output.output_dir)
    start = time.perf_counter()
    result = run_benchmark(
        alm,
        processor,
        dataset,
        methods,
        seeds=benchmark.seeds,
        folds=data.folds,
        shots=training.shots,
        allow_fewer=training.allow_fewer,
        training_args=training.trainer_arguments(),
        cache=open_cache(model),
        output_dir=folder,
        overwrite=output.overwrite,
    )
    title = f"Base to novel: {model.model or TINY} on {name}"
    result.save(folder, title)
    settings = {**vars(benchmark), **vars(model), **vars(data), **vars(training)}
    _record(folder, settings, benchmark.seeds, time.perf_counter() - start, training.encoder_mode, alm)
    written = ", ".join(sorted(path.name for path in folder.glob("[!.]*")))
    print(f"\nBase to novel: {name}; {spoken_name(model.model)}\n\n{markdown_table(result.summaries)}\n\n{COLUMNS}")
    print(f"written to {folder}: {written}; {TABLE_NAME} also compares with zero-shot and explains every column")


def _accuracy(
    adapter: str | None, model: CachedModelOptions, data: DataOptions, output: RunOptions, record: bool
) -> None:
    from ..data import Split
    from ..evaluation import accuracy, macro_f1
    from ..evaluation.rows import RESULTS_NAME
    from ..hub import record_results
    from .loading import spoken_name
    from .run_folder import MEASUREMENT_PARTS, open_output_dir

    start = time.perf_counter()
    classifier, predictions, clips = classify(adapter, model, data)
    references = clips.label_ids(classifier.class_names)
    results: dict[str, Any] = {
        "accuracy": accuracy(predictions, references),
        "macro_f1": macro_f1(predictions, references),
        "clips": len(references),
        "classes": classifier.class_names,
    }
    print(
        f"accuracy {100 * results['accuracy']:.1f} %, macro F1 {100 * results['macro_f1']:.1f} % "
        f"on {len(references)} clips of {len(classifier.class_names)} classes"
        + ("" if adapter else f"; zero-shot, {spoken_name(model.model)}")
    )
    if record:
        figures = {name: results[name] for name in ("accuracy", "macro_f1")}
        how = f"{len(references)} clips of {len(classifier.class_names)} classes"
        measured = Split(clips[:0], clips, tuple(classifier.class_names), (), fold=None, seed=0, shots=0)
        record_results(adapter, figures, dataset=Path(data.data).name, split=measured.hash, protocol=how)
    if output.output_dir is not None:
        folder = Path(output.output_dir)
        open_output_dir(folder, MEASUREMENT_PARTS, overwrite=output.overwrite)
        write_whole(folder / RESULTS_NAME, json.dumps(results, indent=2, ensure_ascii=False) + "\n")
        settings = {"adapter": adapter, **vars(model), **vars(data)}
        encoder_mode = classifier.class_head.encoder_mode
        _record(folder, settings, [], time.perf_counter() - start, encoder_mode, classifier, results)


def classify(adapter: str | None, model: CachedModelOptions, data: DataOptions) -> tuple[Any, list[int], AudioClips]:
    """Classify the clips that an adapter was not trained on.

    Args:
        adapter: folder or Hub id of an adapter; `None` for zero-shot.
        model: the model.
        data: the clips.

    Returns:
        The classifier, per clip the index of the predicted class, and the clips.

    Raises:
        AlmPromptError: something cannot be opened, all clips were in training, or one recording has two labels.
    """
    from ..data import check_labels
    from ..evaluation import predict_features
    from .loading import check_several, open_cache, open_classifier, open_clips, take_side

    clips = take_side(open_clips(data), data, "test")
    check_several(data.classes or clips.class_names)
    classifier, processor = open_classifier(adapter, model, data.classes or clips.class_names)
    clips = _not_trained_on(clips.select(labels=classifier.class_names), adapter)
    check_labels(clips)
    cache = open_cache(model, keep=classifier.class_head.encoder_mode == "frozen")
    predictions = predict_features(classifier, cache.features(classifier, processor, clips))
    return classifier, predictions, clips


def _not_trained_on(clips: AudioClips, adapter: str | None) -> AudioClips:
    """The clips whose audio the adapter has not seen in training, as far as that is known."""
    from ..audio.waveform import content_hash
    from ..data import AudioClips
    from .run_folder import read_settings

    if adapter is None:
        return clips
    settings = read_settings(Path(adapter).parent) or {}
    if "trained_on" not in settings:
        print("no settings.json beside the adapter: it may have been trained on some of these clips", file=sys.stderr)
        return clips
    seen = set(settings["trained_on"])
    unseen = AudioClips((clip for clip in clips if content_hash(clip.source) not in seen), clips.class_names)
    if len(unseen) < len(clips):
        print(f"{len(clips) - len(unseen)} clips that the adapter was trained on are left out")
    if len(unseen) == 0:
        raise AlmPromptError("the adapter was trained on all of these clips; give others with --data")
    return unseen


def _record(
    folder: Path,
    settings: dict[str, Any],
    seeds: list[int],
    seconds: float,
    encoder_mode: str,
    model: Any,
    results: dict[str, Any] | None = None,
) -> None:
    from ..training import RunRecord

    paths = sorted(map(str, model.alm.text_tower.paths_taken))
    RunRecord(settings, seeds, seconds, encoder_mode, text_paths=paths, results=results or {}).save(folder)
