"""Packed prompts against the plain path: features, gradients of the context, rows, chunks and precisions."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from transformers import (
    BertConfig,
    ClapTextConfig,
    CLIPTextConfig,
    GPT2Config,
    RobertaConfig,
    RobertaModel,
    T5Config,
)
from transformers.pytorch_utils import Conv1D

from alm_prompt import AlmPromptError
from alm_prompt.models.prompt_layout import layout_prompts
from alm_prompt.models.text_packing import ROW_TOKENS, pack_prompts, token_bytes
from alm_prompt.models.text_tower import TextTower, pad_token_ids

CPU = torch.device("cpu")
SIZES = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
ROBERTA = {**SIZES, "pad_token_id": 1, "type_vocab_size": 1}
GPT2 = {"vocab_size": 30, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40, "bos_token_id": 3}
T5 = {"vocab_size": 30, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
CONFIGS = {
    "bert": BertConfig(**SIZES),
    "roberta": RobertaConfig(**ROBERTA),
    "clap": ClapTextConfig(**ROBERTA),
    "clip": CLIPTextConfig(**SIZES, bos_token_id=2, eos_token_id=3),
    "gpt2": GPT2Config(**GPT2, eos_token_id=3, scale_attn_by_inverse_layer_idx=True),
    "t5": T5Config(**T5, dropout_rate=0.0),
}
TOWERS = [
    ("bert", "cls"),
    ("bert", "mean"),
    ("roberta", "pooler"),
    ("clap", "pooler"),
    ("clip", "eos"),
    ("clip", "mean"),
    ("gpt2", "eos"),
]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def make_tower(family, pooling, dtype=torch.float64):
    torch.manual_seed(0)
    tower = TextTower(copy.deepcopy(CONFIGS[family]), pooling, max_length=38).eval()
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return tower.to(dtype).requires_grad_(False)


def plain(tower):
    """The same tower through the forward of transformers."""
    twin = copy.deepcopy(tower)
    twin.fast = "off"
    if twin.model.config.model_type == "clap_text_model":
        # CLAP's text model rounds attention to float32; RoBERTa is the same model without that.
        model = RobertaModel(CONFIGS["roberta"], add_pooling_layer=tower.pooling == "pooler").eval()
        model.load_state_dict(twin.model.state_dict(), strict=False)
        twin.model = model.to(twin.token_embedding.weight.dtype).requires_grad_(False)
    return twin


def random_prompts(tower, seed):
    """Prompts of a random class list: name lengths, context length, position of the name, kind of context."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    classes, n_context = draw.randint(1, 45), draw.randint(1, 12)
    names = [[draw.randint(4, 29) for _ in range(draw.choice([1, 1, 2, 2, 3, 9]))] for _ in range(classes)]
    prefix = [2] if draw.random() < 0.8 or not tower.family.causal else []
    position = draw.choice(["end", "middle", "front"])
    layout = layout_prompts(prefix, names, [[5]] * classes, [3], n_context, position, CPU)
    shape = draw.choice([(), (classes,), (3, 1), (2, classes)])
    context = torch.randn(*shape, n_context, 16, dtype=tower.token_embedding.weight.dtype, requires_grad=True)
    return layout, context


def longest_bytes(tower, layout):
    """Bytes that the longest prompt takes."""
    return int(layout.mask.sum(dim=1).max()) * token_bytes(tower.model.config, tower.token_embedding.weight.dtype)


def features_of(tower, prompts, *planning):
    return tower(prompts, tower.plan(prompts, *planning))


def read(tower, layout, context):
    """Features of prompts around a context."""
    return features_of(tower, layout.splice(context, tower.token_embedding), layout.mask, layout.shared(context))


def encode(tower, layout, context):
    """Features, and the gradient of the context."""
    features = read(tower, layout, context)
    weights = torch.linspace(-1, 1, features.numel(), dtype=features.dtype).view_as(features)
    return features, torch.autograd.grad((features * weights).sum(), context)[0]


def assert_same(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        assert torch.isfinite(one).all()
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("family", "pooling"), TOWERS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_packed_features_and_gradients_are_the_plain_ones(family, pooling, dtype):
    tower = make_tower(family, pooling, dtype)
    assert tower.path.name == "packed"
    oracle = plain(tower)
    # 100 class lists or more for the causal towers, and as many for the others; some with little memory.
    lists = 34 if tower.family.causal else 25
    first = lists * TOWERS.index((family, pooling))
    for seed in range(first, first + lists):
        layout, context = random_prompts(tower, seed)
        tower.memory = (10**6, 30, 10**6, 10**6, 6)[seed % 5] * longest_bytes(tower, layout)
        assert_same(encode(tower, layout, context), encode(oracle, layout, context), TOLERANCE[dtype])


@pytest.mark.parametrize(("family", "pooling"), [("clip", "eos"), ("bert", "mean")])
def test_prompts_of_many_clips_are_those_of_each_clip(family, pooling):
    tower = make_tower(family, pooling)
    layout = layout_prompts([2], [[4], [7, 8], [9]], [[5]] * 3, [3], 4, "end", CPU)
    contexts = torch.randn(5, 1, 4, 16, dtype=torch.float64, requires_grad=True)
    features, gradient = encode(tower, layout, contexts)
    prompts = [layout.splice(context[0], tower.token_embedding) for context in contexts]
    alone = [features_of(tower, own, layout.mask) for own in prompts]
    assert_same([features], [torch.stack(alone)], 1e-12)
    assert gradient.abs().sum(dim=(1, 2, 3)).gt(0).all()


@pytest.mark.parametrize(("family", "pooling"), TOWERS)
def test_trained_text_towers_get_their_gradients(family, pooling):
    tower = make_tower(family, pooling).requires_grad_(True)
    oracle = plain(tower).requires_grad_(True)
    layout, context = random_prompts(tower, seed=1)
    expected = {name: parameter for name, parameter in oracle.named_parameters()}
    for one in (tower, oracle):
        read(one, layout, context).square().sum().backward()
    for name, parameter in tower.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(("family", "pooling"), TOWERS)
def test_padding_beyond_the_longest_text_changes_nothing(family, pooling):
    tower = make_tower(family, pooling)
    ids, mask = pad_token_ids([[2, 7, 3], [2, 9, 11, 5, 8, 3]], CPU)
    wide, wide_mask = torch.nn.functional.pad(ids, (0, 9), value=8), torch.nn.functional.pad(mask, (0, 9))
    expected = features_of(tower, tower.token_embedding(ids), mask)
    assert torch.equal(features_of(tower, tower.token_embedding(wide), wide_mask), expected)


@pytest.mark.parametrize("causal", [False, True])
def test_rows_stay_short_and_nearly_full(causal):
    draw = random.Random(0)
    shared = 17 if causal else 0
    lengths = tuple(shared + draw.randint(3, 30) for _ in range(500))
    packing = pack_prompts(lengths, shared, causal, "last", 10**6, CPU)
    rows, width, _ = packing.mask.shape
    assert width <= shared + (ROW_TOKENS + 30 if causal else 30)
    own = sum(lengths) - shared * len(lengths)
    assert rows * (width - shared) < 1.1 * own
    assert packing.mask.diagonal(dim1=1, dim2=2).all()


def test_shared_start_is_computed_once_per_row():
    tower = make_tower("clip", "eos")
    layout = layout_prompts([2], [[4]] * 30, [[5]] * 30, [3], 16, "end", CPU)
    tokens = []
    tower.model.encoder.layers[0].mlp.register_forward_hook(lambda module, inputs, output: tokens.append(inputs[0]))
    context = torch.randn(16, 16, dtype=torch.float64)
    read(tower, layout, context)
    assert tokens[0].shape[:2].numel() == 17 + 30 * 3
    tower.model.encoder.layers[1].mlp.register_forward_hook(lambda module, inputs, output: tokens.append(inputs[0]))
    read(tower, layout, context)
    assert tokens[-1].shape[:2].numel() == 30


@pytest.mark.parametrize(("family", "pooling"), [*TOWERS, ("t5", "mean"), ("t5", "mean_padded")])
def test_chunks_are_computed_again_and_change_nothing(family, pooling):
    tower = make_tower(family, pooling)
    layout = layout_prompts([2], [[4] * (1 + n % 5) for n in range(12)], [[5]] * 12, [3], 6, "end", CPU)
    context = torch.randn(2, 1, 6, 16, dtype=torch.float64, requires_grad=True)
    calls = []
    first = next(module for module in tower.model.modules() if isinstance(module, (torch.nn.Linear, Conv1D)))
    first.register_forward_hook(lambda *_: calls.append(1))
    expected = encode(tower, layout, context)
    assert len(calls) == 1
    padded = tower.max_length if pooling == "mean_padded" else layout.mask.shape[1]
    tower.memory = token_bytes(tower.model.config, torch.float64) * padded
    calls.clear()
    with torch.no_grad():
        read(tower, layout, context)
    chunks = len(calls)
    assert chunks > 1
    assert_same(encode(tower, layout, context), expected, 1e-12)
    assert len(calls) == 3 * chunks


@pytest.mark.parametrize(("family", "pooling"), TOWERS)
def test_half_precision_stays_near_the_plain_path(family, pooling):
    tower = make_tower(family, pooling, torch.float32)
    layout, context = random_prompts(tower, seed=2)
    expected = encode(tower, layout, context)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = encode(tower, layout, context)
    for one, other in zip(found, expected, strict=True):
        assert torch.isfinite(one).all()
        assert torch.cosine_similarity(one.float().flatten(), other.flatten(), dim=0) > 0.999


@pytest.mark.parametrize(("family", "pooling"), TOWERS)
def test_training_after_inference_mode(family, pooling):
    tower = make_tower(family, pooling)
    pack_prompts.cache_clear()
    layout, context = random_prompts(tower, seed=3)
    with torch.inference_mode():
        before = read(tower, layout, context)
    assert torch.equal(encode(tower, layout, context)[0], before)


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning")
@pytest.mark.parametrize("family", ["clip", "bert", "gpt2"])
def test_training_mode_takes_the_plain_path_with_its_gradient_checkpointing(family):
    tower = make_tower(family, "mean").train()
    for module in tower.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    assert tower.path.name == "plain" and "training mode" in tower.path.reason
    tower.model.gradient_checkpointing_enable()
    layout, context = random_prompts(tower, seed=4)
    found = encode(tower, layout, context)
    assert_same(found, encode(tower.eval(), layout, context), 1e-12)


@pytest.mark.parametrize(("family", "pooling"), [("clip", "eos"), ("bert", "cls"), ("t5", "mean")])
def test_too_little_memory_for_one_prompt_is_refused_with_what_it_takes(family, pooling):
    tower = make_tower(family, pooling)
    layout = layout_prompts([2], [[4], [4, 7, 9]], [[5]] * 2, [3], 6, "end", CPU)
    context = torch.randn(6, 16, dtype=torch.float64, requires_grad=True)
    tower.memory = longest_bytes(tower, layout) - 1
    with pytest.raises(AlmPromptError, match=r"one prompt of 12 tokens take 0.1 MiB; give it that or more"):
        encode(tower, layout, context)
    tower.memory += 1
    encode(tower, layout, context)


def test_rows_fit_into_memory():
    tower = make_tower("clip", "eos")
    layout = layout_prompts([2], [[4]] * 30, [[5]] * 30, [3], 16, "end", CPU)
    prompts = layout.splice(torch.randn(16, 16, dtype=torch.float64), tower.token_embedding)
    for tokens in (20, 25, 64):
        tower.memory = tokens * token_bytes(tower.model.config, torch.float64)
        mask = tower.plan(prompts, layout.mask, 17).packing.mask
        assert mask.shape[1] <= tokens
        assert len(mask) == -(-30 // ((tokens - 17) // 3))


def test_the_tower_says_which_path_it_takes():
    assert make_tower("clip", "eos").path.name == "packed"
    tower = make_tower("t5", "mean")
    assert tower.path.name == "plain" and "t5" in tower.path.reason
    tower = make_tower("bert", "cls")
    tower.fast = "off"
    assert (tower.path.name, tower.path.reason) == ("plain", "fast is off")
    with pytest.raises(AlmPromptError, match="fast is 'on'; choose one of auto, off"):
        tower.fast = "on"


def test_the_tower_remembers_the_paths_it_took():
    tower = make_tower("clip", "eos")
    ids, mask = pad_token_ids([[2, 7, 3]], CPU)
    for fast in ("auto", "off", "off"):
        tower.fast = fast
        tower.plan(tower.token_embedding(ids), mask)
    assert {path.name for path in tower.paths_taken} == {"packed", "plain"}
    assert "plain: fast is off" in map(str, tower.paths_taken)
