"""CoCoOp against one text pass per clip and class, and its published size."""

from __future__ import annotations

import pytest
import torch
from peft import get_peft_model
from transformers import CLIPTextConfig

from alm_prompt import AlmConfig, AlmForAudioClassification, AlmPromptError, CoCoOpPromptConfig, CoOpPromptConfig


def test_logits_equal_coop_with_each_clips_own_context(make_tiny_alm, audio_batch):
    model = get_peft_model(make_tiny_alm(), CoCoOpPromptConfig(n_ctx=3))
    tensors = model.base_model.model.class_head.tensors("default")
    for tensor in tensors.values():
        torch.nn.init.normal_(tensor, std=0.5)
    found = model(audio_features=audio_batch["audio_features"])
    coop = get_peft_model(make_tiny_alm(), CoOpPromptConfig(n_ctx=3))
    context = coop.base_model.model.class_head.tensors("default")["context"]
    for row, audio in enumerate(audio_batch["audio_features"]):
        unit = audio / audio.norm()
        hidden = torch.clamp(tensors["meta1_weight"] @ unit + tensors["meta1_bias"], min=0)
        shift = tensors["meta2_weight"] @ hidden + tensors["meta2_bias"]
        with torch.no_grad():
            context.copy_(torch.stack([vector + shift for vector in tensors["context"]]))
        expected = coop(audio_features=audio[None])
        torch.testing.assert_close(found.logits[row], expected.logits[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.text_embeds[row], expected.text_embeds, atol=1e-5, rtol=1e-5)


def test_size_is_that_of_the_code_at_pengi_size(tiny_alm):
    text_config = CLIPTextConfig(vocab_size=19, hidden_size=512, num_hidden_layers=1, max_position_embeddings=40)
    config = AlmConfig({"model_type": "alm_cnn", "channels": [4], "hidden_size": 4}, text_config, projection_dim=1024)
    alm = AlmForAudioClassification(config, tokenizer=tiny_alm.tokenizer)
    alm.set_classes(["dog", "rain"])
    assert get_peft_model(alm, CoCoOpPromptConfig()).get_nb_trainable_parameters()[0] == 107_072


def test_bad_reduction_is_named():
    with pytest.raises(AlmPromptError, match="reduction is 0"):
        CoCoOpPromptConfig(reduction=0)
