"""A LAION CLAP checkpoint of `transformers` opens as it is, and classifies as `ClapModel` and its pipeline do."""

import json

import numpy as np
import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapProcessor,
    RobertaTokenizer,
    pipeline,
)

from alm_prompt import AlmForAudioClassification, AlmModel
from alm_prompt.errors import AlmPromptError
from alm_prompt.models.convert.clap import config_from_clap, feature_settings_from_clap, state_dict_from_clap
from alm_prompt.models.processing import AlmFeatureExtractor, AlmProcessor

RATE = 48_000
CLASS_NAMES = ["dog", "heavy rain", "siren", "glass breaking"]
SENTENCES = [f"This is a sound of {name}." for name in CLASS_NAMES]


def small_tokenizer():
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet())]
    return RobertaTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=[])


def small_clap(**audio_settings):
    text = {"vocab_size": 261, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    audio = {"patch_embeds_hidden_size": 8, "hidden_size": 32, "depths": [1, 2, 1], "num_attention_heads": [1, 2, 4]}
    config = ClapConfig(
        text_config={**text, "intermediate_size": 24, "max_position_embeddings": 80},
        audio_config={**audio, **audio_settings},
        projection_dim=12,
    )
    torch.manual_seed(0)
    model = ClapModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
        model.logit_scale_a.fill_(2.5)
        model.logit_scale_t.fill_(1.0)
        statistics = model.audio_model.audio_encoder.batch_norm
        statistics.running_mean.uniform_(-40, -20)
        statistics.running_var.uniform_(50, 200)
    return model


@pytest.fixture(scope="module")
def clap():
    extractor = ClapFeatureExtractor(truncation="rand_trunc", frequency_min=50, max_length_s=2)
    return small_clap(), ClapProcessor(extractor, small_tokenizer())


@pytest.fixture(scope="module")
def folder(clap, tmp_path_factory):
    path = tmp_path_factory.mktemp("clap")
    for part in clap:
        part.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def clips():
    """One clip of full length, two that are repeated and padded; none that CLAP would crop at random."""
    time = np.arange(2 * RATE) / RATE
    tone = np.sin(2 * np.pi * 440 * time) * np.exp(-3 * time)
    noise = np.random.default_rng(0).standard_normal(2 * RATE)
    return [clip.astype(np.float32) for clip in (0.5 * tone, 0.1 * noise[: RATE // 2], (tone + 0.02 * noise)[:RATE])]


@torch.no_grad()
def test_classifies_as_clap_itself(clap, folder, clips):
    reference, reference_processor = clap
    # Apart, because in older releases padding=True for the text also replaced the audio's "repeatpad" by zeros.
    text = reference_processor.tokenizer(SENTENCES, padding=True, return_tensors="pt")
    audio = reference_processor.feature_extractor(clips, sampling_rate=RATE, return_tensors="pt")
    inputs = {**text, **audio}
    expected = reference(**inputs).logits_per_audio
    assert expected.std(dim=0).min() > 0.01, "the small model must tell the clips apart for this test to mean anything"

    model = AlmForAudioClassification.from_pretrained(folder, class_names=CLASS_NAMES)
    features = AlmProcessor.from_pretrained(folder)(audio=clips, sampling_rate=RATE)
    output = model(**features)
    torch.testing.assert_close(output.logits, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(output.text_embeds, reference(**inputs).text_embeds, rtol=0, atol=1e-6)


@torch.no_grad()
def test_classifies_as_the_pipeline_of_transformers(clap, folder, clips):
    reference, processor = clap
    classify = pipeline(
        "zero-shot-audio-classification",
        model=reference,
        feature_extractor=processor.feature_extractor,
        tokenizer=processor.tokenizer,
        device="cpu",
    )
    model = AlmForAudioClassification.from_pretrained(folder, class_names=CLASS_NAMES)
    ours = AlmProcessor.from_pretrained(folder)
    for clip in [*clips, np.concatenate([clips[2], clips[0], clips[1]])]:
        # The last clip is longer than a clip of the model: both draw the same crop.
        np.random.seed(0)
        expected = {answer["label"]: answer["score"] for answer in classify(clip, candidate_labels=CLASS_NAMES)}
        np.random.seed(0)
        features = ours(audio=clip, sampling_rate=RATE, reference=True)
        for name, probability in zip(CLASS_NAMES, model(**features).logits[0].softmax(dim=-1).tolist(), strict=True):
            assert probability == pytest.approx(expected[name], abs=1e-5)


@torch.no_grad()
def test_opened_checkpoint_survives_our_own_format(folder, clips, tmp_path):
    model = AlmForAudioClassification.from_pretrained(folder, class_names=CLASS_NAMES)
    processor = AlmProcessor.from_pretrained(folder)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    reopened = AlmForAudioClassification.from_pretrained(tmp_path, class_names=CLASS_NAMES)
    features = AlmProcessor.from_pretrained(tmp_path)(audio=clips, sampling_rate=RATE)
    assert torch.equal(features["input_features"], processor(audio=clips, sampling_rate=RATE)["input_features"])
    assert torch.equal(reopened(**features).logits, model(**features).logits)


@pytest.mark.parametrize("kind", [AlmModel, AlmForAudioClassification])
def test_options_of_from_pretrained_reach_the_model(kind, folder, tmp_path):
    model, report = kind.from_pretrained(
        folder, device_map="cpu", dtype="bfloat16", attn_implementation="eager", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert model.device.type == "cpu" and model.dtype == torch.bfloat16
    text = model.base_model.text_tower.model.config
    assert {model.config._attn_implementation, text._attn_implementation} == {"eager"}
    assert kind.from_pretrained(folder, torch_dtype=torch.float16).dtype == torch.float16
    model.save_pretrained(tmp_path)
    assert kind.from_pretrained(tmp_path, output_loading_info=True)[1].keys() == report.keys()


def test_device_map_puts_the_model_on_the_device(folder):
    # The one device beside the CPU that every machine has.
    model = AlmForAudioClassification.from_pretrained(folder, device_map="meta")
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"meta"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"max_memory": {"cpu": "1GB"}},
            r"max_memory=\{'cpu': '1GB'\} does not go with .*; save it with save_pretrained",
        ),
        ({"device_map": {"": "cpu", "text_model": "meta"}}, r"spreads .* over several devices; give one, or save"),
    ],
)
def test_options_that_would_be_lost_are_refused(options, message, folder):
    with pytest.raises(AlmPromptError, match=message) as caught:
        AlmModel.from_pretrained(folder, **options)
    assert "\n" not in str(caught.value)


def test_long_clips_are_cropped_the_same_way_every_time(folder, clips):
    processor = AlmProcessor.from_pretrained(folder)
    long_clip = np.concatenate([clips[0], clips[2], clips[1]])
    first = processor(audio=long_clip, sampling_rate=RATE)["input_features"]
    assert torch.equal(first, processor(audio=[clips[0], long_clip], sampling_rate=RATE)["input_features"][1:])


def test_revision_is_kept_beside_the_name(folder, tmp_path):
    model = AlmForAudioClassification.from_pretrained(folder, revision="v1")
    assert (model.name_or_path, model.revision) == (str(folder), "v1")
    model.save_pretrained(tmp_path)
    assert AlmForAudioClassification.from_pretrained(tmp_path).revision is None


def test_every_tensor_of_clap_has_its_place(clap):
    weights = clap[0].state_dict()
    renamed = state_dict_from_clap(weights)
    # CLAP's second scale, of the text-to-audio direction, is the one tensor that has no use here.
    assert len(renamed) == len(weights) - 1
    assert renamed.keys() == AlmModel(config_from_clap(clap[0].config)).state_dict().keys()
    assert renamed["logit_scale"] == 2.5


def test_a_foreign_tensor_is_refused_by_name():
    with pytest.raises(AlmPromptError, match=r"'vision_model\.weight' is not part of a ClapModel"):
        state_dict_from_clap({"vision_model.weight": torch.zeros(1)})


@pytest.mark.parametrize("padding", ["repeatpad", "repeat", "pad"])
def test_every_padding_of_clap_gives_the_same_features(padding, clips):
    extractor = ClapFeatureExtractor(truncation="rand_trunc", padding=padding, frequency_min=50, max_length_s=2)
    ours = AlmFeatureExtractor.from_dict(extractor.to_dict())
    expected = extractor(clips[2][:30_000], sampling_rate=RATE, return_tensors="pt")["input_features"]
    features = ours(clips[2][:30_000], sampling_rate=RATE)["input_features"]
    torch.testing.assert_close(features, expected.float(), rtol=0, atol=1e-4)


def test_unknown_padding_and_truncation_are_refused(folder):
    settings = json.loads((folder / "processor_config.json").read_text())["feature_extractor"]
    with pytest.raises(AlmPromptError, match="'wrap' is unknown"):
        feature_settings_from_clap({**settings, "padding": "wrap"})
    with pytest.raises(AlmPromptError, match="'drop' is unknown"):
        feature_settings_from_clap({**settings, "truncation": "drop"})


def test_default_clap_of_real_size_builds():
    with torch.device("meta"):
        reference = ClapModel(ClapConfig())
        model = AlmModel(config_from_clap(ClapConfig()))
    count = sum(parameter.numel() for parameter in reference.parameters())
    # One logit scale instead of two.
    assert sum(parameter.numel() for parameter in model.parameters()) == count - 1
