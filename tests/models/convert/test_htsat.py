"""The conversion of HTSAT: what would go unnoticed if a tensor went astray."""

from __future__ import annotations

import copy

import pytest
import torch

from alm_prompt.models.audio_towers import build_audio_tower
from alm_prompt.models.convert.htsat import TARGET, htsat_config, htsat_part, split_qkv
from alm_prompt.models.convert.mapping import check_weights, map_weights


def convert_tower(weights):
    """Tower of a checkpoint that is an HTSAT alone."""
    tower = build_audio_tower(htsat_config(weights, "")).eval()
    mapped = {
        name.removeprefix("audio_tower."): t
        for name, t in map_weights(split_qkv(weights), [htsat_part("")]).weights.items()
    }
    check_weights(mapped, tower.state_dict())
    tower.load_state_dict(mapped)
    return tower


def swap(state, one, other):
    for part in ("weight", "bias"):
        state[f"{one}.{part}"], state[f"{other}.{part}"] = state[f"{other}.{part}"], state[f"{one}.{part}"]


def swap_query_and_key(tower):
    state, block = tower.state_dict(), "model.audio_encoder.layers.2.blocks.3.attention.self"
    swap(state, f"{block}.query", f"{block}.key")
    tower.load_state_dict(state)


def forget_positions(tower):
    for name, parameter in tower.named_parameters():
        if name.endswith("relative_position_bias_table"):
            parameter.zero_()


def stop_shifting(tower):
    for stage in tower.model.audio_encoder.layers:
        for block in stage.blocks:
            block.shift_size = 0


def reset_statistics(tower):
    tower.model.audio_encoder.batch_norm.reset_running_stats()


def swap_norms(tower):
    state, block = tower.state_dict(), "model.audio_encoder.layers.2.blocks.3"
    swap(state, f"{block}.layernorm_before", f"{block}.layernorm_after")
    tower.load_state_dict(state)


# Each mistake with the least difference that the specification asks a test to notice.
MISTAKES = {
    swap_query_and_key: 6.0e-2,
    forget_positions: 6.5e-2,
    stop_shifting: 7.1e-2,
    reset_statistics: 3.8,
    swap_norms: 2.2e-1,
}


def tower_and_weights(layouts, gain=1.0, **sizes):
    draw = layouts.Draw(7, layouts.Sizes(**sizes))
    layouts.htsat(draw, "", 32_000, layouts.TINY_DEPTHS, gain)
    return convert_tower(draw.weights).double(), {
        name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in draw.weights.items()
    }


def mel(frames=965):
    return -30 + 15 * torch.randn(1, frames, 64, generator=torch.Generator().manual_seed(0)).double()


@pytest.fixture(scope="module")
def small(layouts, official):
    tower, weights = tower_and_weights(layouts)
    with torch.no_grad():
        return tower, official.htsat(weights, mel(), (2, 2, 6, 2))


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
@torch.no_grad()
def test_a_mistake_shows(small, mistake):
    tower, expected = small
    spoiled = copy.deepcopy(tower)
    mistake(spoiled)
    assert (spoiled(mel()[:, None]) - expected).abs().max() > 1e-3
    torch.testing.assert_close(tower(mel()[:, None]), expected, rtol=0, atol=1e-12)


@pytest.mark.slow
@torch.no_grad()
def test_official_widths_and_mistakes_at_least_as_large_as_specified(layouts, official):
    # The gain takes attention so far from a plain mean that queries and keys matter as much as specified.
    tower, weights = tower_and_weights(layouts, gain=1.5, embed=96, heads=(4, 8, 16, 32))
    # 200 tensors, of which 12 are left out and 12 pairs of joint queries, keys and values become three each.
    assert (len(weights), len(tower.state_dict())) == (200, 236)
    expected = official.htsat(weights, mel(), (2, 2, 6, 2))
    torch.testing.assert_close(tower(mel()[:, None]), expected, rtol=0, atol=1e-12)
    for mistake, least in MISTAKES.items():
        spoiled = copy.deepcopy(tower)
        mistake(spoiled)
        assert (spoiled(mel()[:, None]) - expected).abs().max() >= least, mistake.__name__


def test_sizes_are_read_from_the_shapes(layouts):
    draw = layouts.Draw()
    layouts.htsat(draw, "tower.", 48_000, layouts.BASE_DEPTHS)
    config = htsat_config(draw.weights, "tower.")
    assert (config.depths, config.num_attention_heads) == ([2, 2, 12, 2], [2, 4, 8, 16])
    assert (config.patch_embeds_hidden_size, config.hidden_size, config.mlp_ratio) == (16, 128, 4)
    assert (config.window_size, config.spec_size, config.num_mel_bins, config.patch_size) == (8, 256, 64, 4)
    assert not config.enable_fusion


@torch.no_grad()
def test_long_clips_are_fused_as_the_official_tower_does(layouts, official):
    draw = layouts.Draw()
    layouts.htsat(draw, "", 48_000, layouts.TINY_DEPTHS)
    layouts.fusion(draw, "patch_embed.")
    weights = {name: t.double() if t.is_floating_point() else t for name, t in draw.weights.items()}
    tower = convert_tower(weights).double()
    assert tower.config.enable_fusion
    views = -30 + 15 * torch.randn(2, 4, 1001, 64, generator=torch.Generator().manual_seed(1)).double()
    fused = official.htsat(weights, views[:, 0], (2, 2, 6, 2), parts=tuple(views[:, 1:].unbind(1)))
    short = official.htsat(weights, views[:, 0], (2, 2, 6, 2))
    assert (fused - short).abs().max() > 0.01
    torch.testing.assert_close(tower(views), fused, rtol=0, atol=1e-12)
    mask = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1]])
    torch.testing.assert_close(tower(views, mask), torch.stack([short[0], fused[1]]), rtol=0, atol=1e-12)


def test_norms_outside_of_blocks_keep_their_names(layouts):
    draw = layouts.Draw()
    layouts.htsat(draw, "", 48_000, layouts.TINY_DEPTHS)
    names = map_weights(split_qkv(draw.weights), [htsat_part("")]).weights
    for name in ("norm.weight", "patch_embed.norm.weight", "layers.0.downsample.norm.weight"):
        assert torch.equal(names[TARGET + name], draw.weights[name])
