"""`alm-prompt env --explain`: how text towers compute prompts, seen in a few steps of a method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .inspect_options import ExplainOptions
from .options import CachedModelOptions, MethodOptions
from .parser import CommandParser

if TYPE_CHECKING:
    import torch

    from ..models.text_tower import TextPlan, TextTower

DESCRIPTION = (
    "Say how each kind of text tower computes prompts and why, and what the text tower has to do in the steps of a "
    "method. The audio is noise: only the work is looked at."
)


def explain(argv: list[str]) -> None:
    """Print the path of every kind of text tower, then what a method gives one of them to do."""
    options, method, model, _ = CommandParser(
        "env", DESCRIPTION, [ExplainOptions, MethodOptions, CachedModelOptions]
    ).parse(argv)
    from peft import get_peft_model
    from transformers import set_seed

    from ..cache import caching_in
    from ..data.world import WORLD_CLASSES
    from ..models.text_families import FAMILIES
    from .loading import TINY, open_cache, open_model, open_neighbors, parse_methods, set_classes

    classes = options.classes or list(WORLD_CLASSES)
    neighbors = open_neighbors(method.neighbors, classes)
    config = parse_methods([method.method], method.method_options, neighbors)[method.method]
    alm, _ = open_model(model.model or TINY, model)
    set_classes(alm, classes, model)
    print("Text towers:")
    for name, family in FAMILIES.items():
        print(f"  {name}: {family.path}")
    tower = alm.alm.text_tower
    print(f"{model.model or TINY} has a {tower.model.config.model_type}; {tower.path}")
    set_seed(method.seed)
    classifier = alm if config is None else get_peft_model(alm, config)
    print(f"{method.method}, {len(classes)} classes, {options.batch_size} clips a step:")
    with caching_in(open_cache(model).folder):
        for stage, passes in _stages(classifier, options.batch_size):
            work = [text if count == 1 else f"{count} times {text}" for text, count in passes.items()]
            print(f"  {stage}: {'; '.join(work) or 'no prompts'}")


def _stages(classifier: Any, clips: int) -> Iterator[tuple[str, Counter[str]]]:
    """What the text tower does in the first and in a later step of training, and of evaluation."""
    import torch

    alm = classifier.alm
    batch = {
        "audio_features": torch.randn(clips, alm.config.projection_dim, device=alm.device, dtype=alm.dtype),
        "labels": torch.arange(clips, device=alm.device) % len(classifier.class_names),
    }
    for training, name in ((True, "training step"), (False, "batch of evaluation")):
        classifier.train(training)
        for stage in (f"first {name}", f"every later {name}"):
            with _watched(alm.text_tower) as passes, torch.set_grad_enabled(training):
                classifier(**batch)
            yield stage, passes


@contextmanager
def _watched(tower: TextTower) -> Iterator[Counter[str]]:
    """Count what a text tower is given to do, in words."""
    passes: Counter[str] = Counter()
    handle = tower.register_forward_hook(lambda _, inputs, output: passes.update([_in_words(*inputs)]))
    try:
        yield passes
    finally:
        handle.remove()


def _in_words(prompts: torch.Tensor, plan: TextPlan) -> str:
    *clips, count, length, _ = prompts.shape
    what = f"{count} prompts" + (f" for each of {clips[0]} clips" if clips else "")
    packing = plan.packing
    if packing is None:
        return f"{what} (plain, tokens in a prompt: {length})"
    rows, width, _ = packing.mask.shape
    start = f", shared at its start: {packing.shared}" if packing.shared else ""
    return f"{what} (packed, rows: {rows}, tokens in a row: {width}{start})"
