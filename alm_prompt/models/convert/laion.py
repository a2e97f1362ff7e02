"""LAION CLAP (Wu et al. 2023) as its authors store it, `630k-best.pt` and the like: HTSAT and RoBERTa."""

from __future__ import annotations

import re

from ..configuration import AlmConfig
from .family import Family, FrontEnd
from .front_ends import LAION as UNFUSED
from .front_ends import LAION_FUSED as FUSED
from .htsat import FUSION, MEL_FILTERS, htsat_config, htsat_part
from .mapping import Part, Weights, size
from .text_models import roberta_config, text_part

AUDIO, TEXT = "audio_branch.", "text_branch."


def mlp_name(name: str) -> str:
    """Name the layers of a `Sequential` of Linear, ReLU and Linear as `MlpProjection` does."""
    return re.sub(r"^2\.", "linear2.", re.sub(r"^0\.", "linear1.", name))


# Everything but the two towers, which ReCLAP shares.
HEAD_PARTS = (
    Part("audio_projection.", "audio_projection.", mlp_name),
    Part("text_projection.", "text_projection.", mlp_name),
    Part("audio_transform.", drops={".*": "only for the training loss"}),
    Part("text_transform.", drops={".*": "only for the training loss"}),
    Part("logit_scale_a", "logit_scale"),
    Part("logit_scale_t", drops={"": "scale of finding audio for a text; classification uses logit_scale_a"}),
)


def mlp_settings(weights: Weights) -> dict[str, object]:
    """Settings of both projections, from the shapes of the audio projection."""
    size_between = size(weights, "audio_projection.0.weight")
    return {"kind": "mlp", "hidden_size": size_between, "activation": "relu", "bias": True}


def front_end(weights: Weights) -> FrontEnd:
    """The front end that the audio tower was trained with, by its layers for feature fusion."""
    if f"{AUDIO}{FUSION}" in weights:
        # The filters in a fused checkpoint are a left-over: it read spectrograms made outside, by torchaudio.
        return FrontEnd(FUSED, None)
    return FrontEnd(UNFUSED, weights.get(f"{AUDIO}{MEL_FILTERS}"))


def _config(weights: Weights) -> AlmConfig:
    return AlmConfig(
        audio_config=htsat_config(weights, AUDIO),
        text_config=roberta_config(weights, TEXT),
        projection_dim=size(weights, "audio_projection.2.weight"),
        audio_projection=mlp_settings(weights),
        text_projection=mlp_settings(weights),
        text_pooling="pooler",
        text_max_length=77,
    )


LAION = Family(
    mark=f"{TEXT}embeddings.word_embeddings.weight",
    tokenizer="roberta-base",
    parts=(htsat_part(AUDIO), text_part(TEXT), *HEAD_PARTS),
    config=_config,
    front_end=front_end,
)
