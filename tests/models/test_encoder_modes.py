"""Encoders of "reference" mode: what is lent to them for a while, where SpecAugment is, and that all is given back."""

import pytest
import torch
from transformers import ClapAudioConfig

from alm_prompt.models.audio_towers import build_audio_tower
from alm_prompt.models.encoder_modes import reference_encoders, running_statistics

SPECTROGRAMS = 3 + torch.randn(8, 1, 96, 64, generator=torch.Generator().manual_seed(0))


def copies(alm):
    return {name: value.clone() for name, value in running_statistics(alm).items()}


@pytest.fixture(params=["cnn", "htsat"])
def alm(request, tiny_alm):
    """A tiny dual encoder with one of the towers that have a batch norm over mel bins."""
    if request.param == "htsat":
        small = {"patch_embeds_hidden_size": 8, "hidden_size": 16, "depths": [1, 2], "num_attention_heads": [1, 2]}
        torch.manual_seed(0)
        tower = build_audio_tower(ClapAudioConfig(**small, hidden_dropout_prob=0.0))
        tiny_alm.alm.audio_tower = tower.eval()
    return tiny_alm.alm


@torch.no_grad()
@pytest.mark.parametrize("training", [True, False])
def test_spec_augment_comes_once_after_the_batch_norm_and_in_training_only(alm, training, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "alm_prompt.models.encoder_modes.spec_augment", lambda x: calls.append(x) or torch.zeros_like(x)
    )
    norm = alm.audio_tower.batch_norm
    with reference_encoders(alm, copies(alm), training):
        features = alm.audio_tower(SPECTROGRAMS)
    assert len(calls) == training
    if training:
        mean, variance = SPECTROGRAMS.mean(dim=(0, 1, 2)), SPECTROGRAMS.var(dim=(0, 1, 2), correction=0)
        expected = (SPECTROGRAMS - mean) / (variance + norm.eps).sqrt()
        torch.testing.assert_close(calls[0], expected, rtol=0, atol=1e-5)
        assert torch.equal(features, features[:1].expand_as(features)), "the tower must see what SpecAugment gives"
    assert not norm._forward_hooks


@torch.no_grad()
@pytest.mark.parametrize("training", [True, False])
def test_statistics_are_lent_and_everything_is_given_back(alm, training):
    own, before = running_statistics(alm), copies(alm)
    lent = {name: value + 1 for name, value in before.items()}
    start = {name: value.clone() for name, value in lent.items()}
    with pytest.raises(KeyError), reference_encoders(alm, lent, training):
        assert any(alm.audio_tower.batch_norm.running_mean is value for value in lent.values())
        alm.get_audio_features(SPECTROGRAMS)
        raise KeyError
    assert all(running_statistics(alm)[name] is value for name, value in own.items())
    assert all(torch.equal(value, before[name]) for name, value in own.items())
    assert all(torch.equal(lent[name], start[name]) != training for name in lent)
    assert not any(module.training for module in alm.modules())
    assert not alm.audio_tower.batch_norm._forward_hooks
