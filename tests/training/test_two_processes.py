"""Two processes train and measure what one process does, also where the clips do not fill the last batch."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from alm_prompt import AlmPromptError
from alm_prompt.models import AlmForAudioClassification
from alm_prompt.training import AlmTrainer
from alm_prompt.training.ragged import own_clips

SCRIPT = Path(__file__).with_name("two_processes.py")


@pytest.mark.slow
def test_two_processes_equal_one(
    tiny_alm: AlmForAudioClassification, clips: list[dict[str, Any]], torchrun: Callable[..., None], tmp_path: Path
) -> None:
    method = "coop+zebra"
    tiny_alm.save_pretrained(tmp_path / "model")
    (tmp_path / "class_names.json").write_text(json.dumps(tiny_alm.class_names))
    tensors = {
        "features": torch.stack([clip["audio_features"] for clip in clips[:13]]),
        "labels": torch.tensor([clip["labels"] for clip in clips[:13]]),
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
        for name in ("loss", "cross_entropy", "entropy", "small"):
            assert two[name] == pytest.approx(one[name], abs=1e-5)
    one, two = (record["metrics"] for record in records)
    assert two["eval_accuracy"] == one["eval_accuracy"]
    assert two["eval_clips"] == one["eval_clips"] == 13
    assert two["eval_loss"] == pytest.approx(one["eval_loss"], abs=1e-6)


@pytest.mark.parametrize("clips", [1, 3, 4, 5, 8, 9, 13])
def test_every_clip_of_the_last_batch_is_of_one_process(clips: int) -> None:
    shares = [own_clips(clips, 4, rank, 2) for rank in range(2)]
    assert sum(shares) == (clips % 8 or 8)
    assert shares[0] == min(sum(shares), 4)


def test_processes_that_would_train_alone_are_refused(
    prompted: Callable, arguments: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = arguments()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(AlmPromptError, match=r"2 processes were started, but each would train alone; .*--use_cpu"):
        AlmTrainer(model=prompted(), args=args)
