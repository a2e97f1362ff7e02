"""ReCLAP (Ghosh et al. 2024): HTSAT, trained with feature fusion, and the encoder of flan-T5."""

from __future__ import annotations

from ..configuration import AlmConfig
from .family import Family, FrontEnd
from .front_ends import LAION, LAION_FUSED
from .htsat import MEL_FILTERS, htsat_config, htsat_part
from .laion import FUSION, HEAD_PARTS, mlp_settings
from .mapping import Weights, size
from .text_models import t5_config, text_part

AUDIO, TEXT = "audio_branch.", "text_branch."
FUSION_REASON = "fusion only reads clips longer than 10 s, of which the centre is read here"


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


def _front_end(weights: Weights) -> FrontEnd:
    if f"{AUDIO}{FUSION}" in weights:
        # The filters in a fused checkpoint are a left-over: it read spectrograms made outside, by torchaudio.
        return FrontEnd(LAION_FUSED, None)
    return FrontEnd(LAION, weights.get(f"{AUDIO}{MEL_FILTERS}"))


RECLAP = Family(
    mark=f"{TEXT}shared.weight",
    tokenizer="google/flan-t5-large",
    parts=(
        htsat_part(AUDIO, {r"patch_embed\.(mel_conv2d|fusion_model)\..*": FUSION_REASON}),
        text_part(TEXT),
        *HEAD_PARTS,
    ),
    config=_config,
    front_end=_front_end,
)
