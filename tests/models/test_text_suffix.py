"""Texts of a tokenizer that adds no end-of-text token: the configured suffix ends every sentence and prompt."""

from __future__ import annotations

import pytest
import torch
from peft import get_peft_model
from transformers import GPT2Tokenizer, PreTrainedTokenizerFast

from alm_prompt import (
    AlmConfig,
    AlmFeatureExtractor,
    AlmForAudioClassification,
    AlmProcessor,
    AlmPromptError,
    CoOpPromptConfig,
)

SUFFIX = " <|endoftext|>"
# What GPT-2's tokenizer makes of the suffix: the space before the end-of-text token is a token of its own.
SUFFIX_IDS = [220, 50256]


@pytest.fixture(scope="module")
def gpt2_tokenizer(shared_dir):
    folder = shared_dir / "tokenizers"
    return GPT2Tokenizer(str(folder / "gpt2_encoder.json"), str(folder / "gpt2_vocab.bpe"), pad_token="!")


def make_model(tokenizer, suffix):
    config = AlmConfig(
        audio_config={"model_type": "alm_cnn", "channels": [4], "hidden_size": 8},
        text_config={"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 90},
        projection_dim=8,
        text_max_length=77,
        text_suffix=suffix,
    )
    torch.manual_seed(0)
    return AlmForAudioClassification(config, tokenizer).eval()


def test_sentences_and_prompts_end_with_the_suffix(gpt2_tokenizer):
    model = make_model(gpt2_tokenizer, SUFFIX)
    model.set_classes(["dog", "church bells"], template="a sound of {}")
    bank = model.class_bank
    assert bank.max_length == 77
    for name, (ids,) in zip(bank.class_names, bank.sentence_ids, strict=True):
        assert ids == gpt2_tokenizer(f"a sound of {name}")["input_ids"] + SUFFIX_IDS
    for sibling in (
        bank.with_template("the {}"),
        bank.with_names(["rain"]),
        bank.with_descriptions({"dog": ["a dog"]}),
    ):
        assert all(ids[-2:] == SUFFIX_IDS for (ids,) in sibling.sentence_ids)
    layout = bank.layout(3, "end", torch.device("cpu"))
    for name, row, mask in zip(bank.class_names, layout.ids, layout.mask, strict=True):
        assert row[mask.bool()].tolist() == [0] * 3 + gpt2_tokenizer(f" {name}.")["input_ids"] + SUFFIX_IDS
    adapted = get_peft_model(model, CoOpPromptConfig(n_ctx=3))
    assert torch.isfinite(adapted(audio_features=torch.randn(2, 8)).logits).all()


def test_class_embedding_is_the_state_of_the_last_suffix_token(gpt2_tokenizer):
    model = make_model(gpt2_tokenizer, SUFFIX)
    model.set_classes(["dog", "church bells"])
    rows = model(audio_features=torch.randn(1, 8)).text_embeds
    for name, row in zip(model.class_names, rows, strict=True):
        ids = gpt2_tokenizer(f"This is a sound of {name}.", return_tensors="pt")["input_ids"]
        ids = torch.cat([ids, torch.tensor([SUFFIX_IDS])], dim=1)
        feature = model.alm.text_projection(model.alm.text_tower.model(input_ids=ids).last_hidden_state[0, -1])
        torch.testing.assert_close(row, feature / feature.norm(), atol=1e-6, rtol=1e-6)


def test_missing_suffix_is_named(gpt2_tokenizer):
    with pytest.raises(AlmPromptError, match=r"'eos' reads an end-of-text token.* set text_suffix"):
        make_model(gpt2_tokenizer, "").set_classes(["dog"])


def test_processor_writes_the_suffix_and_keeps_it(gpt2_tokenizer, tmp_path):
    AlmProcessor(AlmFeatureExtractor(), gpt2_tokenizer, text_suffix=SUFFIX).save_pretrained(tmp_path)
    processor = AlmProcessor.from_pretrained(tmp_path)
    assert isinstance(processor.tokenizer, PreTrainedTokenizerFast)
    dog, bells = gpt2_tokenizer("dog")["input_ids"], gpt2_tokenizer("church bells")["input_ids"]
    assert processor(text="dog")["input_ids"].tolist() == [dog + SUFFIX_IDS]
    batch = processor(text=["dog", "church bells"])
    assert batch["input_ids"].tolist() == [[*dog, *SUFFIX_IDS, 0], [*bells, *SUFFIX_IDS]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
