"""Converted checkpoints of every family: equal to the official model, and at home in the library."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from peft import PeftModel, get_peft_model

from alm_prompt import AlmForAudioClassification, AlmModel, AlmProcessor, CoOpPromptConfig
from alm_prompt.models.convert.checkpoint import FAMILIES as CONVERTERS
from alm_prompt.models.convert.htsat import split_qkv
from alm_prompt.models.convert.mapping import map_weights

FAMILIES = list(CONVERTERS)
HTSAT_FRAMES = {"pengi": (501, 965), "msclap-2023": (965, 1024), "laion": (1001, 1024), "reclap": (1001,)}
TEXTS = ["this is the sound of a dog barking.", "rain", "x"]
CLASSES = ["dog", "rain", "siren"]
# Tensors of the official files.
TENSORS = {"msclap-2022": 292, "msclap-2023": 357}
SCALES = {
    "pengi": 100.0,
    "msclap-2022": np.exp(3.7),
    "msclap-2023": np.exp(3.3),
    "laion": np.exp(3.1),
    "reclap": np.exp(3.1),
}


def double(weights):
    return {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}


def clips(rate=48_000):
    time = np.arange(3 * rate) / rate
    sweep = 0.3 * np.sin(2 * np.pi * (200 + 300 * time) * time)
    return [sweep.astype(np.float32), (0.1 * np.random.default_rng(0).standard_normal(rate)).astype(np.float32)]


def token_ids(family, processor, text):
    # MS-CLAP 2023 writes an end-of-text token after the text, with a space before it.
    return processor.tokenizer(f"{text} <|endoftext|>" if family == "msclap-2023" else text)["input_ids"]


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_both_towers_are_the_official_ones(family, converted, official):
    checkpoint = converted(family)
    model, weights = AlmModel.from_pretrained(checkpoint.folder).eval().double(), double(checkpoint.weights)
    for frames in HTSAT_FRAMES.get(family, (690,)):
        mel = -30 + 15 * torch.randn(1, frames, 64, generator=torch.Generator().manual_seed(frames)).double()
        expected = official.audio_features(family, weights, mel)
        torch.testing.assert_close(model.get_audio_features(mel[:, None]), expected, rtol=0, atol=1e-12)
    processor = AlmProcessor.from_pretrained(checkpoint.folder)
    ids = [token_ids(family, processor, text) for text in TEXTS]
    expected = torch.stack([official.text_features(family, weights, torch.tensor(text)) for text in ids])
    torch.testing.assert_close(model.encode_token_ids(ids), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_classifies_audio_as_the_official_model_in_float32(family, converted, official):
    checkpoint = converted(family)
    weights = double(checkpoint.weights)
    model = AlmForAudioClassification.from_pretrained(checkpoint.folder, class_names=CLASSES)
    processor = AlmProcessor.from_pretrained(checkpoint.folder)
    features = processor(audio=clips(), sampling_rate=48_000)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}

    audio = official.audio_features(family, weights, features["input_features"][:, 0].double())
    torch.testing.assert_close(model.get_audio_features(**features).double(), audio, rtol=0, atol=5e-6)
    template = "this is the sound of {}" if family.startswith("msclap") else "This is a sound of {}."
    ids = [token_ids(family, processor, template.format(name)) for name in CLASSES]
    text = torch.stack([official.text_features(family, weights, torch.tensor(sentence)) for sentence in ids])
    cosines = torch.nn.functional.normalize(audio, dim=1) @ torch.nn.functional.normalize(text, dim=1).T
    assert cosines.std() > 0.01, "the small model must tell things apart for this test to mean anything"
    expected = SCALES[family] * cosines
    torch.testing.assert_close(model(**features).logits.double(), expected, rtol=0, atol=5e-4)


# Widths, the vocabulary, and how many million parameters the converted model has.
HTSAT = {"embed": 96, "heads": (4, 8, 16, 32)}
CNN14 = {"channels": (64, 128, 256, 512, 1024, 2048), "cnn_width": 2048}
BASE = {"text_width": 768, "feed_forward": 3072}
OFFICIAL = {
    "pengi": (HTSAT | {"text_width": 512, "feed_forward": 2048, "joint": 1024}, 49_408, 94.4),
    "msclap-2022": (CNN14 | BASE | {"positions": 512, "joint": 1024}, 30_522, 193.6),
    "msclap-2023": (HTSAT | BASE | {"positions": 1024, "joint": 1024}, 50_257, 155.6),
    "laion": (HTSAT | BASE | {"positions": 514, "joint": 512}, 50_265, 153.5),
    "reclap": (HTSAT | {"embed": 128, "text_width": 1024, "feed_forward": 2816, "joint": 512}, 32_100, 410.7),
}
# Million values in official files, as published, with what is left out and without buffers.
PUBLISHED = {"msclap-2022": 196.3, "msclap-2023": 159.4}
BUFFERS = ("attn_mask", "relative_position_index", "running_mean", "running_var", "num_batches_tracked")


@pytest.mark.parametrize("family", FAMILIES)
def test_official_sizes(family, layouts):
    sizes, vocabulary, millions = OFFICIAL[family]
    weights = layouts.official_weights(family, vocabulary, layouts.Sizes(**sizes), empty=True)
    with torch.device("meta"):
        model = AlmModel(CONVERTERS[family].config(weights))
    mapped = map_weights(split_qkv(weights), CONVERTERS[family].parts).weights
    shapes = {"logit_scale": torch.Size(), **{name: tensor.shape for name, tensor in mapped.items()}}
    assert shapes == {name: tensor.shape for name, tensor in model.state_dict().items()}
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    if family in PUBLISHED:
        total = sum(tensor.numel() for name, tensor in weights.items() if not name.endswith(BUFFERS))
        assert total / 1e6 == pytest.approx(PUBLISHED[family], abs=0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_tensor_is_written_or_dropped_for_a_reason(family, converted):
    checkpoint = converted(family)
    report = json.loads((checkpoint.folder / "conversion_report.json").read_text())
    assert report == checkpoint.report
    assert report["tensors"]["read"] == len(checkpoint.weights) == TENSORS.get(family, len(checkpoint.weights))
    assert {name for names in report["dropped"].values() for name in names} <= checkpoint.weights.keys()
    model = AlmModel.from_pretrained(checkpoint.folder)
    assert report["tensors"]["written"] == len(model.state_dict())
    assert report["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    splits = sum(".attn.qkv." in name for name in checkpoint.weights)
    assert report["tensors"]["written"] - report["tensors"]["read"] + report["tensors"]["dropped"] == 2 * splits + (
        family == "pengi"  # the constant scale
    )
    if family in ("pengi", "msclap-2023", "laion"):
        assert sum(name.startswith("audio_tower.") for name in model.state_dict()) == 236
    assert report["logit_scale"] == pytest.approx(SCALES[family])


def test_what_pengi_needs_for_writing_captions_is_left_out(converted):
    dropped = converted("pengi").report["dropped"]
    decoder = {name for name in converted("pengi").weights if name.startswith("caption_decoder.")}
    assert set(dropped["generation only"]) == decoder


@pytest.mark.parametrize("family", FAMILIES)
def test_takes_an_adapter(family, converted, tmp_path):
    checkpoint = converted(family)
    torch.manual_seed(0)
    alm = AlmForAudioClassification.from_pretrained(checkpoint.folder, class_names=CLASSES)
    inputs = {"audio_features": torch.randn(4, alm.config.projection_dim), "labels": torch.tensor([0, 1, 2, 0])}
    with torch.no_grad():
        zero_shot = alm(**inputs).logits
    model = get_peft_model(alm, CoOpPromptConfig(n_ctx=4))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    before = model(**inputs)
    before.loss.backward()
    optimizer.step()
    after = model.eval()(**inputs)
    assert not torch.equal(after.logits, before.logits)
    with model.disable_adapter():
        assert torch.equal(model(**inputs).logits, zero_shot)
    model.save_pretrained(tmp_path)
    reloaded = PeftModel.from_pretrained(AlmForAudioClassification.from_pretrained(checkpoint.folder), tmp_path)
    assert torch.equal(reloaded.eval()(**inputs).logits, after.logits)
