"""SpecAugment against torchlibrosa's `SpecAugmentation`, written out by hand."""

from __future__ import annotations

import pytest
import torch

from alm_prompt.audio.spec_augment import spec_augment


def drop_stripes(spectrograms: torch.Tensor, dim: int, drop_width: int, stripes_num: int) -> None:
    """`DropStripes.forward` of torchlibrosa 0.1.0."""
    for clip in range(spectrograms.shape[0]):
        for _ in range(stripes_num):
            distance = torch.randint(low=0, high=drop_width, size=(1,))[0]
            begin = torch.randint(low=0, high=spectrograms.shape[dim] - distance, size=(1,))[0]
            if dim == 2:
                spectrograms[clip, :, begin : begin + distance, :] = 0
            else:
                spectrograms[clip, :, :, begin : begin + distance] = 0


@pytest.mark.parametrize("seed", range(5))
def test_stripes_are_torchlibrosas_with_the_same_seed(seed: int) -> None:
    spectrograms = torch.rand(3, 2, 200, 64, generator=torch.Generator().manual_seed(seed)) + 1
    expected = spectrograms.clone()
    torch.manual_seed(seed)
    drop_stripes(expected, dim=2, drop_width=64, stripes_num=2)
    drop_stripes(expected, dim=3, drop_width=8, stripes_num=2)
    before = spectrograms.clone()
    torch.manual_seed(seed)
    assert torch.equal(spec_augment(spectrograms), expected)
    assert torch.equal(spectrograms, before)


def test_every_width_below_the_limit_occurs_and_no_other() -> None:
    torch.manual_seed(0)
    masked = spec_augment(torch.ones(400, 1, 1000, 64))[:, 0]
    whole_frames = (masked == 0).all(dim=2).sum(dim=1)
    whole_bins = (masked == 0).all(dim=1).sum(dim=1)
    assert (whole_bins.min(), whole_bins.max()) == (0, 2 * 7)
    assert whole_frames.min() < 20
    assert 100 < whole_frames.max() <= 2 * 63


@pytest.mark.parametrize("size", [1, 2, 7, 16])
def test_spectrograms_smaller_than_a_stripe_are_taken(size: int) -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        assert spec_augment(torch.ones(2, 1, size, size)).shape == (2, 1, size, size)
