"""Losses against hand-written loops and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from alm_prompt import AlmPromptError, ZebraLoss
from alm_prompt.losses import (
    AnchorLoss,
    SeptLoss,
    TransferLoss,
    pairwise_distances,
    prediction_entropy,
    view_entropy,
)
from alm_prompt.outputs import ClassHeadOutput


def outputs(logits):
    return ClassHeadOutput(logits=logits, audio_embeds=torch.empty(0), text_embeds=torch.empty(0))


@pytest.mark.parametrize(("clips", "classes"), [(1, 2), (5, 3), (7, 40)])
def test_entropy_equals_a_hand_written_loop(clips, classes):
    logits = torch.randn(clips, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 4
    total = 0.0
    for row in logits.tolist():
        weights = [math.exp(value) for value in row]
        probabilities = [weight / sum(weights) for weight in weights]
        total -= sum(p * math.log(p + 1e-8) for p in probabilities)
    assert prediction_entropy(logits).item() == pytest.approx(total / clips, abs=1e-12)


def test_entropy_of_equal_and_of_certain_predictions():
    assert prediction_entropy(torch.zeros(3, 8)).item() == pytest.approx(math.log(8), abs=1e-6)
    assert prediction_entropy(torch.tensor([[200.0, 0.0]])).item() == pytest.approx(0, abs=1e-6)


def test_zebra_term_maximises_entropy():
    logits = torch.tensor([[3.0, 0.0, -1.0]], requires_grad=True)
    ZebraLoss(0.05)(outputs(logits), torch.tensor([0]), None)["entropy"].backward()
    assert logits.grad[0, 0] > 0  # a step against the gradient lowers the leading logit


def hooked(hook, labels=None, **given):
    """The terms of a hook on outputs that hold no more than what is given."""
    auxiliary = {name: value for name, value in given.items() if callable(value)}
    tensors = dict.fromkeys(("logits", "audio_embeds", "text_embeds"), torch.empty(0)) | given
    head_output = ClassHeadOutput(**{name: tensors[name] for name in list(tensors)[:3]}, auxiliary=auxiliary)
    return tuple(hook(head_output, labels, None).values())


def fixed(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


LABELS = torch.tensor([2, 0, 1])
GRADIENTS = {
    "entropy": (lambda x: hooked(ZebraLoss(0.3), logits=x), (4, 5)),
    "view entropy": (view_entropy, (3, 4, 5)),
    "anchor": (lambda x: hooked(AnchorLoss(8.0), text_embeds=x, anchor_embeds=lambda: fixed(4, 6)), (4, 6)),
    "distances": (lambda x: pairwise_distances(x[:, 0], x[:, 1:]), (3, 3, 5)),
    "neighbours": (
        lambda x: hooked(SeptLoss(), neighbor_embeds=lambda: x, margins=lambda: fixed(3, 3, 2).abs() * 3),
        (3, 3, 5),
    ),
    "transfer": (lambda x: hooked(TransferLoss(0.7), LABELS, transfer_logits=lambda labels: x), (6, 4)),
}


@pytest.mark.parametrize("loss", GRADIENTS)
def test_gradients_equal_finite_differences(loss):
    function, shape = GRADIENTS[loss]
    inputs = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(function, inputs)


def test_distances_and_their_gradient_equal_a_hand_written_loop():
    embeds, weights = fixed(4, 3, 5), fixed(4, 4, 2)
    # A class that is its own neighbour has no direction to move in.
    embeds[1, 1] = embeds[1, 0]
    distances, gradient = torch.zeros(4, 4, 2, dtype=torch.float64), torch.zeros_like(embeds)
    for i in range(4):
        for j in range(4):
            for n in range(2):
                apart = embeds[i, 0] - embeds[j, 1 + n]
                distances[i, j, n] = math.sqrt(sum(value**2 for value in apart.tolist()))
                if distances[i, j, n] > 0:
                    pull = weights[i, j, n] * apart / distances[i, j, n]
                    gradient[i, 0] += pull
                    gradient[j, 1 + n] -= pull
    embeds.requires_grad_()
    found = pairwise_distances(embeds[:, 0], embeds[:, 1:])
    (found * weights).sum().backward()
    torch.testing.assert_close(found, distances, atol=1e-12, rtol=0)
    torch.testing.assert_close(embeds.grad, gradient, atol=1e-12, rtol=0)


def test_distances_under_autocast_are_those_without():
    embeds = [fixed(6, 4, 8).float().requires_grad_() for _ in range(2)]
    for tensor, enabled in zip(embeds, (False, True), strict=True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            distances = pairwise_distances(tensor[:, 0], tensor[:, 1:])
        distances.sum().backward()
    assert torch.equal(embeds[0].grad, embeds[1].grad)


class LargestTensor(TorchDispatchMode):
    """Notes the elements of the largest tensor that is made."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]
        self.elements = max([self.elements, *(tensor.numel() for tensor in tensors)])
        return output


def test_distances_take_no_memory_for_every_difference():
    classes, neighbors, dim = 12, 3, 64
    embeds = fixed(classes, 1 + neighbors, dim).requires_grad_()
    with LargestTensor() as largest:
        pairwise_distances(embeds[:, 0], embeds[:, 1:]).sum().backward()
    assert largest.elements == classes * (1 + neighbors) * dim


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize("hook", [ZebraLoss, AnchorLoss, SeptLoss, TransferLoss])
def test_weights_that_are_negative_or_not_finite_are_refused(hook, weight):
    with pytest.raises(AlmPromptError, match=f"is {weight}; give a finite weight of at least 0"):
        hook(weight)
