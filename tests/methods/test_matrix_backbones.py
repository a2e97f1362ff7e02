"""Every method and stack on a tiny model of every published family's text side and projections."""

from __future__ import annotations

import pytest
import torch
from transformers import BertConfig, ClapTextConfig, CLIPTextConfig, GPT2Config, T5Config

from alm_prompt import AlmConfig, AlmForAudioClassification

TOKENS = 32
RESIDUAL = {"kind": "residual", "dropout": 0.5}
MLP = {"kind": "mlp", "hidden_size": 32, "activation": "relu", "bias": True}
BERT_SIZES = {
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 40,
}
CLIP = CLIPTextConfig(vocab_size=TOKENS, **BERT_SIZES, pad_token_id=0, bos_token_id=2, eos_token_id=3)
GPT2 = GPT2Config(vocab_size=TOKENS, n_embd=24, n_layer=2, n_head=2, n_positions=40)
BERT = BertConfig(vocab_size=TOKENS, **BERT_SIZES, pad_token_id=0)
ROBERTA = ClapTextConfig(vocab_size=TOKENS, **BERT_SIZES | {"max_position_embeddings": 42}, pad_token_id=1)
T5 = T5Config(vocab_size=TOKENS, d_model=24, d_kv=12, d_ff=48, num_layers=2, num_heads=2, pad_token_id=0)
FAMILIES = {
    "pengi": {
        "text_config": CLIP,
        "text_pooling": "eos",
        "text_projection": RESIDUAL | {"front_size": 24},
        "logit_scale_init_value": 4.6052,
    },
    "msclap-2023": {"text_config": GPT2, "text_pooling": "eos", "text_projection": RESIDUAL},
    "msclap-2022": {"text_config": BERT, "text_pooling": "cls", "text_projection": RESIDUAL},
    "laion": {"text_config": ROBERTA, "text_pooling": "pooler", "text_projection": MLP},
    "reclap": {"text_config": T5, "text_pooling": "mean_padded", "text_max_length": 36, "text_projection": MLP},
    "yamnet-minilm": {"text_config": BERT, "text_pooling": "mean", "text_projection": MLP},
}


@pytest.fixture(params=FAMILIES)
def family_alm(request, tiny_alm):
    """A tiny model with the text side of a family."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        audio = {"model_type": "alm_cnn", "channels": [4, 8], "hidden_size": 16}
        config = AlmConfig(audio_config=audio, projection_dim=32, **FAMILIES[request.param])
        model = AlmForAudioClassification(config, tokenizer=tiny_alm.tokenizer)
        for parameter in model.alm.text_tower.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    model.set_classes(tiny_alm.class_names)
    return model.eval()


def test_trains_saves_and_is_switched_off(family_alm, row, prompted, audio_batch, logits, tmp_path):
    zero_shot = logits(family_alm, audio_batch)
    model = prompted(row, family_alm).train()
    loss = model(**audio_batch).loss
    loss.backward()
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in learned)
    assert any(p.grad.abs().max() > 0 for p in learned)
    with torch.no_grad():
        for parameter in learned:
            parameter -= 0.05 * parameter.grad
    model.eval()
    trained = logits(model, audio_batch)
    with model.disable_adapter():
        assert torch.equal(logits(model, audio_batch), zero_shot)
    model.save_pretrained(tmp_path)
    model.load_adapter(tmp_path, "again")
    model.set_adapter("again")
    assert torch.equal(logits(model, audio_batch), trained)
