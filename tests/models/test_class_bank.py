"""Class lists: what is refused, what is computed once, and the embeddings against a loop."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from alm_prompt import AlmPromptError
from alm_prompt.models import ClassBank


def one_line(error):
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "list of class names is empty"),
        (["dog", "  "], "class name number 2 is '  '"),
        (["dog", 3], "class name number 2 is 3"),
        (["dog", "rain", "dog"], "'dog' stands twice"),
        (["door_bell", "Door bell"], "'Door bell' stands twice in the list .as 'door_bell'"),
        ("dog", "give a list of names"),
        (["dog " * 40], "its sentence .* has 48 tokens, the text tower takes 32"),
    ],
)
def test_bad_class_lists_are_named_and_the_old_one_stays(tiny_alm, names, message):
    before = tiny_alm.class_names
    with pytest.raises(AlmPromptError, match=message) as error:
        tiny_alm.set_classes(names)
    one_line(error)
    assert tiny_alm.class_names == before


@pytest.mark.parametrize("template", ["a sound", "{} and {}", "{0}", "{0.__class__}"])
def test_template_needs_one_place_for_the_name(tiny_alm, template):
    with pytest.raises(AlmPromptError, match=r"must hold '\{\}' once"):
        tiny_alm.set_classes(["dog"], template=template)


def test_class_embeddings_equal_one_text_at_a_time(tiny_alm):
    expected = []
    for name in tiny_alm.class_names:
        tokens = tiny_alm.tokenizer(f"This is a sound of {name}.", return_tensors="pt")
        feature = tiny_alm.alm.get_text_features(tokens["input_ids"])[0]
        expected.append(feature / feature.norm())
    found = tiny_alm(audio_features=torch.randn(1, 32)).text_embeds
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-6, rtol=1e-6)


def test_descriptions_are_averaged_as_unit_vectors(tiny_alm):
    descriptions = {"dog": ["the dog", "a cat is a dog"], "rain": ["rain"]}
    tiny_alm.set_classes(["dog", "rain"], descriptions=descriptions)
    found = tiny_alm(audio_features=torch.randn(1, 32)).text_embeds
    for row, sentences in zip(found, descriptions.values(), strict=True):
        total = torch.zeros(32)
        for sentence in sentences:
            ids = tiny_alm.tokenizer(sentence, return_tensors="pt")["input_ids"]
            feature = tiny_alm.alm.get_text_features(ids)[0]
            total += feature / feature.norm()
        torch.testing.assert_close(row, total / total.norm(), atol=1e-6, rtol=1e-6)


def test_class_without_descriptions_is_named(tiny_alm):
    with pytest.raises(AlmPromptError, match="class 'rain' has no descriptions"):
        tiny_alm.set_classes(["dog", "rain"], descriptions={"dog": ["the dog"], "rain": []})


def test_class_embeddings_are_computed_once_and_follow_the_weights(tiny_alm):
    calls = []
    tiny_alm.requires_grad_(False)
    tiny_alm.alm.text_tower.register_forward_hook(lambda *_: calls.append(1))
    features = torch.randn(2, 32)
    first = tiny_alm(audio_features=features).logits
    assert torch.equal(tiny_alm(audio_features=features).logits, first)
    assert len(calls) == 1
    with torch.no_grad():
        tiny_alm.alm.text_projection.weight.mul_(1.5).add_(0.1)
    assert not torch.equal(tiny_alm(audio_features=features).logits, first)
    assert len(calls) == 2


def test_class_embeddings_of_a_tower_in_training_carry_gradients(tiny_alm):
    tiny_alm(audio_features=torch.randn(2, 32), labels=torch.tensor([0, 1])).loss.backward()
    assert tiny_alm.alm.text_projection.weight.grad.abs().sum() > 0


def test_embeddings_made_under_inference_mode_can_be_trained_with(tiny_alm):
    tiny_alm.requires_grad_(False)
    features = torch.randn(2, 32)
    with torch.inference_mode():
        tiny_alm(audio_features=features)
    tiny_alm(audio_features=features.requires_grad_()).logits.sum().backward()
    assert features.grad is not None


def test_classes_without_descriptions_take_those_of_another_bank(tiny_alm):
    own = {"dog": ["the dog", "a cat is a dog"]}
    tiny_alm.set_classes(["dog", "rain", "siren"])
    bank = tiny_alm.class_bank.with_descriptions({"rain": ["the rain"], "cat": ["a cat"]}).with_descriptions(own)
    assert bank.descriptions == {"rain": ["the rain"], "dog": ["the dog", "a cat is a dog"]}
    assert bank.texts_per_class == [2, 1, 1]
    assert bank.with_descriptions({"dog": ["a dog"]}) is bank
    more = bank.with_descriptions({"dog": ["a dog"], "siren": ["the siren"]})
    assert more.descriptions == bank.descriptions | {"siren": ["the siren"]}
    tiny_alm.set_classes(["dog", "rain", "siren"], descriptions={n: [f"the {n}"] for n in ("dog", "rain", "siren")})
    assert tiny_alm.class_bank.with_descriptions(own).descriptions["dog"] == ["the dog"]


def test_a_bank_that_is_made_of_another_is_made_like_that(tiny_alm):
    """Whatever was made of the first one before."""
    tiny_alm.set_classes(["dog", "rain"])
    first = tiny_alm.class_bank
    for bank in (first, first.with_template("the {}")):
        assert bank.with_names(["cat"]).template == bank.template
        assert bank.with_descriptions({"dog": ["a dog"]}).template == bank.template
        assert bank.with_descriptions({"dog": ["a dog"]}) is bank.with_descriptions({"dog": ["a dog"]})
    averaged = first.with_templates(["a {}", "the {}"])
    assert averaged.with_template("the {}").sentence_ids == averaged.sentence_ids


@pytest.mark.parametrize(
    ("descriptions", "message"),
    [
        ({"dog": ["a dog"]}, "class 'rain' has no descriptions"),
        ({"dog": ["a dog"], "rain": []}, "class 'rain' has no descriptions"),
        ({"dog": ["a dog"], "rain": "rain falls"}, "descriptions of class 'rain' are one text"),
        ({"dog": ["a dog", " . "], "rain": ["rain"]}, "class 'dog' has the blank description ' . '"),
        (
            {"dog": ["a dog"], "rain": ["rain " * 40]},
            "class 'rain': its sentence .* has .* tokens, the text tower takes",
        ),
    ],
)
def test_unusable_descriptions_are_named(tiny_alm, descriptions, message):
    with pytest.raises(AlmPromptError, match=message) as error:
        tiny_alm.set_classes(["dog", "rain"], descriptions=descriptions)
    one_line(error)


def test_names_are_tokenized_as_in_a_sentence():
    """A byte-level tokenizer writes a word differently at the start of a text, where a context stands here."""
    vocabulary = {
        word: index for index, word in enumerate(["<s>", "</s>", "rain", "\u0120rain", "dog", "\u0120dog", "."])
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary | {"sound": 7}, unk_token="<s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    bank = ClassBank(["rain", "dog"], PreTrainedTokenizerFast(tokenizer_object=tokenizer), 20, "{}.")
    layout = bank.layout(2, "end", torch.device("cpu"))
    assert layout.ids[:, 3:].tolist() == [[3, 6, 1], [5, 6, 1]]
    assert bank.sentence_ids == [[[0, 2, 6, 1]], [[0, 4, 6, 1]]]
