"""One clip, one embedding: alone, in any batch and on any call, for every family of front ends and towers."""

import numpy as np
import pytest
import torch
from transformers import ClapAudioConfig

from alm_prompt.models.audio_towers import build_audio_tower
from alm_prompt.models.audio_towers.cnn import CnnAudioConfig
from alm_prompt.models.audio_towers.yamnet import YamnetConfig
from alm_prompt.models.convert.front_ends import LAION, MSCLAP_2022, MSCLAP_2023, PENGI
from alm_prompt.models.processing import AlmFeatureExtractor

HTSAT = ClapAudioConfig(patch_embeds_hidden_size=8, hidden_size=32, depths=[1, 2, 1], num_attention_heads=[1, 2, 4])
CNN = CnnAudioConfig(channels=[4, 8], hidden_size=16)
YAMNET = YamnetConfig(stem_channels=4, channels=[8, 8], strides=[1, 2], hidden_size=8)
PATCHES = {
    "sampling_rate": 16_000,
    "n_fft": 512,
    "win_length": 400,
    "hop_length": 160,
    "f_max": 7500.0,
    "center": False,
    "clip_seconds": 3.0,
    "pad": "patch",
    "patch_frames": 96,
    "patch_hop": 48,
}
FAMILIES = {
    "laion": (LAION, HTSAT),
    "pengi": (PENGI, HTSAT),
    "msclap-2023": (MSCLAP_2023, HTSAT),
    "msclap-2022": (MSCLAP_2022, CNN),
    "yamnet": (PATCHES, YAMNET),
}
# Mono and stereo, shorter than a clip, as long, longer, and a single sample.
SHAPES = [(12_000,), (2, 60_000), (1,), (130_000,)]


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_clip_has_one_embedding(family):
    settings, tower_config = FAMILIES[family]
    extractor = AlmFeatureExtractor(**settings)
    torch.manual_seed(0)
    tower = build_audio_tower(tower_config).eval()
    generator = np.random.default_rng(0)
    clips = [generator.uniform(-0.5, 0.5, shape).astype(np.float32) for shape in SHAPES]

    def embed(*chosen):
        return tower(**extractor([clips[index] for index in chosen], sampling_rate=11_025))

    alone = torch.cat([embed(index) for index in range(len(clips))])
    assert alone.std(dim=0).max() > 1e-3, "the tower must tell the clips apart for this test to mean anything"
    for index in range(len(clips)):
        assert torch.equal(embed(index)[0], alone[index])
    for batch in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 1, 3], [2, 0]):
        torch.testing.assert_close(embed(*batch), alone[batch], rtol=0, atol=1e-5)
