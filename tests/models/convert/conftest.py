"""Synthetic official checkpoints, each written and converted once."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from alm_prompt.models.convert.checkpoint import convert_checkpoint


def _module(name: str) -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name(f"{name}.py"))))


@dataclass(frozen=True)
class Checkpoint:
    """An official checkpoint, its tokenizer and what it was converted to."""

    weights: dict[str, torch.Tensor]
    source: Path
    tokenizer: Path
    folder: Path
    report: dict[str, Any]


@pytest.fixture(scope="session")
def layouts() -> SimpleNamespace:
    """The official layouts of checkpoints."""
    return _module("layouts")


@pytest.fixture(scope="session")
def official() -> SimpleNamespace:
    """The official models in plain torch."""
    return _module("official")


@pytest.fixture(scope="session")
def small_tokenizer() -> Callable[[str], Any]:
    """Makes the small tokenizer of a family."""
    return _module("small_tokenizers").small_tokenizer


@pytest.fixture(scope="session")
def converted(
    layouts: SimpleNamespace, small_tokenizer: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Checkpoint]:
    """Gives the checkpoint of a family with its conversion, which no test may change."""

    @cache
    def convert(family: str) -> Checkpoint:
        root = tmp_path_factory.mktemp(family)
        tokenizer = small_tokenizer(family)
        tokenizer.save_pretrained(root / "tokenizer")
        weights = layouts.official_weights(family, len(tokenizer))
        torch.save(layouts.WRAPPERS[family](weights), root / "official.pth")
        report = convert_checkpoint(family, root / "official.pth", root / "converted", root / "tokenizer")
        return Checkpoint(weights, root / "official.pth", root / "tokenizer", root / "converted", report)

    return convert
