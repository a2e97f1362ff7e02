"""Quality figures of neighbours against a hand-written loop."""

from __future__ import annotations

import pytest
import torch

from alm_prompt.errors import AlmPromptError
from alm_prompt.prompts import neighbor_quality


def cosine(first: torch.Tensor, second: torch.Tensor) -> float:
    return (first @ second / (first.norm() * second.norm())).item()


@pytest.mark.parametrize(("classes", "terms"), [(2, 2), (3, 4), (5, 1)])
def test_figures_equal_a_hand_written_loop(classes: int, terms: int) -> None:
    generator = torch.Generator().manual_seed(0)
    names = torch.randn(classes, 7, generator=generator, dtype=torch.float64)
    neighbors = 3 * torch.randn(classes, terms, 7, generator=generator, dtype=torch.float64)
    quality = neighbor_quality(names, neighbors)
    for j in range(classes):
        own = [cosine(names[j], neighbors[j, n]) for n in range(terms)]
        others = [cosine(names[i], neighbors[j, n]) for i in range(classes) if i != j for n in range(terms)]
        pairs = [cosine(neighbors[j, n], neighbors[j, m]) for n in range(terms) for m in range(terms) if n < m]
        assert quality.own[j].item() == pytest.approx(sum(own) / len(own), abs=1e-12)
        assert quality.others[j].item() == pytest.approx(sum(others) / len(others), abs=1e-12)
        expected = 1 - sum(pairs) / len(pairs) if pairs else 0.0
        assert quality.diversity[j].item() == pytest.approx(expected, abs=1e-12)


def test_terms_like_their_class_and_unlike_the_others() -> None:
    names = torch.eye(3)
    quality = neighbor_quality(names, names[:, None].repeat(1, 4, 1))
    assert quality.own.tolist() == [1, 1, 1]
    assert quality.others.tolist() == [0, 0, 0]
    assert quality.diversity.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("classes", "neighbors"), [((1, 4), (1, 2, 4)), ((3, 4), (2, 2, 4)), ((3, 4), (3, 2, 5)), ((3, 4), (3, 4))]
)
def test_shapes_that_do_not_belong_together_are_named(classes: tuple, neighbors: tuple) -> None:
    with pytest.raises(AlmPromptError, match="do not belong together") as caught:
        neighbor_quality(torch.ones(classes), torch.ones(neighbors))
    assert "\n" not in str(caught.value)
