"""CoOp against an independent computation of its prompts."""

from __future__ import annotations

import pytest
import torch
from peft import get_peft_model

from alm_prompt import AlmPromptError, CoOpPromptConfig

NAMES = {"dog": ["dog"], "rain": ["rain"], "siren": ["siren"], "door bell": ["door", "bell"]}


def prompt_pieces(words, n_context, position):
    """One prompt as a list: words, special tokens, and the index of a context vector for each slot."""
    before = {"end": n_context, "middle": n_context // 2, "front": 0}[position]
    slots = list(range(n_context))
    return ["<|startoftext|>", *slots[:before], *words, *slots[before:], ".", "<|endoftext|>"]


def hand_logits(alm, contexts, position, audio_features):
    """Each prompt alone through CLIP's own forward, its context put in behind the embedding table."""
    text_model, columns = alm.alm.text_tower.model, []
    for words, context in zip(NAMES.values(), contexts, strict=True):
        pieces = prompt_pieces(words, len(context), position)
        ids = torch.tensor([[0 if isinstance(p, int) else alm.tokenizer.convert_tokens_to_ids(p) for p in pieces]])

        def put_in(module, inputs, output, pieces=pieces, context=context):
            rows = [context[p] if isinstance(p, int) else output[0, i] for i, p in enumerate(pieces)]
            return torch.stack(rows)[None]

        handle = text_model.embeddings.token_embedding.register_forward_hook(put_in)
        feature = alm.alm.text_projection(text_model(input_ids=ids).pooler_output)[0]
        handle.remove()
        columns.append(
            [alm.alm.logit_scale.exp() * torch.cosine_similarity(a, feature, dim=0) for a in audio_features]
        )
    return torch.tensor(columns).T


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("class_specific", [False, True])
@pytest.mark.parametrize("n_ctx", [1, 5])
def test_logits_equal_a_hand_written_loop(tiny_alm, audio_batch, position, class_specific, n_ctx):
    config = CoOpPromptConfig(n_ctx=n_ctx, class_position=position, class_specific=class_specific)
    model = get_peft_model(tiny_alm, config)
    context = model.base_model.model.class_head.learned_context["default"]
    torch.nn.init.normal_(context, std=0.5)
    contexts = context if class_specific else [context] * len(NAMES)
    with torch.no_grad():
        expected = hand_logits(tiny_alm, contexts, position, audio_batch["audio_features"])
        found = model(audio_features=audio_batch["audio_features"]).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_context_of_the_template_words_is_zero_shot(tiny_alm, audio_batch):
    zero_shot = tiny_alm(audio_features=audio_batch["audio_features"]).logits
    model = get_peft_model(tiny_alm, CoOpPromptConfig(ctx_init="This is a sound of"))
    found = model(audio_features=audio_batch["audio_features"]).logits
    torch.testing.assert_close(found, zero_shot, atol=1e-5, rtol=1e-5)


def test_random_context_has_the_published_spread(tiny_alm):
    model = get_peft_model(tiny_alm, CoOpPromptConfig(n_ctx=16))
    context = model.base_model.model.class_head.learned_context["default"]
    assert context.shape == (16, 24)
    assert 0.017 < context.std().item() < 0.023


def test_logit_scale_of_the_adapter_replaces_that_of_the_model(make_tiny_alm, audio_batch):
    def prompted_logits(**options):
        torch.manual_seed(0)
        return get_peft_model(make_tiny_alm(), CoOpPromptConfig(n_ctx=4, **options))(**audio_batch).logits

    own_scale = make_tiny_alm().alm.logit_scale.exp()
    torch.testing.assert_close(prompted_logits(logit_scale=100.0), prompted_logits() * 100 / own_scale)


def test_underscore_is_a_space(make_tiny_alm, audio_batch):
    model = get_peft_model(make_tiny_alm(classes=["dog", "door_bell"]), CoOpPromptConfig(n_ctx=4))
    first = model(audio_features=audio_batch["audio_features"]).logits
    model.set_classes(["dog", "door bell"])
    assert torch.equal(model(audio_features=audio_batch["audio_features"]).logits, first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_ctx": 0}, "n_ctx is 0"),
        ({"n_ctx": 10**9}, "none are left beside 1000000000 context vectors"),
        ({"n_ctx": 2.5}, "n_ctx is 2.5"),
        ({"ctx_init": "  "}, "ctx_init is blank"),
        ({"class_position": "left"}, "class_position is 'left'"),
        ({"logit_scale": -1.0}, "logit_scale is -1.0"),
    ],
)
def test_bad_options_are_named(tiny_alm, options, message):
    with pytest.raises(AlmPromptError, match=message) as error:
        get_peft_model(tiny_alm, CoOpPromptConfig(**options))
    assert "\n" not in str(error.value)


def test_name_too_long_beside_the_context_is_named_with_its_budget(tiny_alm):
    model = get_peft_model(tiny_alm, CoOpPromptConfig(n_ctx=16))
    with pytest.raises(AlmPromptError, match=r"'dog( dog){14}' has 16 tokens.*only 14 of the text tower's 32"):
        model.set_classes(["rain", "dog" + " dog" * 14])
    assert "rain" in model.class_names and "dog" in model.class_names
