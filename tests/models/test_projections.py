"""Projections into the joint space."""

from __future__ import annotations

import math

import pytest
import torch

from alm_prompt import AlmPromptError
from alm_prompt.models.projections import build_projection


@pytest.mark.parametrize("front_size", [None, 3])
def test_residual_projection_is_the_published_formula(front_size):
    torch.manual_seed(0)
    projection = build_projection({"kind": "residual", "front_size": front_size}, 4, 6).double().eval()
    torch.nn.init.normal_(projection.layer_norm.weight)
    state = projection.state_dict()
    features = torch.randn(2, 4).double()
    for row, found in zip(features, projection(features), strict=True):
        if front_size:
            row = state["front.weight"] @ row
        first = [sum(w * x for w, x in zip(weights, row, strict=True)) for weights in state["linear1.weight"]]
        inner = [x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in first]
        second = [sum(w * x for w, x in zip(weights, inner, strict=True)) for weights in state["linear2.weight"]]
        total = torch.stack([a + b for a, b in zip(first, second, strict=True)])
        centred = total - total.mean()
        expected = centred / (centred.square().mean() + 1e-5).sqrt()
        expected = expected * state["layer_norm.weight"] + state["layer_norm.bias"]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_residual_projection_drops_out_in_training_only():
    projection = build_projection({"kind": "residual", "dropout": 0.5}, 8, 16)
    features = torch.randn(3, 8)
    assert not torch.equal(projection(features), projection(features))
    projection.eval()
    assert torch.equal(projection(features), projection(features))


def test_unknown_kinds_are_refused():
    with pytest.raises(AlmPromptError, match="'cubic' is unknown; choose 'linear', 'mlp' or 'residual'"):
        build_projection({"kind": "cubic"}, 4, 6)
