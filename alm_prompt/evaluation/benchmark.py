"""The base-to-novel benchmark in Python: methods x seeds x folds on one frozen model, in both forms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data import AudioDataset, base_novel_classes, few_shot_split
from ..errors import AlmPromptError
from ..files import write_whole
from ..training import AudioFeatureCache
from .contestant import description_facts
from .grid import Run, check_training, chosen_folds
from .measures import BASE_TO_NOVEL
from .report import MethodSummary, markdown_report, summarise
from .rows import RESULTS_NAME, TABLE_NAME, RowStore, run_name
from .runner import Runner

if TYPE_CHECKING:
    from peft import PeftConfig

    from ..data import AudioClips
    from ..models import AlmForAudioClassification, AlmProcessor


@dataclass(frozen=True)
class BenchmarkResult:
    """What a benchmark measured.

    Attributes:
        rows: one per (method, seed, fold). Accuracies are fractions: `base`, `novel`, `h` (separate form), `base_g`,
            `novel_g`, `h_g` (generalised form), `novel_to_base` (share of novel clips given to a base class); with
            `trainable_parameters`, `seconds`, `split_hash`, `shots`, `base_classes`, `novel_classes`,
            `encoder_mode`, `template`, `described` (whether descriptions stand for the classes), `logit_scale` and
            the method's `config`.
    """

    rows: list[dict[str, Any]]

    @property
    def summaries(self) -> list[MethodSummary]:
        """One summary per method, see [`summarise`]."""
        return summarise(self.rows)

    def markdown(self, title: str = "Base to novel") -> str:
        """The report page, see [`markdown_report`]."""
        return markdown_report(self.rows, title)

    def save(self, folder: str | Path, title: str = "Base to novel") -> None:
        """Write `results.json` (summaries) and `table.md` into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        summaries = [asdict(summary) for summary in self.summaries]
        write_whole(folder / RESULTS_NAME, json.dumps(summaries, indent=2, ensure_ascii=False) + "\n")
        write_whole(folder / TABLE_NAME, self.markdown(title))


def run_benchmark(
    model: AlmForAudioClassification,
    processor: AlmProcessor,
    clips: AudioClips | AudioDataset,
    methods: Mapping[str, PeftConfig | None],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    folds: Sequence[str] | None = None,
    shots: int = 16,
    allow_fewer: bool = False,
    training_args: Mapping[str, Any] | None = None,
    cache: AudioFeatureCache | None = None,
    output_dir: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> BenchmarkResult:
    """Train every method on the base classes and measure it on base and novel classes.

    The encoders stay frozen and are shared by all runs; their audio features are computed once, but for a config with
    `encoder_mode="reference"`, which trains on the audio itself. Nothing is chosen by looking at test clips: the
    parameters after the last epoch are measured. Protocol: base classes are the alphabetically first ceil(n/2);
    separate form as in SEPT (arXiv 2601.20867), generalised form over all classes.

    Args:
        model: the zero-shot model; it comes back without an adapter. The template and descriptions of its classes
            hold for all runs.
        processor: its processor.
        clips: all clips of the data set, with their folds if it has any; or a data set, whose name then stands in
            the rows.
        methods: PEFT config per label; `None` is zero-shot.
        seeds: seeds of the shots, of the initial values and of the order of the clips.
        folds: names of the folds to hold out in turn; `None` takes all.
        shots: training clips per base class.
        allow_fewer: take all clips of a class that has fewer than `shots`, instead of refusing.
        training_args: fields of [`AlmTrainingArguments`] that differ from the published recipe.
        cache: cache of audio features; `None` takes the default one. Methods keep what they compute once there, too.
        output_dir: folder for `rows.jsonl`, `results.json` and `table.md`. Runs that are finished there with the
            same settings are not repeated, so that a killed benchmark goes on where it was.
        overwrite: forget the runs that are finished there, once the new ones are known to be possible.
        progress: show progress bars.

    Returns:
        All rows, in the order methods, seeds, folds.

    Raises:
        AlmPromptError: no methods or seeds, a seed twice, an unknown fold, a class with too few clips, a clip on two
            sides or one recording under two labels, an output folder that holds a run with other settings, or runs
            that failed, after all others were made.
    """
    if not methods or not seeds:
        raise AlmPromptError("run_benchmark needs at least one method and one seed")
    if len(set(seeds)) < len(seeds):
        raise AlmPromptError(f"run_benchmark got a seed twice in {list(seeds)}; name each once")
    check_training(training_args or {})
    dataset = clips if isinstance(clips, AudioDataset) else AudioDataset.from_clips("", clips)
    base, novel = base_novel_classes(dataset.class_names)
    splits = [
        few_shot_split(fold, base, novel, shots, seed, allow_fewer=allow_fewer, check_leaks=False)
        for seed in seeds
        for fold in chosen_folds(dataset, folds)
    ]
    bank = model.class_bank
    template = model.config.template if bank is None else bank.template
    described = bank.descriptions or None if bank else None
    class_text = {"template": template, "descriptions": described}
    facts = {
        "protocol": BASE_TO_NOVEL,
        "track": "own",
        "dataset": dataset.name or None,
        "class_rule": "alphabetical-halves",
        "shot_rule": "hashed",
        **(description_facts(described) if described else {}),
    }
    runs = [
        Run(facts, label, config, class_text, split, BASE_TO_NOVEL, training_args or {})
        for label, config in methods.items()
        for split in splits
    ]
    cache = AudioFeatureCache() if cache is None else cache
    runner = Runner(model, processor, runs, RowStore(output_dir, overwrite), cache)
    runner.run(progress)
    failures = runner.failures()
    if failures:
        which, why = run_name(failures[0]), failures[0]["error"]
        raise AlmPromptError(f"{len(failures)} of {len(runs)} runs failed; the first: {which}: {why}")
    result = BenchmarkResult(runner.rows())
    if output_dir is not None:
        result.save(output_dir)
    return result
