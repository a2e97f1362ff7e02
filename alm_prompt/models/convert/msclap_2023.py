"""MS-CLAP 2023 (Elizalde et al. 2024), `CLAP_weights_2023.pth`: HTSAT and GPT-2."""

from __future__ import annotations

from ..configuration import AlmConfig
from .family import Family, FrontEnd
from .front_ends import MSCLAP_2023 as FRONT_END
from .htsat import MEL_FILTERS, htsat_config, htsat_part
from .mapping import Part, Weights, size
from .text_models import POSITIONS_REASON, gpt2_config, text_part

AUDIO, TEXT = "audio_encoder.base.htsat.", "caption_encoder.base."


def _config(weights: Weights) -> AlmConfig:
    projection = {"kind": "residual", "dropout": 0.5}
    return AlmConfig(
        audio_config=htsat_config(weights, AUDIO),
        text_config=gpt2_config(weights, TEXT),
        projection_dim=size(weights, "audio_encoder.projection.linear2.weight"),
        audio_projection=projection,
        text_projection=dict(projection),
        text_pooling="eos",
        text_max_length=77,
        text_suffix=" <|endoftext|>",
        template="this is the sound of {}",
    )


MSCLAP_2023 = Family(
    mark=f"{TEXT}wte.weight",
    tokenizer="gpt2",
    parts=(
        htsat_part(AUDIO),
        Part("audio_encoder.projection.", "audio_projection."),
        text_part(TEXT, {r"h\.\d+\.attn\.(bias|masked_bias)": POSITIONS_REASON}),
        Part("caption_encoder.projection.", "text_projection."),
        Part("logit_scale", "logit_scale"),
    ),
    config=_config,
    front_end=lambda weights: FrontEnd(FRONT_END, weights.get(f"{AUDIO}{MEL_FILTERS}")),
    # What MS-CLAP pads with: id 0, which the attention mask hides.
    pad_token="!",
)
