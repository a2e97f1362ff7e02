"""`alm-prompt plot`: pictures of neighbours, of benchmark rows, of predictions and of training."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AlmPromptError
from .options import AdapterOptions, CachedModelOptions, DataOptions, ModelOptions, TextOptions
from .parser import CommandParser
from .plot_options import (
    FigureOptions,
    LogOptions,
    NeighborTextOptions,
    OneAdapterOptions,
    PictureOptions,
    ResultOptions,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..evaluation.plots import ClassTexts

ZERO_SHOT = "zero-shot"


def run(argv: list[str]) -> None:
    """Draw one kind of picture into `--output`.

    Raises:
        AlmPromptError: an unknown kind, matplotlib is missing, or what is to be drawn is not there.
    """
    if not argv or argv[0] in ("-h", "--help"):
        kinds = "\n".join(f"  {name:<11}{help_text}" for name, (help_text, _, _) in KINDS.items())
        print(
            f"usage: alm-prompt plot KIND --output FILE ...\n\nkinds:\n{kinds}\n\n`plot KIND --help` lists its flags."
        )
        return
    kind, *rest = argv
    if kind not in KINDS:
        raise AlmPromptError(f"no kind of plot {kind!r}; give one of {', '.join(KINDS)}")
    help_text, options, draw = KINDS[kind]
    *given, picture, _ = CommandParser(f"plot {kind}", help_text, [*options, PictureOptions]).parse(rest)
    from .run_folder import check_output_file

    output = check_output_file(picture.output, "picture.png", overwrite=picture.overwrite)
    from ..evaluation.plots import save_figure

    save_figure(draw(*given), output)
    print(f"written to {output}")


def _neighbors(texts: NeighborTextOptions, model: TextOptions) -> Figure:
    from ..evaluation.plots import neighbor_similarity

    return neighbor_similarity(_class_texts(texts, model))


def _tsne(texts: NeighborTextOptions, model: TextOptions) -> Figure:
    from ..evaluation.plots import neighbor_tsne

    return neighbor_tsne(_class_texts(texts, model))


def _class_texts(texts: NeighborTextOptions, model: TextOptions) -> dict[str, ClassTexts]:
    """Embeddings of classes and neighbours by the name of the model."""
    from ..evaluation.plots import embed_texts
    from ..prompts import shipped_neighbors
    from .loading import open_classifier, open_neighbors, read_adapter_config

    adapters: list[str | None] = list(texts.adapters or [])
    settings = {adapter: read_adapter_config(adapter) for adapter in adapters}
    classes = texts.classes or (settings[adapters[0]].get("class_names") if adapters else None)
    if not classes:
        raise AlmPromptError("no classes are given; add --classes dog rain siren, or --adapters that have their own")
    neighbors = open_neighbors(texts.neighbors, classes) or shipped_neighbors(classes)
    first = adapters[0] if adapters else None
    found = {}
    for adapter in [None, *adapters] if len(adapters) < 2 else adapters:
        classifier, _ = open_classifier(adapter, ModelOptions(**vars(model)), classes, beside=first)
        name = ZERO_SHOT if adapter is None else _stack_name(settings[adapter])
        # Two adapters of one method are told apart by their folders.
        name = name if name not in found else f"{name} ({adapter})"
        found[name] = embed_texts(classifier, classes, neighbors)
    return found


def _stack_name(settings: Mapping[str, Any]) -> str:
    """Methods of an adapter's config as `--method` writes them, the innermost first."""
    from ..registry import method_name

    name = method_name(settings["peft_type"])
    return f"{_stack_name(settings['prompt'])}+{name}" if settings.get("prompt") else name


def _base_novel(options: ResultOptions) -> Figure:
    from ..evaluation.plots import base_novel_scatter

    return base_novel_scatter(_rows(options, ("protocol", "shots")))


def _shots(options: ResultOptions, figure: FigureOptions) -> Figure:
    from ..evaluation.plots import accuracy_over_shots

    return accuracy_over_shots(_rows(options, ("protocol",)), figure.figure)


def _rows(options: ResultOptions, same: Sequence[str]) -> list[dict[str, Any]]:
    """The rows that the flags name; those of one picture must agree in what is not drawn."""
    from ..evaluation.report import read_results

    rows = [row for row in read_results(options.results) if "error" not in row]
    for condition in options.only or ():
        key, equals, value = condition.partition("=")
        if not equals:
            raise AlmPromptError(f"--only {condition!r} is not of the form key=value, as in dataset=ESC50")
        rows = [row for row in rows if str(row.get(key)) == value]
        if not rows:
            raise AlmPromptError(f"--only {condition}: no row has this value")
    for key in same:
        values = list(dict.fromkeys(str(row.get(key)) for row in rows))
        if len(values) > 1:
            raise AlmPromptError(
                f"the rows have several values of {key}: {', '.join(values)}; add --only {key}={values[0]}"
            )
    return rows


def _confusion(adapter: AdapterOptions, model: CachedModelOptions, data: DataOptions) -> Figure:
    from ..evaluation.plots import confusion_matrix
    from .evaluate import classify

    classifier, predictions, clips = classify(adapter.adapter, model, data)
    return confusion_matrix(predictions, clips.label_ids(classifier.class_names), classifier.class_names)


def _mixing(adapter: OneAdapterOptions, model: TextOptions) -> Figure:
    from ..evaluation.plots import learned_mixing
    from .loading import open_classifier

    classifier, _ = open_classifier(adapter.adapter, ModelOptions(**vars(model)), None)
    mixing = classifier.class_head.tensors(classifier.active_adapter).get("mixing")
    if mixing is None:
        raise AlmPromptError(f"adapter {adapter.adapter!r} learned no mixing of text with vectors, as palm does")
    return learned_mixing(classifier.class_names, mixing.detach().float().sigmoid().tolist())


def _losses(options: LogOptions) -> Figure:
    from transformers.trainer import TRAINER_STATE_NAME

    from ..evaluation.plots import loss_parts
    from ..training.checkpoints import list_checkpoints

    folder = Path(options.run)
    states = [place / TRAINER_STATE_NAME for place in (*list_checkpoints(folder), folder)]
    found = [path for path in states if path.is_file()]
    if not found:
        raise AlmPromptError(
            f"no {TRAINER_STATE_NAME} in {folder} or its checkpoints; name the folder of a training run"
        )
    try:
        log = json.loads(found[-1].read_text(encoding="utf-8"))["log_history"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise AlmPromptError(f"{found[-1]} is damaged and holds no log of a training; name another --run") from error
    return loss_parts(log)


NEIGHBOR_OPTIONS = [NeighborTextOptions, TextOptions]
KINDS: dict[str, tuple[str, list[type], Callable[..., Figure]]] = {
    "neighbors": ("similarity of classes to the neighbours of all classes", NEIGHBOR_OPTIONS, _neighbors),
    "tsne": ("classes and their neighbours in two dimensions", NEIGHBOR_OPTIONS, _tsne),
    "base-novel": ("novel against base accuracy of benchmark rows", [ResultOptions], _base_novel),
    "shots": ("accuracy of benchmark rows over shots", [ResultOptions, FigureOptions], _shots),
    "confusion": ("which class is taken for which", [AdapterOptions, CachedModelOptions, DataOptions], _confusion),
    "mixing": ("share of the learned vector that PALM learned per class", [OneAdapterOptions, TextOptions], _mixing),
    "losses": ("training loss and its parts over the steps", [LogOptions], _losses),
}
