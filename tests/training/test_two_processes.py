"""Two processes train what one process trains."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from alm_prompt.models import AlmForAudioClassification

SCRIPT = Path(__file__).with_name("two_processes.py")


@pytest.mark.slow
def test_two_processes_equal_one(
    tiny_alm: AlmForAudioClassification, clips: list[dict[str, Any]], torchrun: Callable[..., None], tmp_path: Path
) -> None:
    method = "coop+zebra"
    tiny_alm.save_pretrained(tmp_path / "model")
    (tmp_path / "class_names.json").write_text(json.dumps(tiny_alm.class_names))
    tensors = {
        "features": torch.stack([clip["audio_features"] for clip in clips]),
        "labels": torch.tensor([clip["labels"] for clip in clips]),
    }
    save_file(tensors, tmp_path / "clips.safetensors")
    adapters, records = [], []
    for processes, batch_size in ((1, 8), (2, 4)):
        if processes == 1:
            runpy.run_path(str(SCRIPT))["main"](tmp_path, method, batch_size)
        else:
            torchrun(SCRIPT, str(tmp_path), method, str(batch_size))
        run_dir = tmp_path / f"run-of-{batch_size}"
        adapters.append(load_file(run_dir / "adapter" / "adapter_model.safetensors"))
        records.append(json.loads((run_dir / "record.json").read_text()))
        assert records[-1]["world_size"] == processes
        expected = {f"rng_state_{rank}.pth" for rank in range(processes)} if processes > 1 else {"rng_state.pth"}
        assert {path.name for path in (run_dir / "checkpoint-6").glob("rng_state*")} == expected
    for name, tensor in adapters[0].items():
        torch.testing.assert_close(adapters[1][name], tensor, rtol=0, atol=1e-6)
    for one, two in zip(*(record["log"][:3] for record in records), strict=True):
        for name in ("loss", "cross_entropy", "entropy"):
            assert two[name] == pytest.approx(one[name], abs=1e-5)
