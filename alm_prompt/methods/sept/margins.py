"""Margins of SEPT: how far the frozen model puts classes from neighbours. Computed once, for all runs that ask."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch.nn.functional import normalize
from transformers.utils.logging import tqdm

from ...cache import TensorStore, cache_folder, store_folder
from ...losses import pairwise_distances
from ...models.class_bank import frozen_text
from ...models.fingerprint import text_fingerprint

if TYPE_CHECKING:
    from ...models import AlmModel, ClassBank

NAME = "margins"
# Margins that a process remembers per model, the latest ones: class lists of a benchmark's folds, not more.
REMEMBERED = 8
_memory: WeakKeyDictionary[AlmModel, dict[Hashable, torch.Tensor]] = WeakKeyDictionary()


def grouped(features: torch.Tensor, classes: int, unit: bool) -> torch.Tensor:
    """Text features of every class and its neighbours, made ready for distances.

    Args:
        features: `[K * (1 + N), d]`, every class followed by its neighbours.
        classes: `K`.
        unit: whether to scale them to unit length.

    Returns:
        `[K, 1 + N, d]`, float32 or wider.
    """
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    return (normalize(features, dim=-1) if unit else features).unflatten(0, (classes, -1))


@torch.compiler.disable
def frozen_margins(
    names: ClassBank, classes: int, templates: Sequence[str], unit: bool, alm: AlmModel
) -> torch.Tensor:
    """Distance of every class to every neighbour of every class, as the mean over templates (arXiv 2601.20867).

    From the memory of the process while the text tower stays as it is, else from the cache folder, else computed.
    A tower that is being trained has no margins to keep.

    Args:
        names: every class followed by its `N` neighbours.
        classes: number `K` of classes.
        templates: sentences with one `{}` each.
        unit: whether distances are between unit vectors.
        alm: the model that encodes text.

    Returns:
        `[K, K, N]`: entry `[i, j, n]` is the distance of class `i` to neighbour `n` of class `j`.
    """
    if alm.text_requires_grad():
        return _computed_margins(names.with_templates(templates), classes, unit, alm)
    known = _memory.setdefault(alm, {})
    key = (alm.text_state(), names.tokenizer, names.text_suffix, *names.class_names, classes, *templates, unit)
    if key not in known:
        if len(known) == REMEMBERED:
            del known[next(iter(known))]
        with frozen_text(alm):
            known[key] = _stored_margins(names.with_templates(templates), classes, unit, alm)
    return known[key]


def _stored_margins(sentences: ClassBank, classes: int, unit: bool, alm: AlmModel) -> torch.Tensor:
    """`[K, K, N]` from the cache folder, or computed and put there."""
    folder = cache_folder()
    if folder is None:
        return _computed_margins(sentences, classes, unit, alm)
    shape = (classes, classes, len(sentences) // classes - 1)
    store = TensorStore(
        store_folder(folder, NAME, *_identity(sentences, classes, unit, alm)),
        NAME,
        lambda tensor: tensor.shape == shape and tensor.is_floating_point() and bool(tensor.isfinite().all()),
    )
    found = store.read([NAME])
    if not found:
        found = {NAME: _computed_margins(sentences, classes, unit, alm)}
        store.write({NAME: found[NAME].cpu()})
    return found[NAME].to(alm.device)


def _identity(sentences: ClassBank, classes: int, unit: bool, alm: AlmModel) -> list[Any]:
    """All that the numbers depend on. Names, neighbours and templates are in it as their token ids."""
    device = alm.device.type
    autocast = str(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else None
    # The same weights give other last bits on another kind of device or in another release.
    return [text_fingerprint(alm), sentences.sentence_ids, classes, unit, autocast, device, torch.__version__]


def _computed_margins(sentences: ClassBank, classes: int, unit: bool, alm: AlmModel) -> torch.Tensor:
    by_template = list(zip(*sentences.sentence_ids, strict=True))
    total = 0.0
    with frozen_text(alm):
        # Minutes with a real model on a CPU: a bar for whoever waits longer than a moment.
        for token_ids in tqdm(by_template, desc="Margins", unit="template", delay=2, leave=False):
            embeds = grouped(alm.encode_token_ids(token_ids), classes, unit)
            total = total + pairwise_distances(embeds[:, 0], embeds[:, 1:])
    return total / len(by_template)
