"""Text towers (plain path) against the text models of transformers, one unpadded text at a time."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    ClapTextConfig,
    ClapTextModel,
    CLIPTextConfig,
    CLIPTextModel,
    GPT2Config,
    GPT2Model,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5EncoderModel,
)

from alm_prompt import AlmConfig, AlmModel, AlmPromptError
from alm_prompt.models.text_tower import TextTower, pad_token_ids

SIZES = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
ROBERTA = {**SIZES, "max_position_embeddings": 22, "pad_token_id": 1}
GPT2 = {"vocab_size": 30, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 20}
T5 = {"vocab_size": 30, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
FAMILIES = {
    "bert": (BertConfig(**SIZES, max_position_embeddings=20), BertModel),
    "roberta": (RobertaConfig(**ROBERTA), RobertaModel),
    "clap": (ClapTextConfig(**ROBERTA), ClapTextModel),
    "clip": (CLIPTextConfig(**SIZES, max_position_embeddings=20, bos_token_id=2, eos_token_id=3), CLIPTextModel),
    "gpt2": (GPT2Config(**GPT2, bos_token_id=3, eos_token_id=3), GPT2Model),
    "t5": (T5Config(**T5, relative_attention_num_buckets=8, relative_attention_max_distance=10), T5EncoderModel),
}
TEXTS = [[2, 7, 3], [2, 9, 11, 5, 8, 3], [2, 4, 12, 13, 14, 3]]
MAX_LENGTH = 20
POOLINGS = [
    ("bert", "mean"),
    ("bert", "cls"),
    ("roberta", "pooler"),
    ("clap", "pooler"),
    ("clap", "mean"),
    ("clip", "eos"),
    ("gpt2", "eos"),
    ("t5", "mean"),
    ("t5", "mean_padded"),
]


def features_of(tower, prompts, mask):
    return tower(prompts, tower.plan(prompts, mask))


def make_tower(family, pooling, normalize=False):
    torch.manual_seed(0)
    # T5 changes the config that it is made from.
    tower = TextTower(copy.deepcopy(FAMILIES[family][0]), pooling, normalize, MAX_LENGTH).double().eval()
    tower.fast = "off"
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return tower


def hand_pool(model, ids, pooling):
    if pooling == "mean_padded":
        # ReCLAP's own way: ids padded to the fixed length, masked in attention, but not in the mean.
        padded = torch.tensor([ids + [0] * (MAX_LENGTH - len(ids))])
        mask = torch.tensor([[1] * len(ids) + [0] * (MAX_LENGTH - len(ids))])
        states = model(input_ids=padded, attention_mask=mask).last_hidden_state[0]
        return sum(states) / MAX_LENGTH
    output = model(input_ids=torch.tensor([ids]))
    states = output.last_hidden_state[0]
    return {
        "mean": lambda: sum(states) / len(ids),
        "cls": lambda: states[0],
        "eos": lambda: states[len(ids) - 1],
        "pooler": lambda: output.pooler_output[0],
    }[pooling]()


@pytest.mark.parametrize(("family", "pooling"), POOLINGS)
@pytest.mark.parametrize("normalize", [False, True])
def test_padded_prompts_equal_single_texts(family, pooling, normalize):
    tower = make_tower(family, pooling, normalize)
    reference = FAMILIES[family][1](copy.deepcopy(FAMILIES[family][0])).double().eval()
    reference.load_state_dict(tower.model.state_dict(), strict=pooling in ("pooler", "eos", "mean_padded"))
    ids, mask = pad_token_ids(TEXTS, torch.device("cpu"))
    found = features_of(tower, tower.token_embedding(ids), mask)
    for row, text in zip(found, TEXTS, strict=True):
        expected = hand_pool(reference, text, pooling)
        expected = expected / expected.norm() if normalize else expected
        torch.testing.assert_close(row, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(("family", "pooling"), POOLINGS)
def test_padding_does_not_reach_the_features(family, pooling):
    tower = make_tower(family, pooling)
    prompts = torch.randn(3, 9, 16, dtype=torch.float64)
    mask = torch.tensor([[1] * 4 + [0] * 5, [1] * 6 + [0] * 3, [1] * 5 + [0] * 4])
    other_padding = torch.where(mask.bool().unsqueeze(-1), prompts, torch.randn_like(prompts))
    expected = features_of(tower, prompts[:, :6], mask[:, :6])
    torch.testing.assert_close(features_of(tower, other_padding, mask), expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_longest_prompt_fits_and_a_longer_one_is_refused(family):
    config = copy.deepcopy(FAMILIES[family][0])
    tower = TextTower(config, "mean", max_length=MAX_LENGTH if family == "t5" else None).eval()
    assert tower.max_length == MAX_LENGTH
    mask = torch.ones(1, MAX_LENGTH, dtype=torch.long)
    assert torch.isfinite(features_of(tower, torch.randn(1, MAX_LENGTH, 16), mask)).all()
    with pytest.raises(AlmPromptError, match="the text has 21 tokens, the text tower takes 20"):
        tower.plan(torch.randn(1, MAX_LENGTH + 1, 16), torch.ones(1, MAX_LENGTH + 1))


@pytest.mark.parametrize(
    ("config", "pooling", "max_length", "message"),
    [
        (FAMILIES["bert"][0], "max", None, "text_pooling is 'max'; with a bert text model choose one of cls, pooler"),
        (FAMILIES["gpt2"][0], "pooler", None, "text_pooling is 'pooler'; with a gpt2 text model choose one of eos"),
        (FAMILIES["t5"][0], "mean_padded", None, "a t5 text model has no longest text of its own"),
        (FAMILIES["clip"][0], "eos", 21, "text_max_length is 21; the text model takes 1 to 20 tokens"),
        (FAMILIES["clap"][0], "cls", 0, "text_max_length is 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(config, pooling, max_length, message):
    with pytest.raises(AlmPromptError, match=message):
        TextTower(config, pooling, max_length=max_length)


def test_model_type_is_checked():
    config = FAMILIES["clip"][0].__class__(**SIZES)
    config.model_type = "opt"
    with pytest.raises(AlmPromptError, match="text model type 'opt' is not supported"):
        TextTower(config, "eos")


@pytest.mark.parametrize(("pooling", "family"), [("eos", "gpt2"), ("cls", "bert"), ("pooler", "roberta")])
def test_missing_special_tokens_are_named(pooling, family):
    tower = TextTower(FAMILIES[family][0], pooling)
    tower.check_special_tokens([2], [3])
    with pytest.raises(AlmPromptError, match=f"text_pooling '{pooling}' reads .* the tokenizer adds none"):
        tower.check_special_tokens([], [])


@pytest.mark.parametrize(("family", "pooling"), POOLINGS)
def test_saved_model_is_the_same_model(family, pooling, tmp_path):
    config = AlmConfig(
        audio_config={"model_type": "alm_cnn", "channels": [4], "hidden_size": 8},
        text_config=FAMILIES[family][0].to_dict(),
        projection_dim=8,
        text_pooling=pooling,
        text_max_length=MAX_LENGTH,
        text_suffix=" <|endoftext|>",
    )
    torch.manual_seed(0)
    model = AlmModel(config).eval()
    model.save_pretrained(tmp_path)
    opened, loading = AlmModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    assert opened.config.text_suffix == " <|endoftext|>"
    assert opened.text_tower.max_length == MAX_LENGTH
    ids, mask = pad_token_ids(TEXTS, torch.device("cpu"))
    assert torch.equal(opened.get_text_features(ids, mask), model.get_text_features(ids, mask))
