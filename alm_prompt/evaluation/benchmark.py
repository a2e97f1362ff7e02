"""The base-to-novel benchmark: methods x seeds x folds on one frozen model, in the separate and generalised form."""

from __future__ import annotations

import copy
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import get_peft_model
from tqdm.auto import tqdm
from transformers import PrinterCallback, set_seed

from ..data.collate import AlmCollator, FeatureDataset
from ..data.splits import Split, base_to_novel_split
from ..data.splits import folds as fold_names
from ..errors import AlmPromptError
from ..training import AlmTrainer, AlmTrainingArguments, AudioFeatureCache
from ..training.feature_cache import encoder_fingerprint
from .metrics import accuracy, harmonic_mean
from .report import MethodSummary, markdown_report, summarise
from .rows import RowStore, write_text

if TYPE_CHECKING:
    from peft import PeftConfig

    from ..data.sources import AudioClips
    from ..models.modeling import AlmForAudioClassification
    from ..models.processing import AlmProcessor

# Clips classified in one forward pass; the class prompts are encoded once per pass.
EVAL_BATCH = 512
ENCODER_MODE = "frozen"


@dataclass(frozen=True)
class BenchmarkResult:
    """What a benchmark measured.

    Attributes:
        rows: one per (method, seed, fold). Accuracies are fractions: `base`, `novel`, `h` (separate form), `base_g`,
            `novel_g`, `h_g` (generalised form), `novel_to_base` (share of novel clips given to a base class); with
            `trainable_parameters`, `seconds`, `split_hash`, `shots`, `base_classes`, `novel_classes`,
            `encoder_mode`, `template`, `logit_scale` and the method's `config`.
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
        write_text(folder / "results.json", json.dumps(summaries, indent=2, ensure_ascii=False) + "\n")
        write_text(folder / "table.md", self.markdown(title))


@dataclass(frozen=True)
class _Features:
    """Audio features of all clips, found by clip."""

    features: torch.Tensor
    position: dict[str, int]

    def of(self, clips: AudioClips) -> torch.Tensor:
        return self.features[[self.position[clip.clip_id] for clip in clips]]


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

    The encoders stay frozen and are shared by all runs; their audio features are computed once. Nothing is chosen by
    looking at test clips: the parameters after the last epoch are measured. Protocol: base classes are the
    alphabetically first ceil(n/2); separate form as in SEPT (arXiv 2601.20867), generalised form over all classes.

    Args:
        model: the zero-shot model; it comes back without an adapter.
        processor: its processor.
        clips: all clips of the data set, with their folds if it has any.
        methods: PEFT config per label; `None` is zero-shot.
        seeds: seeds of the shots, of the initial values and of the order of the clips.
        folds: names of the folds to hold out in turn; `None` takes all.
        shots: training clips per base class.
        allow_fewer: take all clips of a class that has fewer than `shots`, instead of refusing.
        training_args: fields of [`AlmTrainingArguments`] that differ from the published recipe.
        cache: cache of audio features; `None` takes the default one.
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
    splits = {
        (seed, fold): base_to_novel_split(clips, fold, shots, seed, allow_fewer) for seed in seeds for fold in held_out
    }
    template = model.config.template if model.class_bank is None else model.class_bank.template
    common = {"shots": shots, "encoder_mode": ENCODER_MODE, "template": template}
    identity = [model.name_or_path, encoder_fingerprint(model.alm), dict(training_args or {})]
    encoded: _Features | None = None
    rows = []
    runs = [(label, seed, fold) for label in methods for seed in seeds for fold in held_out]
    for label, seed, fold in tqdm(runs, desc="Benchmark", unit="run", disable=not progress):
        split = splits[seed, fold]
        # Putting an adapter on a model fills in its config; each run starts from the one that was given.
        config = copy.deepcopy(methods[label])
        settings = _digest(config, common, split.hash, identity)
        row = store.find(label, seed, fold, settings)
        if row is None:
            if encoded is None:
                encoded = _encode(cache, model, processor, clips, progress)
            row = {"method": label, "seed": seed, "fold": fold, "settings": settings, **common}
            row |= _run(model, encoded, split, config, template, dict(training_args or {}))
            store.add(row)
        rows.append(row)
    result = BenchmarkResult(rows)
    if output_dir is not None:
        result.save(output_dir)
    return result


def _checked_folds(clips: AudioClips, wanted: Sequence[str] | None) -> list[str | None]:
    present: list[str | None] = list(fold_names(clips)) or [None]
    if wanted is None:
        return present
    for fold in wanted:
        if fold not in present:
            raise AlmPromptError(f"no fold {fold!r} in the data; its folds: {', '.join(map(str, present))}")
    return list(dict.fromkeys(wanted))


def _encode(
    cache: AudioFeatureCache,
    model: AlmForAudioClassification,
    processor: AlmProcessor,
    clips: AudioClips,
    progress: bool,
) -> _Features:
    features = cache.features(model, processor, clips, progress=progress)
    return _Features(features, {clip.clip_id: position for position, clip in enumerate(clips)})


def _digest(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, default=_jsonable)
    return hashlib.sha256(text.encode()).hexdigest()


def _jsonable(value: Any) -> Any:
    return value.to_dict() if hasattr(value, "to_dict") else sorted(value) if isinstance(value, set) else str(value)


def _run(
    model: AlmForAudioClassification,
    encoded: _Features,
    split: Split,
    config: PeftConfig | None,
    template: str,
    training_args: dict[str, Any],
) -> dict[str, Any]:
    """Train and measure one method on one split."""
    start = time.perf_counter()
    options = json.loads(json.dumps(config, default=_jsonable))
    logit_scale = getattr(config, "logit_scale", None) or model.alm.logit_scale.exp().item()
    with _adapted(model, config, split, template) as (adapted, parameters):
        if parameters:
            labels = split.train.label_ids(split.base_classes)
            _train(adapted, encoded.of(split.train), labels, split.seed, training_args)
        scores = _measure(adapted, encoded, split, template)
    return {
        **scores,
        "trainable_parameters": parameters,
        "seconds": time.perf_counter() - start,
        "split_hash": split.hash,
        "base_classes": list(split.base_classes),
        "novel_classes": list(split.novel_classes),
        "logit_scale": logit_scale,
        "config": options,
    }


@contextmanager
def _adapted(
    model: AlmForAudioClassification, config: PeftConfig | None, split: Split, template: str
) -> Iterator[tuple[Any, int]]:
    """The model with the base classes and, for a while, an adapter; with its number of trainable parameters."""
    model.set_classes(split.base_classes, template=template)
    if config is None:
        yield model, 0
        return
    set_seed(split.seed)
    adapted = get_peft_model(model, config)
    try:
        yield adapted, adapted.get_nb_trainable_parameters()[0]
    finally:
        adapted.unload()


def _train(
    model: torch.nn.Module, features: torch.Tensor, labels: Sequence[int], seed: int, training_args: dict[str, Any]
) -> None:
    quiet = {"save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True, "dataloader_pin_memory": False}
    with tempfile.TemporaryDirectory() as folder:
        args = AlmTrainingArguments(output_dir=folder, **{**quiet, **training_args, "seed": seed})
        trainer = AlmTrainer(
            model=model, args=args, train_dataset=FeatureDataset(features, labels), data_collator=AlmCollator()
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def _measure(model: Any, encoded: _Features, split: Split, template: str) -> dict[str, float]:
    """Accuracy in both forms: each half among its own classes, then every clip among all classes."""
    base, novel = list(split.base_classes), list(split.novel_classes)
    base_clips, novel_clips = split.test.select(labels=base), split.test.select(labels=novel)
    model.eval()

    def predict(clips: AudioClips, classes: list[str]) -> list[int]:
        model.set_classes(classes, template=template)
        return predict_features(model, encoded.of(clips))

    def correct(clips: AudioClips, classes: list[str]) -> float:
        return accuracy(predict(clips, classes), clips.label_ids(classes))

    novel_among_all = predict(novel_clips, base + novel)
    scores = {
        "base": correct(base_clips, base),
        "novel": correct(novel_clips, novel),
        "base_g": correct(base_clips, base + novel),
        "novel_g": accuracy(novel_among_all, novel_clips.label_ids(base + novel)),
        "novel_to_base": sum(label < len(base) for label in novel_among_all) / len(novel_among_all),
    }
    return scores | {
        "h": harmonic_mean(scores["base"], scores["novel"]),
        "h_g": harmonic_mean(scores["base_g"], scores["novel_g"]),
    }


@torch.no_grad()
def predict_features(model: Any, features: torch.Tensor) -> list[int]:
    """Most likely class of every clip.

    Args:
        model: a model with its classes set, with or without an adapter, in eval mode.
        features: `[N, d]` audio features from [`AudioFeatureCache`].

    Returns:
        `N` indices into the model's class names.
    """
    device = next(model.parameters()).device
    batches = features.to(device).split(EVAL_BATCH)
    return [index for batch in batches for index in model(audio_features=batch).logits.argmax(dim=-1).tolist()]
