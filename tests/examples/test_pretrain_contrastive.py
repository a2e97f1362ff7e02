"""The pre-training example runs on the sound world and on a CSV file, and what it writes opens."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alm_prompt import AlmForAudioClassification, AlmProcessor
from alm_prompt.data.world import write_world
from alm_prompt.prompts import descriptions

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "pretrain_contrastive.py"
SETTINGS = "--width 32 --max_steps 2 --per_device_train_batch_size 4 --report_to none --use_cpu --save_strategy"


def pretrain(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, *arguments, *SETTINGS.split(), "no"])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def assert_opens(folder: Path) -> None:
    model = AlmForAudioClassification.from_pretrained(folder, class_names=["bell", "rain"])
    features = AlmProcessor.from_pretrained(folder)(audio=np.full(100, 0.1), sampling_rate=16_000)
    assert model(**features).logits.shape == (1, 2)


def test_sound_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pretrain(monkeypatch, "--world", "--pairs", "8", "--output_dir", str(tmp_path))
    assert_opens(tmp_path)


@pytest.fixture
def own_pairs(tmp_path: Path) -> list[str]:
    """The sounds of a folder with captions, and the shipped descriptions as rewrites of them."""
    clips = write_world(tmp_path / "audio", per_class=1)
    captions = {clip.clip_id: f"a recording of {clip.label}, far away" for clip in clips}
    rows = [f'audio/{clip_id},"{caption}"' for clip_id, caption in captions.items()]
    (tmp_path / "pairs.csv").write_text("\n".join(["path,caption", *rows]), encoding="utf-8")
    rewrites = {captions[clip.clip_id]: descriptions("world")[clip.label] for clip in clips}
    (tmp_path / "rewrites.json").write_text(json.dumps(rewrites), encoding="utf-8")
    return ["--csv", str(tmp_path / "pairs.csv"), "--rewrites", str(tmp_path / "rewrites.json")]


def test_own_csv(own_pairs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pretrain(monkeypatch, *own_pairs, "--output_dir", str(tmp_path / "alm"))
    assert_opens(tmp_path / "alm")
    tokenizer = AlmProcessor.from_pretrained(tmp_path / "alm").tokenizer
    assert len(tokenizer.tokenize("hedge")) == 1  # a word of a rewrite, in no caption
    pretrain(monkeypatch, *own_pairs[:2], "--output_dir", str(tmp_path / "plain"))
    assert len(AlmProcessor.from_pretrained(tmp_path / "plain").tokenizer.tokenize("hedge")) > 1


@pytest.mark.slow
def test_two_processes(own_pairs: list[str], tmp_path: Path, torchrun: Callable[..., None]):
    torchrun(SCRIPT, *own_pairs, "--output_dir", str(tmp_path / "alm"), *SETTINGS.split(), "steps")
    states = {path.name for path in (tmp_path / "alm" / "checkpoint-2").glob("rng_state*")}
    assert states == {"rng_state_0.pth", "rng_state_1.pth"}
    assert_opens(tmp_path / "alm")


@pytest.mark.parametrize("arguments", [(), ("--world", "--csv", "pairs.csv")])
def test_exactly_one_source_of_pairs(arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SystemExit, match=r"give either --csv pairs\.csv or --world"):
        pretrain(monkeypatch, *arguments, "--output_dir", str(tmp_path))
