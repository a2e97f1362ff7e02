"""CLAP with feature fusion opens as it is: long clips are read whole, in four views, and nothing else changes."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import get_peft_model
from transformers import ClapFeatureExtractor, ClapProcessor

from alm_prompt import (
    AlmForAudioClassification,
    AlmProcessor,
    AlmPromptError,
    AlmTrainer,
    AlmTrainingArguments,
    AudioFeatureCache,
    CoOpPromptConfig,
    TtaPromptConfig,
    view_features,
)
from alm_prompt.data import AlmCollator, AudioClips, Clip, ClipDataset
from alm_prompt.models.processing import AlmFeatureExtractor

UNFUSED = runpy.run_path(str(Path(__file__).with_name("test_clap_checkpoint.py")))
RATE, CLASS_NAMES, SENTENCES = UNFUSED["RATE"], UNFUSED["CLASS_NAMES"], UNFUSED["SENTENCES"]


@pytest.fixture(scope="module")
def clap():
    extractor = ClapFeatureExtractor(truncation="fusion", frequency_min=50, max_length_s=2)
    model = UNFUSED["small_clap"](enable_fusion=True, fusion_type=None)
    return model, ClapProcessor(extractor, UNFUSED["small_tokenizer"]())


@pytest.fixture(scope="module")
def folder(clap, tmp_path_factory):
    path = tmp_path_factory.mktemp("fused-clap")
    for part in clap:
        part.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def opened(folder):
    model = AlmForAudioClassification.from_pretrained(folder, class_names=CLASS_NAMES)
    return model, AlmProcessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def clips():
    """A sweep of five seconds in noise, and half a second of it."""
    time = np.arange(5 * RATE) / RATE
    sweep = np.sin(2 * np.pi * (200 + 500 * time) * time) + 0.1 * np.random.default_rng(0).standard_normal(5 * RATE)
    return [sweep.astype(np.float32), sweep[: RATE // 2].astype(np.float32)]


@torch.no_grad()
def test_classifies_as_clap_itself_on_the_same_views(clap, opened, clips):
    reference, reference_processor = clap
    audio = reference_processor.feature_extractor(clips, sampling_rate=RATE, return_tensors="pt")
    assert audio["is_longer"].flatten().tolist() == [True, False]
    text = reference_processor.tokenizer(SENTENCES, padding=True, return_tensors="pt")
    expected = reference(**text, **audio).logits_per_audio
    unfused = reference(**text, **audio | {"is_longer": torch.zeros(2, 1)}).logits_per_audio
    assert (expected - unfused)[0].abs().max() > 0.01, "fusion must matter for this test to mean anything"
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]])
    output = opened[0](input_features=audio["input_features"].float(), feature_mask=mask)
    torch.testing.assert_close(output.logits, expected, rtol=0, atol=1e-5)


# Two seconds are a clip of the model, 480 samples are a frame: no more than a clip, a frame more, two, three, many.
@pytest.mark.parametrize("samples", [30_000, 96_000, 96_300, 96_480, 96_960, 97_440, 150_000, 240_000])
def test_views_are_those_of_clap_at_the_middle_of_what_it_draws_from(samples, clap, clips, monkeypatch):
    extractor = clap[1].feature_extractor
    monkeypatch.setattr(np.random, "choice", lambda starts: starts[len(starts) // 2])
    clip = clips[0][:samples]
    expected = extractor([clip, clips[0]], sampling_rate=RATE, return_tensors="pt")
    found = AlmFeatureExtractor.from_dict(extractor.to_dict())([clip, clips[0]], sampling_rate=RATE)
    torch.testing.assert_close(found["input_features"], expected["input_features"].float(), rtol=0, atol=1e-4)
    assert (found["feature_mask"].sum(dim=1) == 4).tolist() == expected["is_longer"].flatten().tolist()


@torch.no_grad()
def test_a_clip_is_the_same_alone_and_beside_others(opened, clips):
    model, processor = opened
    together = model.get_audio_features(**processor(audio=clips, sampling_rate=RATE))
    for clip, expected in zip(clips, together, strict=True):
        alone = model.get_audio_features(**processor(audio=clip, sampling_rate=RATE))
        torch.testing.assert_close(alone[0], expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_cache_collator_and_our_own_format_carry_the_views(opened, clips, tmp_path):
    model, processor = opened
    expected = model.get_audio_features(**processor(audio=clips, sampling_rate=RATE))
    sources = [{"array": clip, "sampling_rate": RATE} for clip in clips]
    labelled = AudioClips([Clip(source, "dog", str(number)) for number, source in enumerate(sources)])
    cached = AudioFeatureCache(tmp_path / "cache").features(model, processor, labelled, progress=False)
    torch.testing.assert_close(cached, expected, rtol=0, atol=1e-6)

    batch = AlmCollator(processor)([{"audio": source} for source in sources])
    torch.testing.assert_close(model.get_audio_features(**batch), expected, rtol=0, atol=1e-6)

    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    reopened = AlmForAudioClassification.from_pretrained(tmp_path / "model", class_names=CLASS_NAMES)
    features = AlmProcessor.from_pretrained(tmp_path / "model")(audio=clips, sampling_rate=RATE)
    assert torch.equal(reopened.get_audio_features(**features), expected)


@torch.no_grad()
def test_adaptation_at_test_time_hears_long_clips_as_the_model_does(folder, opened, clips):
    alm, processor = AlmForAudioClassification.from_pretrained(folder, class_names=CLASS_NAMES), opened[1]
    model = get_peft_model(alm, TtaPromptConfig(prompt=CoOpPromptConfig(n_ctx=2), views=3))
    features = view_features(model, processor, clips, sampling_rate=RATE, progress=False)
    expected = model.get_audio_features(**processor(audio=clips, sampling_rate=RATE))
    torch.testing.assert_close(features[:, 0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", ["frozen", "reference"])
def test_an_adapter_trains(mode, folder, opened, clips, tmp_path):
    alm, processor = AlmForAudioClassification.from_pretrained(folder, class_names=CLASS_NAMES), opened[1]
    sounds = [clips[0], clips[0][::-1], *clips]
    sources = [{"array": np.ascontiguousarray(sound), "sampling_rate": RATE} for sound in sounds]
    labels = [CLASS_NAMES[number % 2] for number in range(len(sources))]
    labelled = AudioClips(Clip(*pair, str(number)) for number, pair in enumerate(zip(sources, labels, strict=True)))
    model = get_peft_model(alm, CoOpPromptConfig(n_ctx=2, encoder_mode=mode))
    before = model.base_model.model.class_head.tensors("default")["context"].detach().clone()
    args = AlmTrainingArguments(str(tmp_path), num_train_epochs=1, use_cpu=True, save_strategy="no", disable_tqdm=True)
    dataset = ClipDataset(labelled, processor, model.class_names)
    AlmTrainer(model=model, args=args, train_dataset=dataset, data_collator=AlmCollator()).train()
    after = model.base_model.model.class_head.tensors("default")["context"]
    assert after.isfinite().all()
    assert not torch.equal(after, before)


def test_what_fusion_does_not_offer_is_refused(opened, clips):
    model, processor = opened
    with pytest.raises(AlmPromptError, match="reference=True: a front end with fusion"):
        processor(audio=clips, sampling_rate=RATE, reference=True)
    features = processor(audio=clips, sampling_rate=RATE)
    model.alm.train()
    try:
        with pytest.raises(AlmPromptError, match="batch norm needs two"):
            model.get_audio_features(**features)
    finally:
        model.eval()
    with pytest.raises(AlmPromptError, match="leave out fusion"):
        AlmFeatureExtractor(pad="patch", patch_frames=96, patch_hop=48, fusion=True)
