"""Pengi's checkpoint as the whole model, which writes text."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from alm_prompt import AlmPromptError, PengiForConditionalGeneration, PengiProcessor
from alm_prompt.cli.main import main
from alm_prompt.models.convert.checkpoint import convert_checkpoint
from alm_prompt.models.convert.htsat import split_qkv
from alm_prompt.models.convert.mapping import map_weights
from alm_prompt.models.convert.pengi import PENGI_GENERATION


@pytest.fixture(scope="module")
def checkpoint(layouts, small_tokenizer, tmp_path_factory):
    """A small checkpoint in the official layout, its tokenizers, and what it was converted to by the command."""
    root = tmp_path_factory.mktemp("official")
    small_tokenizer("pengi").save_pretrained(root / "clip")
    # That of MS-CLAP 2023 is GPT-2's.
    small_tokenizer("msclap-2023").save_pretrained(root / "gpt2")
    weights = layouts.official_weights("pengi", len(small_tokenizer("pengi")))
    torch.save(layouts.WRAPPERS["pengi"](weights), root / "base.pth")
    tokenizers = ["--tokenizer", str(root / "clip"), "--decoder-tokenizer", str(root / "gpt2")]
    paths = [str(root / "base.pth"), str(root / "converted")]
    assert main(["convert", "pengi", *paths, "--generation", *tokenizers]) == 0
    return SimpleNamespace(root=root, weights=weights, folder=root / "converted")


def within(weights, prefix):
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def is_mask(name):
    return name.endswith((".attn.bias", ".masked_bias"))


@torch.no_grad()
def test_a_converted_checkpoint_is_the_official_model(checkpoint, official):
    model = PengiForConditionalGeneration.from_pretrained(checkpoint.folder).double()
    processor = PengiProcessor.from_pretrained(checkpoint.folder)
    weights = {name: tensor.double() for name, tensor in checkpoint.weights.items() if tensor.is_floating_point()}
    mel = -30 + 15 * torch.randn(1, 501, 64, generator=torch.Generator().manual_seed(0)).double()
    ids = processor(text="what is this?")["input_ids"]
    embeds = official.audio_features("pengi", weights, mel)[0], official.text_features("pengi", weights, ids[0])
    names = "caption_decoder.audio_project.", "caption_decoder.text_project."
    parts = [official.pengi_prefix(within(weights, name), embed) for name, embed in zip(names, embeds, strict=True)]
    prefix = torch.cat(parts)[None]
    torch.testing.assert_close(model.get_prefix(mel[:, None], ids), prefix, rtol=0, atol=1e-11)

    decoder = GPT2LMHeadModel(GPT2Config(vocab_size=257, n_embd=64, n_head=1, n_layer=2, n_positions=120)).double()
    decoder.load_state_dict({k: v for k, v in within(weights, "caption_decoder.gpt.").items() if not is_mask(k)})
    expected = decoder.eval()(inputs_embeds=prefix).logits
    torch.testing.assert_close(model(mel[:, None], ids).logits, expected, rtol=0, atol=1e-10)

    space = processor.decoder_tokenizer.convert_tokens_to_ids("Ġ")
    assert (model.generation_config.eos_token_id, model.config.eos_token_id) == (space, space)
    written = model.generate(mel[:, None], ids, beam_rule="official", max_new_tokens=4)
    assert [type(text) for text in processor.batch_decode(written)] == [str]


def test_every_tensor_is_written_or_dropped_for_a_reason(checkpoint):
    report = json.loads((checkpoint.folder / "conversion_report.json").read_text())
    model = PengiForConditionalGeneration.from_pretrained(checkpoint.folder)
    assert report["tensors"]["written"] == len(model.state_dict())
    assert "generation only" not in report["dropped"]
    dropped = {name for names in report["dropped"].values() for name in names}
    assert {name for name in dropped if name.startswith("caption_decoder.")} == set(
        filter(is_mask, checkpoint.weights)
    )
    splits = sum(".attn.qkv." in name for name in checkpoint.weights)
    assert len(model.state_dict()) == len(checkpoint.weights) - len(dropped) + 2 * splits + 1  # the constant scale
    assert (report["tokenizer"], report["decoder_tokenizer"]) == ("clip", "gpt2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"caption_decoder.gpt.extra": torch.ones(1)}, r"no place for the tensor decoder\.extra"),
        ({"caption_decoder.video_project.x": torch.ones(1)}, r"video_project\.x, which no part of the model takes"),
        ({"caption_decoder.text_project.prefix_const": None}, r"lacks the tensor text_mapper\.prefix_const"),
        ({"caption_decoder.gpt.lm_head.weight": torch.ones(257, 64)}, r"decoder\.lm_head\.weight differs from"),
    ],
)
def test_a_tensor_of_the_decoder_gone_astray_is_named(change, message, checkpoint, tmp_path):
    weights = {name: tensor for name, tensor in (checkpoint.weights | change).items() if tensor is not None}
    torch.save({"model": weights}, tmp_path / "changed.pth")
    tokenizers = checkpoint.root / "clip", True, checkpoint.root / "gpt2"
    with pytest.raises(AlmPromptError, match=rf"changed\.pth as pengi: .*{message}"):
        convert_checkpoint("pengi", tmp_path / "changed.pth", tmp_path / "out", *tokenizers)
    assert not (tmp_path / "out").exists()


def test_bad_requests_of_a_conversion(checkpoint, tmp_path):
    source, clip, out = checkpoint.root / "base.pth", checkpoint.root / "clip", tmp_path / "out"
    with pytest.raises(AlmPromptError, match="msclap-2022 writes no text; leave out --generation, or choose pengi"):
        convert_checkpoint("msclap-2022", source, out, clip, generation=True)
    with pytest.raises(AlmPromptError, match="is for generation only; add --generation"):
        convert_checkpoint("pengi", source, out, clip, decoder_tokenizer=clip)
    with pytest.raises(AlmPromptError, match=r"'clip' has 514 tokens, .*model 257; .*as --decoder-tokenizer"):
        convert_checkpoint("pengi", source, out, clip, generation=True, decoder_tokenizer=clip)


# In millions, as published (GPT-2's tied head counted once, without the buffers of batch norm and masks).
OFFICIAL_SIZES = {
    "audio_encoder.base.": 31.33,
    "audio_encoder.projection.": 1.84,
    "caption_encoder.base.": 63.17,
    "caption_encoder.clip_text_projection.": 0.26,
    "caption_encoder.projection.": 1.57,
    "caption_decoder.gpt.": 124.4,
    "caption_decoder.audio_project.": 50.4,
    "caption_decoder.text_project.": 50.4,
}
OUR_SIZES = {"alm.audio_projection.": 1.84, "alm.text_tower.": 63.17, "alm.text_projection.": 0.26 + 1.57}
OUR_SIZES |= {"audio_mapper.": 50.4, "text_mapper.": 50.4, "decoder.": 124.4}
BUFFERS = (
    "attn_mask",
    "_index",
    "running_mean",
    "running_var",
    "num_batches_tracked",
    "position_ids",
    "lm_head.weight",
)


def test_official_sizes(layouts):
    sizes = layouts.Sizes(
        embed=96, heads=(4, 8, 16, 32), text_width=512, feed_forward=2048, positions=1024, joint=1024
    )
    decoder = {"decoder_width": 768, "decoder_vocabulary": 50_257, "decoder_layers": 12, "mapper_layers": 4}
    weights = layouts.official_weights("pengi", 49_408, replace(sizes, **decoder), empty=True)
    learned = {
        name: tensor.numel() for name, tensor in weights.items() if not (is_mask(name) or name.endswith(BUFFERS))
    }
    for prefix, millions in OFFICIAL_SIZES.items():
        assert sum(within(learned, prefix).values()) / 1e6 == pytest.approx(millions, abs=0.05), prefix
    assert sum(learned.values()) / 1e6 == pytest.approx(323.4, abs=0.05)

    with torch.device("meta"):
        model = PengiForConditionalGeneration(PENGI_GENERATION.config(weights))
    mapped = map_weights(split_qkv(weights), PENGI_GENERATION.parts).weights
    shapes = {"alm.logit_scale": torch.Size(), **{name: tensor.shape for name, tensor in mapped.items()}}
    assert shapes == {name: tensor.shape for name, tensor in model.state_dict().items()}
    ours = {name: parameter.numel() for name, parameter in model.named_parameters()}
    for prefix, millions in OUR_SIZES.items():
        assert sum(within(ours, prefix).values()) / 1e6 == pytest.approx(millions, abs=0.05), prefix
