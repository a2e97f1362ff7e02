"""Few-shot training and encoding with a tiny model of random weights, cheap enough to be done many times."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from peft import PeftModel, get_peft_model

from alm_prompt.methods import PromptConfig, parse_method
from alm_prompt.models import AlmForAudioClassification
from alm_prompt.models.processing import AlmFeatureExtractor, AlmProcessor
from alm_prompt.training import AlmTrainingArguments, AudioFeatureCache

RATE = 8_000
FRONT_END = {"sampling_rate": RATE, "n_fft": 256, "win_length": 256, "hop_length": 80, "n_mels": 64, "f_max": 4_000}


@pytest.fixture(scope="session", autouse=True)
def short_garbage_collections() -> None:
    """Take what is imported out of garbage collection, which `Trainer` does in full whenever a training starts."""
    gc.freeze()


@pytest.fixture
def method_config() -> Callable[[str], PromptConfig]:
    """Build the config of a method with a short context."""
    return lambda method="coop": parse_method(method, {"coop.n_ctx": 3})


@pytest.fixture
def prompted(
    make_tiny_alm: Callable[..., AlmForAudioClassification], method_config: Callable[[str], PromptConfig]
) -> Callable[..., PeftModel]:
    """Build a tiny model with a fresh adapter, the same numbers every time."""

    def build(method: str = "coop", adapter_name: str = "default") -> PeftModel:
        torch.manual_seed(1)
        return get_peft_model(make_tiny_alm(), method_config(method), adapter_name=adapter_name)

    return build


@pytest.fixture
def clips(tiny_alm: AlmForAudioClassification) -> list[dict[str, Any]]:
    """16 clips as audio features, of the size and spread that the tiny model's own have."""
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(16, tiny_alm.config.projection_dim, generator=generator)
    return [{"audio_features": row, "labels": i % len(tiny_alm.class_names)} for i, row in enumerate(features)]


@pytest.fixture
def arguments(tmp_path: Path) -> Callable[..., AlmTrainingArguments]:
    """Arguments for a short silent run that writes nothing."""

    def build(**settings: Any) -> AlmTrainingArguments:
        settings = {
            "output_dir": str(tmp_path / "run"),
            "num_train_epochs": 3,
            "save_strategy": "no",
            "logging_strategy": "no",
            "disable_tqdm": True,
            "use_cpu": True,
        } | settings
        return AlmTrainingArguments(**settings)

    return build


@pytest.fixture
def learned() -> Callable[[PeftModel], torch.Tensor]:
    """Read all trained numbers of a model as one vector."""
    return lambda model: torch.cat([p.detach().flatten().clone() for p in model.parameters() if p.requires_grad])


class CountingProcessor:
    """A processor that counts the clips it is given, and can end its process at one of them."""

    def __init__(self, processor: AlmProcessor, kill_at: int | None = None) -> None:
        self.processor = processor
        self.feature_extractor = processor.feature_extractor
        self.kill_at = kill_at
        self.count = 0

    def __call__(self, audio: Any) -> Any:
        self.count += 1
        if self.count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.processor(audio=audio)


@pytest.fixture
def write_clip() -> Callable[..., None]:
    """Write a wav file of noise that depends on its seed."""

    def write(path: Path, seed: int, seconds: float = 0.3) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).normal(scale=0.1, size=int(seconds * RATE)).astype(np.float32)
        soundfile.write(path, noise, RATE)

    return write


@pytest.fixture
def sounds(tmp_path: Path, write_clip: Callable[..., None]) -> Path:
    """A folder of five clips in two classes."""
    for seed in range(5):
        write_clip(tmp_path / "sounds" / ("dog" if seed % 2 else "rain") / f"{seed}.wav", seed, 0.2 + 0.05 * seed)
    return tmp_path / "sounds"


@pytest.fixture
def new_processor(tiny_alm: AlmForAudioClassification) -> Callable[..., CountingProcessor]:
    """Make a counting processor for the tiny model."""

    def make(kill_at: int | None = None, **settings: Any) -> CountingProcessor:
        extractor = AlmFeatureExtractor(**({"clip_seconds": 0.5} | FRONT_END | settings))
        return CountingProcessor(AlmProcessor(extractor, tiny_alm.tokenizer), kill_at)

    return make


@pytest.fixture
def cache(tmp_path: Path) -> AudioFeatureCache:
    """An empty cache of its own."""
    return AudioFeatureCache(tmp_path / "cache")


@pytest.fixture
def shards(cache: AudioFeatureCache) -> Callable[[], list[Path]]:
    """List the files of the cache."""
    return lambda: sorted(cache.cache_dir.rglob("*.safetensors"))
