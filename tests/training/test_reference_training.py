"""Training and measuring with `encoder_mode="reference"`: on audio, never on cached features."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import get_peft_model

from alm_prompt import AlmPromptError, AlmTrainer, AudioFeatureCache, CoOpPromptConfig
from alm_prompt.data import AlmCollator, ClipDataset, load_folder


@pytest.fixture
def reference_model(make_tiny_alm):
    """Makes a tiny model with a fresh adapter in reference mode, the same numbers every time."""

    def make():
        torch.manual_seed(1)
        return get_peft_model(make_tiny_alm(), CoOpPromptConfig(n_ctx=3, encoder_mode="reference"))

    return make


@pytest.fixture
def train(arguments, new_processor, sounds):
    """Trains a model on the five clips for six steps; `resume` goes on with the run."""

    def run(model, resume=False, **settings):
        trainer = AlmTrainer(
            model=model,
            args=arguments(per_device_train_batch_size=3, **settings),
            train_dataset=ClipDataset(load_folder(sounds), new_processor(), model.class_names),
            data_collator=AlmCollator(),
        )
        trainer.train(resume_from_checkpoint=resume)
        return model

    return run


def adapter_tensors(model):
    return {name: value.clone() for name, value in model.state_dict().items() if "learned_" in name}


def test_a_resumed_run_ends_at_the_same_adapter_bitwise(reference_model, train):
    start = adapter_tensors(reference_model())
    whole = adapter_tensors(train(reference_model()))
    assert all(not torch.equal(whole[name], start[name]) for name in start)
    train(reference_model(), max_steps=3, save_strategy="steps", save_steps=3)
    resumed = adapter_tensors(train(reference_model(), resume=True, save_strategy="steps", save_steps=3))
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_test_clips_are_encoded_with_the_adapters_statistics(
    reference_model, train, new_processor, sounds: Path, tmp_path: Path
):
    model, clips, processor = train(reference_model()), load_folder(sounds), new_processor()
    model.train()
    before = adapter_tensors(model)
    cache = AudioFeatureCache(tmp_path / "cache", enabled=False)
    features = cache.features(model, processor, clips, progress=False)
    assert model.class_head.training and not (tmp_path / "cache").exists()
    assert all(torch.equal(value, before[name]) for name, value in adapter_tensors(model).items())
    model.eval()
    with torch.no_grad():
        expected = torch.cat([model.get_audio_features(**processor(audio=clip.source)) for clip in clips])
        assert torch.equal(features, expected)
        inputs = processor(audio=clips[0].source)
        assert torch.equal(model(audio_features=features[:1]).logits, model(**inputs).logits)
        with model.disable_adapter():
            zero_shot = AudioFeatureCache(tmp_path / "cache").features(model, processor, clips, progress=False)
    assert not torch.allclose(zero_shot, features)


def test_a_cache_refuses_such_an_adapter(reference_model, new_processor, sounds: Path, cache: AudioFeatureCache):
    model, processor = reference_model(), new_processor()
    with pytest.raises(AlmPromptError, match=r"encoder_mode='reference'.*enabled=False") as caught:
        cache.features(model, processor, load_folder(sounds), progress=False)
    assert "\n" not in str(caught.value)
    assert processor.count == 0
