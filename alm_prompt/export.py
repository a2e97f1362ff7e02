"""What an adapter has learned, in files that are used without this package."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save
from torch import nn

from .errors import AlmPromptError
from .files import write_whole

if TYPE_CHECKING:
    from peft import PeftModel

    from .models import AlmFeatureExtractor, AlmForAudioClassification

EMBEDDINGS_NAME = "class_embeddings.safetensors"
AUDIO_TOWER_NAME = "audio_tower.onnx"
ONNX_PACKAGES = 'pip install "alm-prompt[onnx]"'
# Largest difference between the exported tower and the model, relative to the largest feature: float32 rounding of
# the same sums in another order.
ONNX_TOLERANCE = 1e-4


@torch.no_grad()
def export_class_embeddings(model: AlmForAudioClassification | PeftModel, path: str | Path) -> None:
    """Write one vector per class: with unit audio embeddings `a`, `logits = logit_scale * a @ class_embeddings.T`.

    The file holds `class_embeddings` `[C, d]`, float32, and as metadata the `class_names` (a JSON list, in the order
    of the rows) and the `logit_scale`.

    Args:
        model: a model with its classes set, with or without an adapter, in eval mode.
        path: the safetensors file to write.

    Raises:
        AlmPromptError: no classes are set, or the adapter's method does not classify by such vectors.
    """
    if model.class_bank is None:
        raise AlmPromptError("the model has no classes; call model.set_classes([...]) first")
    weights, scale = model.class_head.class_weights(model.class_bank, model.alm)
    # A label is data: in JSON's ASCII no character of it can end a line or steer a terminal.
    metadata = {"class_names": json.dumps(model.class_names), "logit_scale": repr(float(scale))}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, save({"class_embeddings": weights.float().cpu().contiguous()}, metadata))


def check_onnx() -> None:
    """Make sure that the packages of the extra `onnx` are there, before any work.

    Raises:
        AlmPromptError: one is missing.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise AlmPromptError(f"ONNX needs the package {missing[0]}, which is not installed; {ONNX_PACKAGES}")


def export_audio_tower(
    model: AlmForAudioClassification | PeftModel, feature_extractor: AlmFeatureExtractor, path: str | Path
) -> float:
    """Write the audio encoder as ONNX: `input_features` `[B, 1, T, n_mels]` in, `audio_features` `[B, d]` out.

    The inputs are those of the processor, for any number of clips; the outputs are not normalised. The written file
    is run and compared with the model, on another number of clips than it was traced with, before it gets its name.

    Args:
        model: a model with or without an adapter, in eval mode, on the CPU.
        feature_extractor: its front end.
        path: the ONNX file to write.

    Returns:
        The largest difference between the file's output and the model's, relative to the largest feature.

    Raises:
        AlmPromptError: a package is missing, the front end reads patches or views for feature fusion, or the file
            computes something else than the model.
    """
    check_onnx()
    if feature_extractor.fusion:
        raise AlmPromptError("an audio tower with feature fusion cannot be exported; use the model itself")
    if feature_extractor.pad == "patch":
        raise AlmPromptError(
            "a front end with pad='patch' gives every clip its own number of patches, which cannot be exported; use "
            "the model itself, or one whose clips all have one length"
        )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, _quiet_exporter():
        temporary = Path(folder, path.name)
        program = torch.onnx.export(
            _AudioTower(model).eval(),
            (_noise_features(feature_extractor, clips=2),),
            input_names=["input_features"],
            output_names=["audio_features"],
            dynamic_shapes={"input_features": {0: torch.export.Dim("clips")}},
            dynamo=True,
            verbose=False,
        )
        for node in program.model.graph.all_nodes():
            node.metadata_props.clear()  # Call stacks, with paths of this machine.
        program.save(temporary)
        difference = _difference(temporary, model, _noise_features(feature_extractor, clips=3))
        if not difference <= ONNX_TOLERANCE:
            raise AlmPromptError(
                f"the ONNX file differs from the audio tower by {difference:.1e} of its largest feature, more than "
                f"{ONNX_TOLERANCE:.0e}; nothing was written, use the model itself"
            )
        os.replace(temporary, path)
    return difference


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without the exporter's notes to its own authors."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class _AudioTower(nn.Module):
    """From mel features to audio features, as the active adapter's encoder mode wants them."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_features: torch.Tensor) -> torch.Tensor:
        return self.model.get_audio_features(input_features)


def _noise_features(feature_extractor: AlmFeatureExtractor, clips: int) -> torch.Tensor:
    noise = torch.randn(clips, feature_extractor.sampling_rate, generator=torch.Generator().manual_seed(clips))
    return feature_extractor(list(0.1 * noise), feature_extractor.sampling_rate)["input_features"]


@torch.no_grad()
def _difference(path: Path, model: Any, input_features: torch.Tensor) -> float:
    """Largest difference between a file's output and the model's, relative to the largest feature."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [output] = session.run(None, {"input_features": input_features.numpy()})
    expected = model.get_audio_features(input_features)
    return ((torch.from_numpy(output) - expected).abs().max() / expected.abs().max()).item()
