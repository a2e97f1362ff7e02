"""Adapters that earlier versions have saved load, and give the logits that they gave."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import torch

from alm_prompt import load_adapter

HERE = Path(__file__).parent
MAKE = runpy.run_path(str(HERE / "make.py"))
ADAPTERS = sorted(path.parent for path in HERE.glob("*/*/logits.json"))


def test_every_kind_of_method_is_there() -> None:
    versions = {folder.parent.name for folder in ADAPTERS}
    kinds = {stack.replace("+", "-") for stack in MAKE["STACKS"]}
    assert versions
    assert {(folder.parent.name, folder.name) for folder in ADAPTERS} == {(v, k) for v in versions for k in kinds}


@pytest.mark.parametrize("folder", ADAPTERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_same_logits(folder: Path) -> None:
    model = load_adapter(folder)
    with torch.no_grad():
        logits = model(audio_features=MAKE["audio_features"](model.config.projection_dim)).logits
    expected = torch.tensor(json.loads((folder / "logits.json").read_text()))
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)
