"""CoCoOp against one text pass per clip and class."""

from __future__ import annotations

import pytest
import torch
from peft import get_peft_model

from alm_prompt import AlmPromptError, CoCoOpPromptConfig, CoOpPromptConfig


def far_from_start(alm, **options):
    """CoCoOp in fp64 whose learned numbers all matter, and those numbers."""
    torch.manual_seed(0)
    model = get_peft_model(alm, CoCoOpPromptConfig(n_ctx=3, **options)).double()
    tensors = model.base_model.model.class_head.tensors("default")
    for tensor in tensors.values():
        torch.nn.init.normal_(tensor, std=0.5)
    return model, tensors


def hand_shift(tensors, audio):
    """What the network says of one clip."""
    hidden = torch.clamp(tensors["meta1_weight"] @ (audio / audio.norm()) + tensors["meta1_bias"], min=0)
    return tensors["meta2_weight"] @ hidden + tensors["meta2_bias"]


def coop_with(alm, context):
    """CoOp in fp64 with a given context."""
    coop = get_peft_model(alm, CoOpPromptConfig(n_ctx=3)).double()
    coop.base_model.model.class_head.tensors("default")["context"].data.copy_(context)
    return coop


def test_logits_equal_coop_with_each_clips_own_context(make_tiny_alm, audio_batch):
    features = audio_batch["audio_features"].double()
    model, tensors = far_from_start(make_tiny_alm())
    found = model(audio_features=features)
    for row, audio in enumerate(features):
        shift = hand_shift(tensors, audio)
        coop = coop_with(make_tiny_alm(), torch.stack([vector + shift for vector in tensors["context"]]))
        expected = coop(audio_features=audio[None])
        torch.testing.assert_close(found.logits[row], expected.logits[0], atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(found.text_embeds[row], expected.text_embeds, atol=1e-9, rtol=1e-9)


def test_feedback_to_text_features_shifts_coops_unit_embeddings(make_tiny_alm, audio_batch):
    features = audio_batch["audio_features"].double()
    alm = make_tiny_alm()
    model, tensors = far_from_start(alm, feedback="text_features")
    found = model(audio_features=features)
    embeds = coop_with(make_tiny_alm(), tensors["context"])(audio_features=features).text_embeds
    for row, audio in enumerate(features):
        shift = hand_shift(tensors, audio)
        for column, embed in enumerate(embeds):
            text = embed + shift
            text = text / text.norm()
            torch.testing.assert_close(found.text_embeds[row, column], text, atol=1e-9, rtol=1e-9)
            cosine = audio @ text / audio.norm()
            torch.testing.assert_close(found.logits[row, column], alm.alm.logit_scale.exp() * cosine)


@pytest.mark.parametrize(("reduction", "hidden"), [(16, 2), (4, 8), (1, 32), (1000, 1)])
def test_the_network_is_as_wide_as_asked(tiny_alm, reduction, hidden):
    model = get_peft_model(tiny_alm, CoCoOpPromptConfig(n_ctx=3, reduction=reduction))
    tensors = model.class_head.tensors("default")
    assert tensors["meta1_weight"].shape == (hidden, 32)
    assert tensors["meta2_weight"].shape == (24, hidden)


def test_feedback_to_text_features_reads_one_prompt_per_class(tiny_alm, audio_batch):
    model = get_peft_model(tiny_alm, CoCoOpPromptConfig(n_ctx=3, feedback="text_features"))
    read = []
    tiny_alm.alm.text_tower.register_forward_hook(lambda module, inputs, output: read.append(output[..., 0].numel()))
    model(**audio_batch)
    assert read == [4]


@pytest.mark.parametrize(
    ("options", "message"), [({"reduction": 0}, "reduction is 0"), ({"feedback": "logits"}, "feedback is 'logits'")]
)
def test_bad_options_are_named(options, message):
    with pytest.raises(AlmPromptError, match=message):
        CoCoOpPromptConfig(**options)
