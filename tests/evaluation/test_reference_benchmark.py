"""The benchmark with `encoder_mode="reference"`: trained and measured on audio, and labelled so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from alm_prompt import AlmProcessor, CoOpPromptConfig, run_benchmark
from alm_prompt.data import AudioClips, Clip
from alm_prompt.models.processing import AlmFeatureExtractor

RATE = 8_000
FRONT_END = {"sampling_rate": RATE, "n_fft": 256, "win_length": 256, "hop_length": 80, "n_mels": 64, "f_max": 4_000}
METHODS = {
    "zero-shot": None,
    "CoOp": CoOpPromptConfig(n_ctx=3),
    "CoOp (reference)": CoOpPromptConfig(n_ctx=3, encoder_mode="reference"),
}


@pytest.fixture
def processor(tiny_alm) -> AlmProcessor:
    return AlmProcessor(AlmFeatureExtractor(clip_seconds=0.5, **FRONT_END), tiny_alm.tokenizer)


@pytest.fixture
def clips() -> AudioClips:
    noise = np.random.default_rng(0).normal(scale=0.1, size=(32, RATE // 2)).astype(np.float32)
    return AudioClips(
        Clip(source={"array": wave, "sampling_rate": RATE}, label=name, clip_id=f"{name}-{number}", fold=None)
        for name, waves in zip(["cat", "dog", "rain", "siren"], noise.reshape(4, 8, -1), strict=True)
        for number, wave in enumerate(waves)
    )


def test_each_row_says_its_mode_and_the_model_comes_back_unchanged(tiny_alm, processor, clips) -> None:
    before = {name: value.clone() for name, value in tiny_alm.state_dict().items()}
    settings = {"seeds": (0,), "shots": 2, "training_args": {"max_steps": 3, "use_cpu": True}, "progress": False}
    result = run_benchmark(tiny_alm, processor, clips, METHODS, **settings)
    assert {row["method"]: row["encoder_mode"] for row in result.rows} == {
        "zero-shot": "frozen",
        "CoOp": "frozen",
        "CoOp (reference)": "reference",
    }
    assert [row["trainable_parameters"] for row in result.rows] == [0, 3 * 24, 3 * 24]
    assert "encoders frozen (zero-shot, CoOp), reference (CoOp (reference))" in result.markdown()
    assert all(torch.equal(value, before[name]) for name, value in tiny_alm.state_dict().items())
    alone = run_benchmark(tiny_alm, processor, clips, {"CoOp": METHODS["CoOp"]}, **settings)
    assert "encoders frozen;" in alone.markdown()
    assert alone.rows[0]["h_g"] == result.rows[1]["h_g"]


def test_test_clips_meet_the_drifted_statistics(tiny_alm, processor, clips, monkeypatch) -> None:
    measured = []
    monkeypatch.setattr(
        "alm_prompt.evaluation.run.predict_features",
        lambda model, features: measured.append(features) or [0] * len(features),
    )
    settings = {"seeds": (0,), "shots": 2, "training_args": {"max_steps": 3, "use_cpu": True}, "progress": False}
    for label in ("CoOp", "CoOp (reference)"):
        run_benchmark(tiny_alm, processor, clips, {label: METHODS[label]}, **settings)
    frozen, reference = (torch.cat(measured[start : start + len(measured) // 2]) for start in (0, len(measured) // 2))
    assert frozen.shape == reference.shape
    assert not torch.allclose(frozen, reference)
