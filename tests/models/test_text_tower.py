"""Text towers against the text models of transformers, one unpadded text at a time."""

from __future__ import annotations

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
    RobertaConfig,
    RobertaModel,
)

from alm_prompt import AlmPromptError
from alm_prompt.models.text_tower import TextTower, pad_token_ids

SIZES = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
ROBERTA = {**SIZES, "max_position_embeddings": 22, "pad_token_id": 1}
FAMILIES = {
    "bert": (BertConfig(**SIZES, max_position_embeddings=20), BertModel),
    "roberta": (RobertaConfig(**ROBERTA), RobertaModel),
    "clap": (ClapTextConfig(**ROBERTA), ClapTextModel),
    "clip": (CLIPTextConfig(**SIZES, max_position_embeddings=20, bos_token_id=2, eos_token_id=3), CLIPTextModel),
}
TEXTS = [[2, 7, 3], [2, 9, 11, 5, 8, 3], [2, 4, 12, 13, 14, 3]]


def hand_pool(model, ids, pooling):
    output = model(input_ids=torch.tensor([ids]))
    states = output.last_hidden_state[0]
    return {
        "mean": lambda: sum(states) / len(ids),
        "cls": lambda: states[0],
        "eos": lambda: states[len(ids) - 1],
        "pooler": lambda: output.pooler_output[0],
    }[pooling]()


@pytest.mark.parametrize(
    ("family", "pooling"),
    [("bert", "mean"), ("bert", "cls"), ("roberta", "pooler"), ("clap", "pooler"), ("clap", "mean"), ("clip", "eos")],
)
@pytest.mark.parametrize("normalize", [False, True])
def test_padded_prompts_equal_single_texts(family, pooling, normalize):
    config, model_class = FAMILIES[family]
    torch.manual_seed(0)
    tower = TextTower(config, pooling, normalize).double().eval()
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    reference = model_class(config).double().eval()
    reference.load_state_dict(tower.model.state_dict(), strict=pooling == "pooler")
    ids, mask = pad_token_ids(TEXTS, torch.device("cpu"))
    found = tower(tower.token_embedding(ids), mask)
    for row, text in zip(found, TEXTS, strict=True):
        expected = hand_pool(reference, text, pooling)
        expected = expected / expected.norm() if normalize else expected
        torch.testing.assert_close(row, expected, atol=1e-12, rtol=1e-12)


def test_longest_prompt_fits_and_positions_end_there():
    for config, _ in FAMILIES.values():
        tower = TextTower(config, "mean" if config.model_type != "clip_text_model" else "eos").eval()
        assert tower.max_length == 20
        mask = torch.ones(1, 20, dtype=torch.long)
        assert torch.isfinite(tower(torch.randn(1, 20, 16), mask)).all()


def test_pooling_and_model_type_are_checked():
    with pytest.raises(AlmPromptError, match="text_pooling is 'max'"):
        TextTower(FAMILIES["bert"][0], "max")
    with pytest.raises(AlmPromptError, match="text model type 'gpt2' is not supported"):
        TextTower(GPT2Config(), "eos")
