"""ReCLAP (Ghosh et al. 2024): HTSAT, trained with feature fusion, and the encoder of flan-T5."""

from __future__ import annotations

from ..configuration import AlmConfig
from .family import Family
from .htsat import htsat_config, htsat_part
from .laion import AUDIO, HEAD_PARTS, TEXT, front_end, mlp_settings
from .mapping import Weights, size
from .text_models import t5_config, text_part


def _config(weights: Weights) -> AlmConfig:
    return AlmConfig(
        audio_config=htsat_config(weights, AUDIO),
        text_config=t5_config(weights, TEXT),
        projection_dim=size(weights, "audio_projection.2.weight"),
        audio_projection=mlp_settings(weights),
        text_projection=mlp_settings(weights),
        text_pooling="mean_padded",
        text_max_length=77,
    )


RECLAP = Family(
    mark=f"{TEXT}shared.weight",
    tokenizer="google/flan-t5-large",
    parts=(htsat_part(AUDIO), text_part(TEXT), *HEAD_PARTS),
    config=_config,
    front_end=front_end,
)
