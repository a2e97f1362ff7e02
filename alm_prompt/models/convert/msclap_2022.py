"""MS-CLAP 2022 (Elizalde et al. 2023), `CLAP_weights_2022.pth`: PANN Cnn14 and BERT."""

from __future__ import annotations

import re

from ..audio_towers.cnn import CnnAudioConfig
from ..configuration import AlmConfig
from .family import Family, FrontEnd
from .front_ends import MSCLAP_2022 as FRONT_END
from .mapping import FOURIER_REASON, LABELS_REASON, MEL_FILTERS_REASON, Part, Weights, size
from .text_models import bert_config, text_part

AUDIO, TEXT = "audio_encoder.base.", "caption_encoder.base."
DROPS = {
    r"logmel_extractor\.melW": MEL_FILTERS_REASON,
    r"spectrogram_extractor\..*": FOURIER_REASON,
    r"fc_audioset\..*": LABELS_REASON,
}


def _cnn14_name(name: str) -> str:
    name = re.sub(r"^conv_block(\d+)\.", lambda match: f"blocks.{int(match[1]) - 1}.", name)
    return re.sub(r"^fc1\.", "fc.", re.sub(r"^bn0\.", "batch_norm.", name))


def _cnn14_config(weights: Weights) -> CnnAudioConfig:
    convolutions = sorted(name for name in weights if re.fullmatch(rf"{AUDIO}conv_block\d\.conv2\.weight", name))
    return CnnAudioConfig(
        num_mel_bins=size(weights, f"{AUDIO}bn0.weight"),
        channels=[size(weights, name) for name in convolutions],
        hidden_size=size(weights, f"{AUDIO}fc1.weight"),
    )


def _config(weights: Weights) -> AlmConfig:
    projection = {"kind": "residual", "dropout": 0.5}
    return AlmConfig(
        audio_config=_cnn14_config(weights),
        text_config=bert_config(weights, TEXT),
        projection_dim=size(weights, "audio_encoder.projection.linear2.weight"),
        audio_projection=projection,
        text_projection=dict(projection),
        text_pooling="cls",
        text_max_length=100,
        template="this is the sound of {}",
    )


MSCLAP_2022 = Family(
    mark=f"{AUDIO}conv_block1.conv1.weight",
    tokenizer="bert-base-uncased",
    parts=(
        Part(AUDIO, "audio_tower.", _cnn14_name, DROPS),
        Part("audio_encoder.projection.", "audio_projection."),
        text_part(TEXT, {r"pooler\..*": "the text is read at its first token as it is"}),
        Part("caption_encoder.projection.", "text_projection."),
        Part("logit_scale", "logit_scale"),
    ),
    config=_config,
    front_end=lambda weights: FrontEnd(FRONT_END, weights.get(f"{AUDIO}logmel_extractor.melW")),
)
