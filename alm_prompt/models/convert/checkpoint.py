"""Conversion of an official checkpoint into a folder in our own format."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ...audio.features import mel_filters
from ...errors import AlmPromptError
from ...hub import file_sha256
from ...versions import installed_versions
from ..processing import AlmFeatureExtractor, AlmProcessor
from .family import Family, FrontEnd
from .htsat import split_qkv
from .laion import LAION
from .mapping import MappedWeights, Weights, check_weights, map_weights
from .msclap_2022 import MSCLAP_2022
from .msclap_2023 import MSCLAP_2023
from .pengi import PENGI, PENGI_GENERATION
from .reading import check_checkpoint_file, read_checkpoint
from .reclap import RECLAP

FAMILIES: dict[str, Family] = {
    "pengi": PENGI,
    "msclap-2022": MSCLAP_2022,
    "msclap-2023": MSCLAP_2023,
    "laion": LAION,
    "reclap": RECLAP,
}
# Those that can be converted together with what writes text.
WRITING_FAMILIES: dict[str, Family] = {"pengi": PENGI_GENERATION}
# Relatives that no converter is for, by a name's beginning.
OTHERS = {
    "audio_model.": "it is a CLAP of transformers, whose folder from_pretrained opens as it is",
    "caption_decoder.": "it is a Pengi without text encoder, which cannot classify",
    "clap.": "it is clapcap, which writes captions and cannot classify",
}
REPORT_NAME = "conversion_report.json"
SHARD_SIZE = "4GB"
# Up to float32 rounding, filters by the published recipe are those of the checkpoint.
MEL_TOLERANCE = 1e-6
# Embedding tables are at most padded to a multiple of this (T5).
TABLE_PADDING = 128


def convert_checkpoint(
    family: str,
    checkpoint: str | Path,
    output: str | Path,
    tokenizer: str | Path | None = None,
    generation: bool = False,
    decoder_tokenizer: str | Path | None = None,
) -> dict[str, Any]:
    """Convert an official checkpoint into a folder that `from_pretrained` opens.

    The folder appears under its name only when it is complete.

    Args:
        family: one of `FAMILIES`.
        checkpoint: the official weight file, or a `.safetensors` file of the same tensors.
        output: the folder to write; it must not exist, or be empty.
        tokenizer: folder or Hub id of the tokenizer; default: the one that the family was trained with.
        generation: whether the model is to write text, for [`PengiForConditionalGeneration`]; default: it classifies.
        decoder_tokenizer: the same as `tokenizer`, for what it writes.

    Returns:
        The report, which also lies in the folder as `conversion_report.json`.

    Raises:
        AlmPromptError: the family is unknown or writes no text, the folder is taken, or the checkpoint or a tokenizer
            cannot be read or is of another model.
    """
    settings = _settings(family, generation)
    if decoder_tokenizer is not None and not generation:
        raise AlmPromptError(f"decoder_tokenizer {str(decoder_tokenizer)!r} is for generation only; add --generation")
    output, source = _check_output(Path(output)), check_checkpoint_file(checkpoint)
    references = {"tokenizer": tokenizer or settings.tokenizer}
    if generation:
        references["decoder_tokenizer"] = decoder_tokenizer or settings.decoder_tokenizer
    tokenizers = {argument: _open_tokenizer(argument, str(name), settings) for argument, name in references.items()}
    weights = read_checkpoint(source)
    _check_family(family, weights, source)
    try:
        model, mapped = _build(settings, weights)
        extractor, mel_difference = _feature_extractor(settings.front_end(weights))
    except AlmPromptError as error:
        raise AlmPromptError(f"checkpoint {source} as {family}: {error}") from error
    alm = model.get_submodule(settings.alm)
    tables = {"tokenizer": alm.get_input_embeddings(), "decoder_tokenizer": model.get_input_embeddings()}
    for argument, opened in tokenizers.items():
        _check_vocabulary(argument, opened, tables[argument])
    processor = settings.processor(extractor, **tokenizers)
    if generation:
        model.config.update(processor.stopping_ids)
        model.generation_config.update(**processor.stopping_ids)
    dropped = sum(map(len, mapped.dropped.values()))
    report = {
        "family": family,
        "source": {"file": source.name, "bytes": source.stat().st_size, "sha256": file_sha256(source)},
        "tensors": {"read": len(weights), "dropped": dropped, "written": len(mapped.weights)},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "dropped": mapped.dropped,
        "logit_scale": alm.logit_scale.exp().item(),
        "mel_filters": {"max_difference": mel_difference, "stored": extractor.mel_filters is not None},
        **{argument: _name(opened) for argument, opened in tokenizers.items()},
        "versions": installed_versions(),
    }
    _write(output, model, processor, report)
    return report


def _settings(family: str, generation: bool) -> Family:
    if family not in FAMILIES:
        raise AlmPromptError(f"no family {family!r}; choose one of {', '.join(FAMILIES)}")
    families = WRITING_FAMILIES if generation else FAMILIES
    if family not in families:
        raise AlmPromptError(f"{family} writes no text; leave out --generation, or choose {', '.join(families)}")
    return families[family]


def _check_output(folder: Path) -> Path:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "is a file" if not folder.is_dir() else "is not empty"
        raise AlmPromptError(f"output folder {folder} {what}; choose another")
    return folder


def _open_tokenizer(argument: str, reference: str, family: Family) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            reference, model_input_names=["input_ids", "attention_mask"], trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise AlmPromptError(
            f"tokenizer {reference!r} cannot be opened ({reason}); give its folder or Hub id with {_flag(argument)}"
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = family.pad_token
    return tokenizer


def _flag(argument: str) -> str:
    return f"--{argument.replace('_', '-')}"


def _name(tokenizer: PreTrainedTokenizerBase) -> str:
    """The tokenizer's name, without the way to it on this machine."""
    name = tokenizer.name_or_path
    return Path(name).name if Path(name).is_dir() else name


def _check_family(family: str, weights: Weights, source: Path) -> None:
    if FAMILIES[family].mark in weights:
        return
    fitting = next((name for name, other in FAMILIES.items() if other.mark in weights), None)
    if fitting is not None:
        raise AlmPromptError(f"checkpoint {source} is not of {family} but of {fitting}: alm-prompt convert {fitting}")
    for start, what in OTHERS.items():
        if any(name.startswith(start) for name in weights):
            raise AlmPromptError(f"checkpoint {source} is not of {family}: {what}")
    raise AlmPromptError(
        f"checkpoint {source} is of none of {', '.join(FAMILIES)}: it lacks {FAMILIES[family].mark}, which every "
        f"checkpoint of {family} has; its first tensor is {next(iter(weights))}"
    )


def _build(family: Family, weights: Weights) -> tuple[PreTrainedModel, MappedWeights]:
    """The model of a checkpoint, to be saved. It cannot run: buffers that are not saved stay without values."""
    config = family.config(weights)
    mapped = map_weights(split_qkv(weights), family.parts)
    if family.logit_scale is not None:
        mapped.weights[f"{family.alm}.logit_scale".lstrip(".")] = torch.tensor(family.logit_scale)
    with torch.device("meta"):
        model = family.model(config)
    check_weights(mapped.weights, model.state_dict())
    for name, source in model.all_tied_weights_keys.items():
        if not torch.equal(mapped.weights[name], mapped.weights[source]):
            raise AlmPromptError(f"tensor {name} differs from {source}, which it has to be one with")
    model.load_state_dict(mapped.weights, assign=True)
    model.tie_weights()
    return model, mapped


def _check_vocabulary(argument: str, tokenizer: PreTrainedTokenizerBase, table: nn.Embedding) -> None:
    tokens, rows = len(tokenizer), table.num_embeddings
    if not 0 <= rows - tokens < TABLE_PADDING:
        raise AlmPromptError(
            f"tokenizer {_name(tokenizer)!r} has {tokens} tokens, the checkpoint's text model {rows}; give the one "
            f"that it was trained with as {_flag(argument)}"
        )


def _feature_extractor(front_end: FrontEnd) -> tuple[AlmFeatureExtractor, float | None]:
    """The front end, and how far the checkpoint's mel filters are from the published recipe."""
    by_recipe = AlmFeatureExtractor(**front_end.settings)
    if front_end.mel_filters is None:
        return by_recipe, None
    as_stored = AlmFeatureExtractor(**front_end.settings, mel_filters=front_end.mel_filters)
    difference = (mel_filters(by_recipe.spec) - as_stored.mel_filters).abs().max().item()
    return (as_stored if difference > MEL_TOLERANCE else by_recipe), difference


def _write(output: Path, model: PreTrainedModel, processor: AlmProcessor, report: dict[str, Any]) -> None:
    partial = output.with_name(f".{output.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.mkdir(parents=True)
        processor.save_pretrained(partial)
        (partial / REPORT_NAME).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        # The weights come last: nothing opens without them, so no interrupted conversion looks like a whole one.
        model.save_pretrained(partial, max_shard_size=SHARD_SIZE)
        if output.exists():
            output.rmdir()
        partial.rename(output)
    except OSError as error:
        raise AlmPromptError(f"output folder {output} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
