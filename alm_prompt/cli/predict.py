"""`alm-prompt predict`: classify audio files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..errors import AlmPromptError
from .options import AdapterOptions, ModelOptions, PredictOptions
from .parser import CommandParser

if TYPE_CHECKING:
    import torch

DESCRIPTION = "Classify audio files, with an adapter or zero-shot. Files come before --classes."


def run(argv: list[str]) -> None:
    """Print the most likely classes of every file with their probabilities.

    A file that cannot be read does not keep the others from being classified.

    Raises:
        AlmPromptError: no file or no classes are given, or a file cannot be read (after all others are classified).
    """
    parser = CommandParser("predict", DESCRIPTION, [AdapterOptions, ModelOptions, PredictOptions])
    parser.add_argument("audio", nargs="*", help="audio files: wav, flac, ogg, mp3")
    adapter, model, options, rest = parser.parse(argv)
    if not rest.audio:
        raise AlmPromptError(
            "no audio file is given; usage: alm-prompt predict --adapter FOLDER some.wav (files before --classes, "
            "which takes all words that follow it)"
        )
    from .loading import check_several, open_classifier

    check_several(options.classes or ())
    classifier, processor = open_classifier(adapter.adapter, model, options.classes)
    results: list[dict[str, Any]] = []
    failures: list[str] = []
    for path in rest.audio:
        try:
            probabilities = _probabilities(classifier, processor, path)
        except AlmPromptError as error:
            failures.append(str(error))
            results.append({"file": path, "error": str(error)})
            continue
        ranked = sorted(zip(probabilities.tolist(), classifier.class_names, strict=True), reverse=True)
        top = [{"label": name, "probability": value} for value, name in ranked[: options.top_k]]
        results.append({"file": path, "predictions": top})
        if not options.json:
            print(f"{path}: " + ", ".join(f"{entry['label']} {entry['probability']:.3f}" for entry in top), flush=True)
    if options.json:
        print(json.dumps(results, indent=2, ensure_ascii=False))
    if failures:
        others = f" ({len(failures)} of {len(rest.audio)} files failed)" if len(rest.audio) > 1 else ""
        raise AlmPromptError(f"{'; '.join(failures)}{others}")


def _probabilities(classifier: Any, processor: Any, path: str) -> torch.Tensor:
    """`[C]` probabilities of one file."""
    import torch

    with torch.no_grad():
        inputs = processor(audio=path).to(device=classifier.alm.device, dtype=classifier.alm.dtype)
        return classifier(**inputs).logits[0].softmax(dim=-1)
