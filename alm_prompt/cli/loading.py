"""Opening what the flags name: model, adapter, clips, methods. Whatever goes wrong is one line for the user."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from ..errors import AlmPromptError
from ..hub import TINY, TINY_FOLDER, read_config
from ..loading import adapter_folder, attach_adapter, backbone_failures, recorded_backbone
from ..yaml_text import read_yaml
from .options import CachedModelOptions, DataOptions, ModelOptions

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

    from ..data import AudioClips
    from ..models import AlmForAudioClassification, AlmProcessor
    from ..training import AudioFeatureCache

REAL_MODEL = "laion/clap-htsat-unfused"
# More processes than this read clips faster than any tower encodes them.
MOST_WORKERS = 8


def open_model(
    reference: str, options: ModelOptions | None = None, revision: str | None = None
) -> tuple[AlmForAudioClassification, AlmProcessor]:
    """Open a model and its processor on the best device at hand.

    Args:
        reference: `tiny`, a folder or a Hub id.
        options: how its text tower computes; default: the fast way, with as much memory as it asks for.
        revision: branch, tag or commit of a model on the Hub.

    Raises:
        AlmPromptError: there is no such model, or it cannot be read.
    """
    import torch

    from ..models import AlmForAudioClassification, AlmProcessor

    source = TINY_FOLDER if reference == TINY else reference
    with (
        backbone_failures(f"--model {reference!r} (a folder, a Hub id or {TINY!r}) cannot be opened"),
        bar_for_downloads_only(source),
    ):
        hub = {} if revision is None else {"revision": revision}
        model = AlmForAudioClassification.from_pretrained(source, **hub)
        processor = AlmProcessor.from_pretrained(source, **hub)
    # An adapter names its model. A path into this installation would mean nothing on another machine.
    model.name_or_path = model.config.name_or_path = reference
    if options is not None:
        tower = model.alm.text_tower
        tower.fast, tower.memory = options.fast, round(options.text_memory * 2**30)
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), processor


def spoken_name(reference: str | None) -> str:
    """A model in a sentence for the user, who may not know that the one taken without a word is a toy."""
    return f"{TINY}, a toy model (--model takes a real one)" if reference in (None, TINY) else reference


def check_several(class_names: Sequence[str]) -> None:
    """Refuse a single class.

    Raises:
        AlmPromptError: there is one class only.
    """
    if len(class_names) == 1:
        apart = ", separated by spaces" if "," in class_names[0] else ""
        raise AlmPromptError(
            f"{class_names[0]!r} is the only class; give two or more{apart}, for clips to be told apart"
        )


def open_adapter(model: AlmForAudioClassification, reference: str) -> PeftModel:
    """Put a saved adapter on its model; the model takes the adapter's classes where it has none.

    Args:
        model: the model that the adapter was trained on.
        reference: folder or Hub id.

    Raises:
        AlmPromptError: no adapter there, of an unknown type, of another model, or damaged.
    """
    return attach_adapter(model, adapter_folder(reference), reference)


def open_classifier(
    adapter: str | None, options: ModelOptions, classes: Sequence[str] | None, beside: str | None = None
) -> tuple[Any, AlmProcessor]:
    """A model with its classes set, with an adapter or zero-shot, ready to classify.

    Args:
        adapter: folder or Hub id of an adapter; `None` for zero-shot.
        options: the model, by default the adapter's own or the bundled one; template and descriptions, by default
            the adapter's or the model's own.
        classes: class names; by default those the adapter was trained on.
        beside: adapter whose model is the default; by default this one.

    Raises:
        AlmPromptError: something cannot be opened, or neither classes nor adapter is given.
    """
    settings = {} if adapter is None else read_adapter_config(adapter)
    classes = classes or settings.get("class_names")
    if classes is None:
        raise AlmPromptError("no classes are given; add --classes dog rain siren, or an --adapter that has its own")
    beside = beside or adapter
    recorded, revision = options.model or TINY, None
    if beside is not None and not options.model:
        recorded, revision = recorded_backbone(beside, read_adapter_config(beside))
    alm, processor = open_model(recorded, options, revision)
    set_classes(alm, classes, replace(options, template=options.template or settings.get("template")))
    return (alm if adapter is None else open_adapter(alm, adapter)).eval(), processor


def read_adapter_config(reference: str) -> dict[str, Any]:
    """Settings of a saved adapter, with the type of the method checked.

    Args:
        reference: folder or Hub id.

    Raises:
        AlmPromptError: there is no adapter, or its `peft_type` is none of ours.
    """
    return read_config(adapter_folder(reference))


def set_classes(model: AlmForAudioClassification, class_names: Sequence[str], options: ModelOptions) -> None:
    """Set the classes of a model with the template and the descriptions that the flags name.

    Raises:
        AlmPromptError: descriptions that cannot be read, or lack a class.
    """
    from ..prompts import open_descriptions

    source = options.descriptions
    descriptions = None if source is None else open_descriptions(source, class_names)
    model.set_classes(class_names, template=options.template, descriptions=descriptions)


def open_clips(options: DataOptions) -> AudioClips:
    """All clips that the flags name; no audio is read yet."""
    from ..data import load_clips

    columns = {
        item.name: getattr(options, item.name)
        for item in fields(options)
        if item.name not in ("data", "classes", "folds") and getattr(options, item.name) != item.default
    }
    return load_clips(options.data, **columns)


def take_side(clips: AudioClips, options: DataOptions, side: Literal["train", "test"]) -> AudioClips:
    """Those of the clips that the flags name for learning, or for measuring.

    Args:
        clips: all clips.
        options: the flags. Without `--folds`, data whose folds are called "train" and "test" are parted so.
        side: which of the two.

    Raises:
        AlmPromptError: an unknown fold, or folds that nothing is taken from.
    """
    from ..data import folds

    if options.folds is not None:
        return clips.select(folds=options.folds)
    names = folds(clips)
    if {"train", "test"} <= set(names):
        print(f"the data are parted: fold {side!r} is taken (--folds takes others)", flush=True)
        return clips.select(folds=[side])
    if options.fold_column is not None:
        raise AlmPromptError(
            f"--fold-column names the folds {', '.join(names)}, and nothing says which to take; add --folds"
        )
    return clips


def open_cache(options: CachedModelOptions, keep: bool = True) -> AudioFeatureCache:
    """The cache of audio features that the flags ask for; without `keep`, one that reads and writes nothing."""
    import torch

    from ..training import AudioFeatureCache

    workers = options.num_workers
    if workers is None:
        # Without a GPU the audio tower takes all cores, and who reads for it takes them away.
        workers = min((os.cpu_count() or 1) - 1, MOST_WORKERS) if torch.cuda.is_available() else 0
    return AudioFeatureCache(options.cache_dir, keep and not options.no_cache, workers)


def open_neighbors(
    path: str | None, class_names: Sequence[str], held_out: Sequence[str] = ()
) -> dict[str, list[str]] | None:
    """Acoustic neighbours of a file, held to the classes; `None` where no file is named.

    Args:
        path: JSON file, such as `alm-prompt neighbors` writes.
        class_names: classes that are trained.
        held_out: classes that training must not know.

    Raises:
        AlmPromptError: the file cannot be read, or its neighbours cannot be used for these classes.
    """
    from ..prompts import checked_neighbors, read_neighbors

    return None if path is None else checked_neighbors(read_neighbors(path), class_names, held_out)


def parse_methods(
    expressions: Sequence[str],
    options: Sequence[str] | None,
    neighbors: dict[str, list[str]] | None = None,
    encoder_mode: str = "frozen",
) -> dict[str, PeftConfig | None]:
    """Config of every stack of methods.

    Args:
        expressions: such as `"coop+zebra"`.
        options: such as `"coop.n_ctx=16"`; each goes to the stacks that its method occurs in.
        neighbors: terms per class, for every method that has an option of this name.
        encoder_mode: how the encoders are while any of them trains.

    Raises:
        AlmPromptError: an unknown method or option, an option that is no `method.option=value`, or neighbours that no
            method takes.
    """
    from ..methods import parse_method
    from ..methods.expression import neighbor_options

    parts = {expression: [name.strip() for name in expression.lower().split("+")] for expression in expressions}
    used = {name for names in parts.values() for name in names}
    settings = method_settings(options)
    shared = {} if neighbors is None else neighbor_options("+".join(sorted(used)), neighbors)
    for key in shared.keys() & settings.keys():
        raise AlmPromptError(f"neighbours are given twice; give --neighbors or the method option {key!r}")
    configs = {}
    for expression, names in parts.items():
        own = {key: value for key, value in (settings | shared).items() if key.partition(".")[0] in names}
        configs[expression] = parse_method(expression, own)
        if configs[expression] is not None:
            configs[expression].encoder_mode = encoder_mode
    for key in settings:
        if key.partition(".")[0] not in used:
            raise AlmPromptError(f"method option {key!r} belongs to none of {', '.join(expressions)}; remove it")
    if neighbors is not None and not shared:
        raise AlmPromptError(f"none of {', '.join(expressions)} takes neighbours; leave out --neighbors")
    return configs


def method_settings(options: Sequence[str] | None) -> dict[str, Any]:
    """Values by `method.option`.

    Raises:
        AlmPromptError: an option is not of that form.
    """
    settings = {}
    for option in options or ():
        key, equals, value = option.partition("=")
        if not equals or "." not in key:
            raise AlmPromptError(
                f"method option {option!r} is not of the form method.option=value, as in coop.n_ctx=16"
            )
        settings[key.strip()] = _option_value(value)
    return settings


def _option_value(text: str) -> Any:
    try:
        value = read_yaml(text)
    except yaml.YAMLError:
        # Words with an apostrophe, say: what was meant is the text itself.
        return text
    # A colon or a dash in words makes no collection; who means one writes its brackets.
    return text if isinstance(value, (dict, list)) and text.lstrip()[0] not in "{[" else value


@contextmanager
def bar_for_downloads_only(source: str | Path) -> Iterator[None]:
    """Hide the progress bar over a local folder's weights, which is over at once."""
    from transformers.utils import logging

    hidden = Path(source).is_dir() and logging.is_progress_bar_enabled()
    if hidden:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if hidden:
            logging.enable_progress_bar()
