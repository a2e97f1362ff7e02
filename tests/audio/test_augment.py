"""Views of a clip: what they are made of, and that they are always the same."""

from __future__ import annotations

import math

import pytest
import torch

from alm_prompt.audio import audio_views


def wave(samples=400, seed=0):
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def explained(view, clip):
    """Gain in dB and signal-to-noise ratio in dB of the crop of the clip that fits a view best."""
    best = (0.0, -math.inf)
    for start in range(len(clip) - len(view) + 1):
        crop = clip[start : start + len(view)]
        factor = (view @ crop) / (crop @ crop)
        noise = (view - factor * crop).square().mean()
        if factor > 0:
            snr = 10 * math.log10((factor * crop).square().mean() / noise)
            best = max(best, (20 * math.log10(factor), snr), key=lambda fit: fit[1])
    return best


def test_the_first_view_is_the_clip_and_the_others_are_crops_with_gain_and_noise():
    clip = wave()
    first, *others = audio_views(clip, 40)
    assert torch.equal(first, clip)
    assert len(others) == 39
    lengths = [len(view) for view in others]
    assert 200 <= min(lengths) < 240 and 360 < max(lengths) <= 400
    gains, snrs = zip(*(explained(view, clip) for view in others), strict=True)
    assert -6.1 <= min(gains) < -4 and 4 < max(gains) <= 6.1
    # The power of a few hundred samples of noise is within a decibel of its mean.
    assert 19 <= min(snrs) < 24 and 36 < max(snrs) <= 41


def test_same_samples_and_seed_give_the_same_views():
    views = audio_views(wave(), 5, seed=3)
    again = audio_views(wave(), 8, seed=3)[:5]
    assert all(torch.equal(view, other) for view, other in zip(views, again, strict=True))
    for different in (audio_views(wave(), 5, seed=4), audio_views(wave(seed=1), 5, seed=3)):
        assert not any(torch.equal(view, other) for view, other in zip(views[1:], different[1:], strict=True))


def test_the_global_random_state_plays_no_part():
    torch.manual_seed(0)
    views = audio_views(wave(), 3)
    state = torch.get_rng_state()
    assert all(torch.equal(view, other) for view, other in zip(views, audio_views(wave(), 3), strict=True))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("clip", [torch.zeros(50), torch.tensor([0.5]), torch.tensor([0.0])])
def test_silence_and_a_single_sample_are_audio_like_any_other(clip):
    views = audio_views(clip, 4)
    assert all(len(view) >= 1 and torch.isfinite(view).all() for view in views)
    if not clip.any():
        assert not any(view.any() for view in views)
    assert len(audio_views(clip, 1)) == 1
