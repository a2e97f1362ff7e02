"""The model card of an adapter: written from its config and `results.json`, at every saving and before a push."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Template
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError, safe_open
from yaml import YAMLError

from ..errors import AlmPromptError
from ..files import write_whole
from ..registry import METHODS, method_name
from .backbones import TINY, is_hub_id, shared_name
from .escaping import cell, code, plain
from .reading import read_bounded, read_config
from .results import AdapterResults, Figure, Measurement

CARD_NAME = "README.md"
TEMPLATE = Path(__file__).with_name("adapter_card.md")
CITATION_NAME = "citation.bib"
BEGIN = "<!-- alm_prompt writes what follows, from adapter_config.json and results.json. -->"
END = "<!-- What stands below is yours, and so is all of a card without these two marks. -->"

TASK = "audio-classification"
# PEFT looks for its version in a card and adds it where it is not written like this.
NAMES_IN_CARDS = {"peft": "PEFT"}
LONGEST_LIST = 50
LONGEST_VALUE = 200  # characters
FIGURE_NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "base": "accuracy on base classes",
    "novel": "accuracy on novel classes",
    "h": "harmonic mean of base and novel",
    "base_g": "accuracy on base clips among all classes",
    "novel_g": "accuracy on novel clips among all classes",
    "h_g": "harmonic mean of both among all classes",
    "novel_to_base": "novel clips taken for a base class",
}
# What says nothing about the method, or stands in another place of the card.
OTHER_FIELDS = {"peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "task_type"}
OTHER_FIELDS |= {"inference_mode", "class_names", "text_signature", "weights_sha256", "prompt"}
# Those of the whole stack, which its outermost method carries.
STACK_FIELDS = {"template", "descriptions", "logit_scale", "encoder_mode"}


def write_card(folder: Path, repo_id: str | None = None, results: AdapterResults | None = None) -> None:
    """Write the model card of a saved adapter, around what its owner has written into an earlier one.

    Args:
        folder: with config, weights and, where there is one, `results.json`.
        repo_id: where the adapter will lie on the Hub.
        results: to be written with it; default: those in the folder.

    Raises:
        AlmPromptError: the earlier card, or another file, cannot be read; nothing was written.
    """
    text = card_text(folder, repo_id, results)
    if results is not None:
        results.save(folder)
    write_whole(folder / CARD_NAME, text)


def card_text(folder: Path, repo_id: str | None = None, results: AdapterResults | None = None) -> str:
    """The text that [`write_card`] writes."""
    config = read_config(folder)
    results = AdapterResults.load(folder) if results is None else results
    body = _body(config, results, _count_numbers(folder / SAFETENSORS_WEIGHTS_NAME), repo_id)
    earlier = read_card(folder)
    try:
        return _around(body, config, results, earlier)
    except (ValueError, TypeError, AttributeError, RecursionError, YAMLError) as error:
        raise AlmPromptError(
            f"{folder / CARD_NAME}: its header is no YAML of names and values; correct it, or remove the file"
        ) from error


def read_card(folder: Path) -> str | None:
    """The card in an adapter's folder; `None` where there is none.

    Raises:
        AlmPromptError: it is too large, no text, or a link.
    """
    path = folder / CARD_NAME
    if path.is_symlink():
        # A stranger's would put a file of this machine into a card that is meant for all.
        raise AlmPromptError(f"{path} is a link to another file; put the card itself there, or remove it")
    if not path.is_file():
        return None
    try:
        return read_bounded(path).decode()
    except UnicodeDecodeError as error:
        raise AlmPromptError(f"{path} is no text in UTF-8; save it as such, or remove it") from error


def _around(body: str, config: Mapping[str, Any], results: AdapterResults, earlier: str | None) -> str:
    """A whole card, of what is known now and what its owner has written into an earlier one."""
    before, after, known = "", "", {}
    card = None if earlier is None else ModelCard(earlier, ignore_metadata_errors=True)
    if card is not None and not _is_empty_form(card.text):
        known = _without_paths(card.data.to_dict())
        if BEGIN not in card.text or END not in card.text:
            return f"---\n{ModelCardData(**known).to_yaml()}\n---\n{card.text}"
        before, _, rest = card.text.partition(BEGIN)
        after = rest.partition(END)[2]
    header = _header(config, results, known)
    return f"---\n{header.to_yaml()}\n---\n{before.rstrip()}\n{BEGIN}\n\n{body.strip()}\n\n{END}\n{after.lstrip()}"


def _is_empty_form(text: str) -> bool:
    """Whether PEFT has just made this card: the form of the Hub with nothing filled in but the version of PEFT."""
    form = ModelCard.from_template(ModelCardData()).text.strip()
    rest = text.strip().removeprefix(form)
    return text.strip().startswith(form) and bool(re.fullmatch(r"\s*(### Framework versions(\s+- PEFT \S+)*)?", rest))


def _without_paths(header: Mapping[str, Any]) -> dict[str, Any]:
    """A header without the folder of the backbone, which PEFT writes into every card twice."""
    tags = [tag for tag in header.get("tags") or [] if not str(tag).startswith("base_model:")]
    base_model = header.get("base_model")
    return {**header, "tags": tags, "base_model": base_model if is_hub_id(base_model) else None}


def _header(config: Mapping[str, Any], results: AdapterResults, known: Mapping[str, Any]) -> ModelCardData:
    """The YAML header, with what the owner has added to it."""
    stack = [name for name, _ in _stack(config)]
    own_tags = set(known.get("tags") or []) - {"transformers"}
    base_model = config.get("base_model_name_or_path")
    header = {
        **known,
        "library_name": "peft",
        "pipeline_tag": TASK,
        "base_model": base_model if is_hub_id(base_model) else None,
        "tags": sorted({"alm_prompt", TASK, *stack, *own_tags}),
    }
    if results.license:
        header["license"] = plain(results.license)
    if results.datasets:
        header["datasets"] = [plain(name) for name in results.datasets]
    # Written anew, so that no figure of an earlier adapter stays.
    header = {key: value for key, value in header.items() if key not in ("model-index", "model_name")}
    evaluations = [evaluation for entry in results.measurements for evaluation in _evaluations(entry)]
    if evaluations:
        header |= {"eval_results": evaluations, "model_name": "+".join(reversed(stack))}
    return ModelCardData(**header)


def _evaluations(measurement: Measurement) -> Iterator[EvalResult]:
    """One entry of the header's `model-index` per figure, for data that has a name."""
    if measurement.dataset is None:
        return
    # The Hub's own library tells measurements apart by these two, and would file all others under the first one.
    details = {"dataset_config": measurement.protocol, "dataset_split": measurement.split}
    for name, figure in measurement.figures.items():
        yield EvalResult(
            task_type=TASK,
            dataset_type=plain(measurement.dataset),
            dataset_name=plain(measurement.dataset),
            **{key: plain(value) for key, value in details.items() if value is not None},
            metric_type="f1" if name == "macro_f1" else "accuracy",
            metric_name=plain(FIGURE_NAMES.get(name, name)),
            metric_value=round(figure.mean, 4),
            metric_args={"runs": figure.runs, "standard_deviation": _rounded(figure.deviation)},
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _body(config: Mapping[str, Any], results: AdapterResults, numbers: int, repo_id: str | None) -> str:
    stack = _stack(config)
    names = config.get("class_names") or []
    backbone = shared_name(config.get("base_model_name_or_path"))
    revision = f", revision={json.dumps(config['revision'])}" if config.get("revision") else ""
    more = f" and {len(names) - LONGEST_LIST} more, see `adapter_config.json`" if len(names) > LONGEST_LIST else ""
    training = results.training or {}
    settings = [item for name, layer in stack for item in _changed_settings(name, layer)]
    settings += [(name, code(_shown(value))) for name, value in (training.get("settings") or {}).items()]
    return Template(TEMPLATE.read_text(encoding="utf-8"), trim_blocks=False).render(
        method="+".join(name for name, _ in reversed(stack)),
        number_of_classes=len(names),
        learned_numbers=f"{numbers:,}",
        classes=", ".join(code(name) for name in names[:LONGEST_LIST]) + more,
        backbone="(a local folder)" if backbone is None else code(backbone),
        bundled=backbone == TINY,
        backbone_argument={None: None, TINY: "TINY_MODEL"}.get(backbone, f'"{backbone}"{revision}'),
        repo_id=repo_id or "user/name",
        settings=[(plain(name), value) for name, value in settings],
        training=[
            (plain(name).replace("_", " "), code(_shown(v))) for name, v in training.items() if name != "settings"
        ],
        rows=[row for entry in results.measurements for row in _rows(entry)],
        versions=[(NAMES_IN_CARDS.get(name, plain(name)), plain(v)) for name, v in results.versions.items()],
        citations=_citations(stack),
    )


def _stack(config: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Name and settings of every method, outermost first."""
    stack, layer = [], config
    while layer is not None and len(stack) <= len(METHODS):
        stack.append((method_name(layer["peft_type"]), layer))
        layer = layer.get("prompt")
    return stack


def _changed_settings(method: str, layer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for item in fields(METHODS[method]):
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        value = layer.get(item.name, default)
        if item.name not in OTHER_FIELDS and value != default:
            yield (item.name if item.name in STACK_FIELDS else f"{method}.{item.name}"), code(_shown(value))


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _rows(measurement: Measurement) -> Iterator[list[str]]:
    """Cells of one row of the table per figure."""
    data = "not named" if measurement.dataset is None else cell(measurement.dataset)
    how = "" if measurement.protocol is None else cell(measurement.protocol)
    split = "" if measurement.split is None else cell(measurement.split[:12])
    for name, figure in measurement.figures.items():
        known = FIGURE_NAMES.get(name) or cell(name)
        yield [data, how, known, _percent(figure), str(figure.runs), split]


def _percent(figure: Figure) -> str:
    deviation = "" if figure.deviation is None else f" ± {100 * figure.deviation:.1f}"
    return f"{100 * figure.mean:.1f}{deviation}"


def _citations(stack: list[tuple[str, Mapping[str, Any]]]) -> str:
    """BibTeX of the methods, which lies in the folder of each."""
    modules = [sys.modules[METHODS[name].__module__] for name, _ in stack]
    # A method that is written in a notebook has no file.
    files = [Path(module.__file__).with_name(CITATION_NAME) for module in modules if hasattr(module, "__file__")]
    return "\n\n".join(file.read_text(encoding="utf-8").strip() for file in reversed(files) if file.is_file())


def _count_numbers(weights: Path) -> int:
    try:
        with safe_open(weights, framework="pt") as file:
            return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError) as error:
        raise AlmPromptError(f"{weights} cannot be read: {plain(error)}; save or fetch the adapter again") from error
