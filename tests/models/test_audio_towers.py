"""Audio towers: shapes, determinism, independence of the batch, and their formulas against slow loops."""

import math

import pytest
import torch
from torch.nn import functional as F
from transformers import BertConfig, ClapAudioConfig, ClapAudioModel

from alm_prompt.errors import AlmPromptError
from alm_prompt.models.audio_towers import AUDIO_CONFIGS, build_audio_tower
from alm_prompt.models.audio_towers.cnn import CnnAudioConfig
from alm_prompt.models.audio_towers.yamnet import PATCHES_PER_PASS, SameConv2d, YamnetConfig

SMALL = {
    "alm_cnn": CnnAudioConfig(num_mel_bins=32, channels=[4, 6, 8], hidden_size=10),
    "alm_yamnet": YamnetConfig(stem_channels=4, channels=[6, 8], strides=[1, 2], hidden_size=8),
    "clap_audio_model": ClapAudioConfig(
        patch_embeds_hidden_size=8, hidden_size=16, depths=[1, 1], num_attention_heads=[1, 2], spec_size=64,
        num_mel_bins=16, window_size=4,
    ),
}  # fmt: skip
SHAPES = {"alm_cnn": (1, 41, 32), "alm_yamnet": (3, 96, 64), "clap_audio_model": (1, 101, 16)}


def tower_and_input(model_type, batch=4):
    torch.manual_seed(0)
    tower = build_audio_tower(SMALL[model_type]).eval()
    for name, buffer in tower.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    return tower, torch.randn(batch, *SHAPES[model_type])


@pytest.mark.parametrize("model_type", SMALL)
@torch.no_grad()
def test_embeds_clips_deterministically_and_alone_as_in_a_batch(model_type):
    tower, features = tower_and_input(model_type)
    together = tower(features)
    assert together.shape == (4, tower.hidden_size)
    assert torch.equal(together, tower(features))
    for clip in range(4):
        torch.testing.assert_close(tower(features[clip : clip + 1])[0], together[clip], rtol=0, atol=1e-5)


@pytest.mark.parametrize("model_type", SMALL)
def test_every_config_survives_its_json(model_type):
    config = SMALL[model_type]
    assert AUDIO_CONFIGS[model_type](**config.to_dict()).to_dict() == config.to_dict()


@torch.no_grad()
def test_cnn_is_the_published_pann():
    tower, features = tower_and_input("alm_cnn")
    state = tower.state_dict()

    def norm(name, hidden, channel_axis):
        shape = [1, 1, 1, 1]
        shape[channel_axis] = -1
        mean, var, weight, bias = (
            state[f"{name}.{part}"].reshape(shape) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (hidden - mean) / torch.sqrt(var + 1e-5) * weight + bias

    hidden = norm("batch_norm", features, 3)
    for block in range(3):
        for conv in (1, 2):
            hidden = F.conv2d(hidden, state[f"blocks.{block}.conv{conv}.weight"], padding=1)
            hidden = norm(f"blocks.{block}.bn{conv}", hidden, 1).clamp(min=0)
        if block < 2:
            hidden = hidden[:, :, : hidden.shape[2] // 2 * 2]
            hidden = (hidden[:, :, 0::2] + hidden[:, :, 1::2]) / 2
            hidden = (hidden[..., 0::2] + hidden[..., 1::2]) / 2
    hidden = hidden.mean(dim=3)
    hidden = hidden.max(dim=2).values + hidden.mean(dim=2)
    expected = (hidden @ state["fc.weight"].T + state["fc.bias"]).clamp(min=0)
    torch.testing.assert_close(tower(features), expected, rtol=0, atol=1e-5)


def test_default_cnn_has_the_size_of_cnn14():
    with torch.device("meta"):
        tower = build_audio_tower(CnnAudioConfig())
    # Cnn14 of PANN has 79.7 M parameters without its AudioSet classifier, 2048 x 527 + 527.
    assert sum(parameter.numel() for parameter in tower.parameters()) == 80_753_615 - (2048 * 527 + 527)


def test_cnn_names_a_spectrogram_that_does_not_fit():
    tower, features = tower_and_input("alm_cnn")
    with pytest.raises(AlmPromptError, match="3 frames x 32 mel bins"):
        tower(features[:, :, :3])
    with pytest.raises(AlmPromptError, match="41 frames x 16 mel bins"):
        tower(features[..., :16])


@pytest.mark.parametrize(("size", "stride"), [((6, 8), 1), ((6, 8), 2), ((5, 7), 2), ((3, 2), 2)])
def test_same_padding_is_that_of_tensorflow(size, stride):
    torch.manual_seed(0)
    conv = SameConv2d(1, 1, stride)
    image = torch.randn(1, 1, *size)
    out = conv(image)
    assert out.shape[-2:] == tuple(math.ceil(n / stride) for n in size)
    start = [max((math.ceil(n / stride) - 1) * stride + 3 - n, 0) // 2 for n in size]
    for row in range(out.shape[2]):
        for column in range(out.shape[3]):
            total = conv.bias[0].clone()
            for i in range(3):
                for j in range(3):
                    y, x = row * stride + i - start[0], column * stride + j - start[1]
                    if 0 <= y < size[0] and 0 <= x < size[1]:
                        total += conv.weight[0, 0, i, j] * image[0, 0, y, x]
            torch.testing.assert_close(out[0, 0, row, column], total)


@torch.no_grad()
def test_yamnet_averages_real_patches_only():
    tower, features = tower_and_input("alm_yamnet")
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]])
    features[mask == 0] = float("nan")
    out = tower(features, mask)
    for clip, count in enumerate([3, 2, 1, 3]):
        patches = torch.stack([tower(features[clip : clip + 1, [patch]])[0] for patch in range(count)])
        torch.testing.assert_close(out[clip], patches.mean(dim=0), rtol=0, atol=1e-6)


@torch.no_grad()
def test_yamnet_embeds_a_long_clip_in_pieces():
    tower, _ = tower_and_input("alm_yamnet")
    patch = torch.randn(1, 1, 96, 64)
    long_clip = patch.expand(1, PATCHES_PER_PASS + 3, 96, 64)
    torch.testing.assert_close(tower(long_clip), tower(patch), rtol=0, atol=1e-5)


def test_yamnet_names_what_does_not_fit():
    tower, features = tower_and_input("alm_yamnet")
    with pytest.raises(AlmPromptError, match=r"\[4, 3, 95, 64\]"):
        tower(features[:, :, :95])
    with pytest.raises(AlmPromptError, match="13 channels, 2 strides"):
        YamnetConfig(strides=[1, 2])


@torch.no_grad()
def test_htsat_is_the_clap_audio_model():
    tower, features = tower_and_input("clap_audio_model")
    reference = ClapAudioModel(SMALL["clap_audio_model"]).eval()
    reference.load_state_dict(tower.model.state_dict())
    assert torch.equal(tower(features), reference(input_features=features).pooler_output)


def test_unknown_tower_is_refused_by_name():
    with pytest.raises(AlmPromptError, match="'bert' has no audio tower"):
        build_audio_tower(BertConfig())
