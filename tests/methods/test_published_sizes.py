"""Numbers of learned parameters as published, at the size of Pengi: joint dimension 1024, text width 512."""

from __future__ import annotations

import pytest
from peft import get_peft_model
from transformers import CLIPTextConfig

from alm_prompt import (
    AlmConfig,
    AlmForAudioClassification,
    CoCoOpPromptConfig,
    CoOpPromptConfig,
    DePTPromptConfig,
    LinearProbeConfig,
    PalmPromptConfig,
)

CLASSES = [f"sound {number}" for number in range(50)]


@pytest.fixture
def alm(tiny_alm):
    text_config = CLIPTextConfig(vocab_size=19, hidden_size=512, num_hidden_layers=1, max_position_embeddings=40)
    config = AlmConfig({"model_type": "alm_cnn", "channels": [4], "hidden_size": 4}, text_config, projection_dim=1024)
    alm = AlmForAudioClassification(config, tokenizer=tiny_alm.tokenizer)
    alm.set_classes(CLASSES)
    return alm


@pytest.mark.parametrize(
    ("config", "size"),
    [
        pytest.param(CoOpPromptConfig(), 8_192, id="coop: 16 * 512"),
        pytest.param(CoCoOpPromptConfig(), 107_072, id="cocoop: context and network of the public code"),
        pytest.param(PalmPromptConfig(), 1_025 * 50, id="palm: 51,250 on ESC-50"),
        pytest.param(LinearProbeConfig(), 1_025 * 50, id="linear probe: weight and bias"),
        pytest.param(
            DePTPromptConfig(prompt=CoOpPromptConfig()), 8_192 + 4 * 1_024 + 1_025 * 50, id="dept: coop, film, head"
        ),
        pytest.param(
            DePTPromptConfig(prompt=CoOpPromptConfig(), fusion=False, head_in="concatenated", head_classes=50),
            114_738,
            id="dept: as printed by SEPT",
        ),
        pytest.param(PalmPromptConfig(prompt=CoOpPromptConfig()), 8_192 + 1_025 * 50, id="palm over coop"),
    ],
)
def test_learned_parameters(alm, config, size):
    assert get_peft_model(alm, config).get_nb_trainable_parameters()[0] == size
