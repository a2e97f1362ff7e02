"""Pengi (Deshmukh et al. 2023), `base.pth`: HTSAT and CLIP's text model, with or without the decoder that writes."""

from __future__ import annotations

import math
from dataclasses import replace

from ..configuration import AlmConfig
from ..pengi import PengiConfig, PengiForConditionalGeneration, PengiProcessor
from .family import Family, FrontEnd
from .front_ends import PENGI as FRONT_END
from .htsat import MEL_FILTERS, htsat_config, htsat_part
from .mapping import Part, Weights, count, size
from .text_models import POSITIONS_REASON, clip_config, gpt2_config, text_part

AUDIO, TEXT = "audio_encoder.base.htsat.", "caption_encoder.base."
CLIP_PROJECTION = "caption_encoder.clip_text_projection."
DECODER, MAPPER = "caption_decoder.gpt.", "caption_decoder.audio_project."
ENCODER_PARTS = (
    htsat_part(AUDIO),
    Part("audio_encoder.projection.", "audio_projection."),
    text_part(TEXT),
    Part(CLIP_PROJECTION, "text_projection.front."),
    Part("caption_encoder.projection.", "text_projection."),
)


def _config(weights: Weights) -> AlmConfig:
    return AlmConfig(
        audio_config=htsat_config(weights, AUDIO),
        text_config=clip_config(weights, TEXT),
        projection_dim=size(weights, "audio_encoder.projection.linear2.weight"),
        audio_projection={"kind": "residual", "dropout": 0.5},
        text_projection={
            "kind": "residual",
            "dropout": 0.5,
            "front_size": size(weights, f"{CLIP_PROJECTION}weight"),
        },
        text_pooling="eos",
        text_max_length=40,
        logit_scale_init_value=PENGI.logit_scale,
    )


PENGI = Family(
    mark=f"{CLIP_PROJECTION}weight",
    tokenizer="openai/clip-vit-base-patch16",
    parts=(*ENCODER_PARTS, Part("caption_decoder.", drops={".*": "generation only"})),
    config=_config,
    front_end=lambda weights: FrontEnd(FRONT_END, weights.get(f"{AUDIO}{MEL_FILTERS}")),
    # Pengi learned none; PALM and ZEBRA fix it at 100.
    logit_scale=math.log(100),
)


def _mapper_name(name: str) -> str:
    return name.removeprefix("transformer.")


def _generation_config(weights: Weights) -> PengiConfig:
    return PengiConfig(
        alm_config=_config(weights),
        decoder_config=gpt2_config(weights, f"{DECODER}transformer."),
        prefix_length=size(weights, f"{MAPPER}prefix_const"),
        mapper_layers=count(weights, f"{MAPPER}transformer.layers."),
    )


# The same files, read as the whole model.
PENGI_GENERATION = replace(
    PENGI,
    parts=(
        *(replace(part, target=f"alm.{part.target}") for part in ENCODER_PARTS),
        Part(DECODER, "decoder.", drops={r"transformer\.h\.\d+\.attn\.(bias|masked_bias)": POSITIONS_REASON}),
        Part(MAPPER, "audio_mapper.", _mapper_name),
        Part("caption_decoder.text_project.", "text_mapper.", _mapper_name),
    ),
    config=_generation_config,
    model=PengiForConditionalGeneration,
    processor=PengiProcessor,
    alm="alm",
    decoder_tokenizer="gpt2",
)
