"""The pre-training example runs on the sound world and on a CSV file, and what it writes opens."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from alm_prompt import AlmForAudioClassification, AlmProcessor
from alm_prompt.data.world import write_world

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "pretrain_contrastive.py"
SETTINGS = "--width 32 --max_steps 2 --per_device_train_batch_size 4 --report_to none --save_strategy no --use_cpu"


def pretrain(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, *arguments, *SETTINGS.split()])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def assert_opens(folder: Path) -> None:
    model = AlmForAudioClassification.from_pretrained(folder, class_names=["bell", "rain"])
    features = AlmProcessor.from_pretrained(folder)(audio=np.full(100, 0.1), sampling_rate=16_000)
    assert model(**features).logits.shape == (1, 2)


def test_sound_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pretrain(monkeypatch, "--world", "--pairs", "8", "--output_dir", str(tmp_path))
    assert_opens(tmp_path)


def test_own_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clips = write_world(tmp_path / "audio", per_class=1)
    rows = [f'audio/{clip.clip_id},"a recording of {clip.label}, far away"' for clip in clips]
    (tmp_path / "pairs.csv").write_text("\n".join(["path,caption", *rows]), encoding="utf-8")
    pretrain(monkeypatch, "--csv", str(tmp_path / "pairs.csv"), "--output_dir", str(tmp_path / "alm"))
    assert_opens(tmp_path / "alm")


@pytest.mark.parametrize("arguments", [(), ("--world", "--csv", "pairs.csv")])
def test_exactly_one_source_of_pairs(arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SystemExit, match=r"give either --csv pairs\.csv or --world"):
        pretrain(monkeypatch, *arguments, "--output_dir", str(tmp_path))
