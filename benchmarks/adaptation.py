"""Test-time adaptation on real audio, with yamnet-minilm: whether it helps.

    python benchmarks/adaptation.py --backbone ../shared/backbones/yamnet-minilm \
        --data ../shared/data/esc10 --output benchmarks/results/adaptation/esc10.json
    python benchmarks/adaptation.py --backbone ../shared/backbones/yamnet-minilm \
        --data ../shared/data/drums --output benchmarks/results/adaptation/drums.json

A CoOp context of words is adapted to `--clips` clips drawn at random, in random order; all classes are asked. Two
readings of the paper are measured: adapt to every clip (or five at a time) and predict the same clips; and adapt once
to one clip (or five) and predict all clips of the data set but these. The constants are those of TPT, none is tuned.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel, get_peft_model
from yamnet_minilm import open_yamnet_minilm

from alm_prompt import (
    AlmForAudioClassification,
    AlmProcessor,
    AudioFeatureCache,
    CoOpPromptConfig,
    TtaPromptConfig,
    adapt,
    predict_adapted,
    view_features,
)
from alm_prompt.data import AudioClips, load_clips
from alm_prompt.versions import installed_versions

WORDS = "This is a sound of"
MODES = {"one": 1, "five": 5}


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Percentage of clips whose likeliest class is their own."""
    return 100 * (logits.argmax(dim=-1) == labels).float().mean().item()


@contextmanager
def fresh_adapter(alm: AlmForAudioClassification, clips: int) -> Iterator[PeftModel]:
    """The model with an unadapted adapter, for a while."""
    model = get_peft_model(alm, TtaPromptConfig(prompt=CoOpPromptConfig(ctx_init=WORDS), clips=clips))
    try:
        yield model
    finally:
        model.unload()


def per_clip(
    alm: AlmForAudioClassification, size: int, views: torch.Tensor, labels: torch.Tensor, keep: bool
) -> float:
    """Adapt to the clips, `size` at a time, and predict the same clips."""
    with fresh_adapter(alm, size) as model:
        return accuracy(predict_adapted(model, views, keep=keep), labels)


def once(
    alm: AlmForAudioClassification,
    size: int,
    views: torch.Tensor,
    drawn: np.ndarray,
    features: torch.Tensor,
    labels: torch.Tensor,
) -> dict[str, float]:
    """Adapt to `size` of the drawn clips and predict all clips but these; figures over all such groups."""
    scores = []
    for first in range(0, len(drawn), size):
        with fresh_adapter(alm, size) as model, torch.no_grad():
            adapt(model, views[first : first + size])
            others = np.setdiff1d(np.arange(len(labels)), drawn[first : first + size])
            scores.append(accuracy(model(audio_features=features[others]).logits, labels[others]))
    return {
        "mean_accuracy": statistics.mean(scores),
        "standard_deviation": statistics.stdev(scores),
        "lowest": min(scores),
        "highest": max(scores),
        "adaptations": len(scores),
    }


def measure(
    alm: AlmForAudioClassification, processor: AlmProcessor, clips: AudioClips, drawn: np.ndarray, seed: int
) -> dict[str, Any]:
    """All figures on one data set."""
    alm.set_classes(clips.class_names)
    labels = torch.tensor(clips.label_ids(clips.class_names))
    features = AudioFeatureCache(enabled=False).features(alm, processor, clips)
    with fresh_adapter(alm, 1) as model:
        config = model.peft_config["default"]
        views = view_features(model, processor, [clips[int(index)].source for index in drawn], seed=seed)
        with torch.no_grad():
            unadapted = model(audio_features=features).logits
            with model.disable_adapter():
                zero_shot = model(audio_features=features).logits
    return {
        **{name: getattr(config, name) for name in ("views", "confident_share", "learning_rate", "steps")},
        "all_clips": {
            "zero-shot": accuracy(zero_shot, labels),
            "unadapted": accuracy(unadapted, labels),
            **{f"adapted once, {name}": once(alm, n, views, drawn, features, labels) for name, n in MODES.items()},
        },
        "drawn": {
            "zero-shot": accuracy(zero_shot[drawn], labels[drawn]),
            "unadapted": accuracy(unadapted[drawn], labels[drawn]),
            **{name: per_clip(alm, n, views, labels[drawn], keep=False) for name, n in MODES.items()},
            **{f"{name}, kept": per_clip(alm, n, views, labels[drawn], keep=True) for name, n in MODES.items()},
        },
    }


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", type=Path, required=True, help="folder of yamnet-minilm")
    parser.add_argument("--data", type=Path, required=True, help="folder with metadata.csv and audio/")
    parser.add_argument("--clips", type=int, default=100, help="clips to adapt to, drawn at random; a multiple of 5")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw and of the views")
    parser.add_argument("--output", type=Path, required=True, help="JSON file for the figures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    alm, processor = open_yamnet_minilm(args.backbone)
    clips = load_clips(args.data)
    drawn = np.random.default_rng(args.seed).permutation(len(clips))[: args.clips]
    figures = {
        "data": args.data.name,
        "clips": len(clips),
        "classes": len(clips.class_names),
        "drawn_clips": len(drawn),
        "seed": args.seed,
        "words": WORDS,
        **measure(alm, processor, clips, drawn, args.seed),
        "versions": installed_versions(),
    }
    text = json.dumps(json.loads(json.dumps(figures), parse_float=lambda number: round(float(number), 3)), indent=2)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
