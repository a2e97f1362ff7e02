"""The base-to-novel benchmark: methods x seeds x folds on one frozen model, in the separate and generalised form."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from ..cache import caching_in
from ..data.splits import Split, base_to_novel_split
from ..data.splits import folds as fold_names
from ..errors import AlmPromptError
from ..models.encoder_modes import FROZEN
from ..models.fingerprint import audio_fingerprint, text_fingerprint
from ..training import AudioFeatureCache
from .report import MethodSummary, markdown_report, summarise
from .rows import RESULTS_NAME, TABLE_NAME, RowStore, write_text
from .run import EncodedClips, train_and_measure

if TYPE_CHECKING:
    from peft import PeftConfig

    from ..data.sources import AudioClips
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
        write_text(folder / RESULTS_NAME, json.dumps(summaries, indent=2, ensure_ascii=False) + "\n")
        write_text(folder / TABLE_NAME, self.markdown(title))


def run_benchmark(
    model: AlmForAudioClassification,
    processor: AlmProcessor,
    clips: AudioClips,
    methods: Mapping[str, PeftConfig | None],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    folds: Sequence[str] | None = None,
    shots: int = 16,
    allow_fewer: bool = False,
    training_args: Mapping[str, Any] | None = None,
    cache: AudioFeatureCache | None = None,
    output_dir: str | Path | None = None,
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
        clips: all clips of the data set, with their folds if it has any.
        methods: PEFT config per label; `None` is zero-shot.
        seeds: seeds of the shots, of the initial values and of the order of the clips.
        folds: names of the folds to hold out in turn; `None` takes all.
        shots: training clips per base class.
        allow_fewer: take all clips of a class that has fewer than `shots`, instead of refusing.
        training_args: fields of [`AlmTrainingArguments`] that differ from the published recipe.
        cache: cache of audio features; `None` takes the default one. Methods keep what they compute once there, too.
        output_dir: folder for `rows.jsonl`, `results.json` and `table.md`. Runs that are finished there with the
            same settings are not repeated, so that a killed benchmark goes on where it was.
        progress: show progress bars.

    Returns:
        All rows, in the order methods, seeds, folds.

    Raises:
        AlmPromptError: no methods or seeds, an unknown fold, a class with too few clips, or an output folder that
            holds a run with other settings.
    """
    if not methods or not seeds:
        raise AlmPromptError("run_benchmark needs at least one method and one seed")
    cache = AudioFeatureCache() if cache is None else cache
    store = RowStore(output_dir)
    held_out = _checked_folds(clips, folds)
    splits = [base_to_novel_split(clips, fold, shots, seed, allow_fewer) for seed in seeds for fold in held_out]
    bank = model.class_bank
    template = model.config.template if bank is None else bank.template
    class_text = {"template": template, "descriptions": bank.descriptions or None if bank else None}
    fingerprints = [audio_fingerprint(model.alm), text_fingerprint(model.alm)]
    identity = [model.name_or_path, *fingerprints, dict(training_args or {}), class_text]
    runs = [_describe(label, methods[label], split, class_text, identity) for label in methods for split in splits]
    rows = [store.find(run) for run in runs]
    encoded = None if all(rows) else EncodedClips.encode(cache, model, processor, clips, progress)
    bar = tqdm(range(len(runs)), desc="Benchmark", unit="run", disable=not progress)
    for number in bar:
        if rows[number] is not None:
            continue
        run, split = runs[number], splits[number % len(splits)]
        say = partial(_say, bar, run)
        say("start")
        # Putting an adapter on a model fills in its config; each run starts from the one that was given.
        config = copy.deepcopy(methods[run["method"]])
        with caching_in(cache.folder):
            measured = train_and_measure(
                model, processor, encoded, split, config, class_text, training_args or {}, say
            )
        rows[number] = run | measured
        store.add(rows[number])
    result = BenchmarkResult(rows)
    if output_dir is not None:
        result.save(output_dir)
    return result


def _describe(
    label: str, config: PeftConfig | None, split: Split, class_text: Mapping[str, Any], identity: list[Any]
) -> dict[str, Any]:
    """What is known of a row before it is measured; `settings` tells whether an earlier row may stand for it."""
    run = {
        "method": label,
        "seed": split.seed,
        "fold": split.fold,
        "shots": split.shots,
        "encoder_mode": getattr(config, "encoder_mode", FROZEN),
        "template": class_text["template"],
        "described": class_text["descriptions"] is not None,
        "config": _as_json(config),
        "split_hash": split.hash,
    }
    text = json.dumps([run, identity], sort_keys=True)
    return run | {"settings": hashlib.sha256(text.encode()).hexdigest()}


def _say(bar: tqdm, run: Mapping[str, Any], word: str) -> None:
    fold = "" if run["fold"] is None else f", fold {run['fold']}"
    bar.set_postfix_str(f"{run['method']}, seed {run['seed']}{fold}, {word}")


def _checked_folds(clips: AudioClips, wanted: Sequence[str] | None) -> list[str | None]:
    present = fold_names(clips)
    if wanted is None:
        return list(present) or [None]
    for fold in wanted:
        if fold not in present:
            have = f"its folds: {', '.join(present)}" if present else "its clips carry no folds"
            raise AlmPromptError(f"no fold {fold!r} in the data; {have}")
    return list(dict.fromkeys(wanted))


def _as_json(config: PeftConfig | None) -> Any:
    """The settings of a method as they look after a round trip through a file."""
    settings = None if config is None else config.to_dict()
    return json.loads(
        json.dumps(settings, default=lambda value: sorted(value) if isinstance(value, set) else str(value))
    )
