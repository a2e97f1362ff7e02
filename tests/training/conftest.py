"""Few-shot training on a tiny model with random weights, cheap enough to be done many times."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model

from alm_prompt.methods import PromptConfig, parse_method
from alm_prompt.models import AlmForAudioClassification
from alm_prompt.training import AlmTrainingArguments


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
