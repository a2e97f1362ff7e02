"""`AlmModel.from_towers`: weights are taken over, whatever they come in; what does not fit is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    ClapConfig,
    ClapModel,
    ClapTextConfig,
    ClapTextModel,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    DistilBertConfig,
    GPT2Config,
    GPT2Model,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
    WhisperConfig,
)

from alm_prompt import AlmForAudioClassification, AlmModel, AlmPromptError
from alm_prompt.models.audio_towers import CnnAudioConfig

SIZES = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
T5_SIZES = {"vocab_size": 30, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
CLAP_AUDIO = {"patch_embeds_hidden_size": 8, "hidden_size": 32, "depths": [1, 1, 1], "num_attention_heads": [1, 2, 4]}
CNN = CnnAudioConfig(channels=[4, 8], hidden_size=16)
CLIP_TEXT = {**SIZES, "max_position_embeddings": 20, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
IDS = torch.tensor([[2, 7, 9, 3]])

# Type, a model of transformers as people have it, and how its text feature is read from the encoder in it by default.
TEXTS = {
    "bert": (lambda: BertModel(BertConfig(**SIZES)), "mean"),
    "roberta": (lambda: RobertaForMaskedLM(RobertaConfig(**SIZES)), "mean"),
    "clap_text_model": (lambda: ClapTextModel(ClapTextConfig(**SIZES)), "pooler"),
    "clip_text_model": (lambda: CLIPTextModel(CLIPTextConfig(**CLIP_TEXT)), "eos"),
    "gpt2": (lambda: GPT2Model(GPT2Config(vocab_size=30, n_embd=16, n_layer=1, n_head=2, n_positions=20)), "mean"),
    "t5": (lambda: T5ForConditionalGeneration(T5Config(**T5_SIZES, decoder_start_token_id=0)), "mean"),
}


def scattered(model):
    """The model in evaluation mode with weights that all matter."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.eval()


def options_of(model_type):
    return {"text_max_length": 20} if model_type == "t5" else {}


@torch.no_grad()
@pytest.mark.parametrize("model_type", TEXTS)
def test_text_encoders_of_transformers_are_taken_over(model_type, tmp_path):
    make, pooling = TEXTS[model_type]
    source = scattered(make())
    source.save_pretrained(tmp_path / "text")
    joined = AlmModel.from_towers(CNN, tmp_path / "text", projection_dim=12, **options_of(model_type))
    encoder = {"roberta": lambda: source.roberta, "t5": lambda: source.encoder}.get(model_type, lambda: source)()
    output = encoder(input_ids=IDS)
    states = output.last_hidden_state
    feature = {"mean": states.mean(dim=1), "eos": states[:, -1]}.get(pooling, output.get("pooler_output"))
    torch.testing.assert_close(joined.get_text_features(IDS), joined.text_projection(feature), atol=1e-5, rtol=1e-5)
    assert joined.config.text_pooling == pooling
    assert not joined.training


@torch.no_grad()
@pytest.mark.parametrize("way", ["model", "folder", "whole model", "whole folder"])
def test_clap_audio_comes_as_a_model_or_a_folder_alone_or_with_its_text(way, tmp_path):
    clap = scattered(ClapModel(ClapConfig(text_config=dict(SIZES), audio_config=dict(CLAP_AUDIO), projection_dim=12)))
    source = clap if way.startswith("whole") else clap.audio_model
    if way.endswith("folder"):
        source.save_pretrained(tmp_path)
        source = tmp_path
    joined = AlmModel.from_towers(source, BertConfig(**SIZES))
    mel = torch.randn(1, 1, 64, 64)
    expected = clap.audio_model(input_features=mel).pooler_output
    torch.testing.assert_close(joined.audio_tower(mel), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("opened", [False, True])
def test_towers_of_an_alm_come_as_a_model_or_a_folder(opened, tiny_alm, tmp_path):
    tiny_alm.save_pretrained(tmp_path)
    source = AlmModel.from_pretrained(tmp_path) if opened else str(tmp_path)
    joined = AlmModel.from_towers(source, source, projection_dim=12)
    for side in ("audio_tower", "text_tower"):
        expected = getattr(tiny_alm.alm, side).state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in getattr(joined, side).state_dict().items())
    assert joined.text_projection.out_features == 12
    other = AlmModel.from_towers(joined.audio_tower, CLIPTextModel(CLIPTextConfig(**CLIP_TEXT)))
    assert torch.equal(other.audio_tower.fc.weight, joined.audio_tower.fc.weight)


@pytest.mark.parametrize("whole", [CLIPModel, ClapModel])
def test_the_text_encoder_inside_a_model_of_two_towers(whole, tmp_path):
    if whole is CLIPModel:
        vision = {**SIZES, "image_size": 8, "patch_size": 4}
        source = CLIPModel(CLIPConfig(text_config=CLIP_TEXT, vision_config=vision, projection_dim=12))
    else:
        source = ClapModel(ClapConfig(text_config=dict(SIZES), audio_config=dict(CLAP_AUDIO), projection_dim=12))
    scattered(source).save_pretrained(tmp_path)
    joined = AlmModel.from_towers(CNN, tmp_path)
    expected = source.text_model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in joined.text_tower.model.state_dict().items())


def test_weights_are_copied_and_become_float32():
    source = BertModel(BertConfig(**SIZES)).bfloat16()
    before = copy.deepcopy(source.config.to_dict())
    joined = AlmModel.from_towers(CNN, source)
    assert {parameter.dtype for parameter in joined.parameters()} == {torch.float32}
    with torch.no_grad():
        joined.text_tower.token_embedding.weight.zero_()
    assert source.get_input_embeddings().weight.any()
    assert source.config.to_dict() == before


@torch.no_grad()
@pytest.mark.parametrize("model_type", TEXTS)
def test_round_trip(model_type, tmp_path):
    options = {"logit_scale_init_value": 3.0, "text_projection": {"kind": "mlp"}, **options_of(model_type)}
    source = scattered(TEXTS[model_type][0]())
    source.save_pretrained(tmp_path / "text")
    joined = AlmModel.from_towers(CNN, tmp_path / "text", projection_dim=12, **options)
    joined.save_pretrained(tmp_path / "alm")
    opened, report = AlmModel.from_pretrained(tmp_path / "alm", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert opened.logit_scale.item() == 3.0
    assert all(torch.equal(weight, joined.state_dict()[name]) for name, weight in opened.state_dict().items())
    expected = joined.get_text_features(IDS)
    torch.testing.assert_close(opened.get_text_features(IDS), expected, atol=1e-6, rtol=1e-6)


def test_a_classifier_of_the_joined_model(tiny_alm):
    joined = AlmModel.from_towers(tiny_alm.alm.audio_tower, tiny_alm.alm.text_tower.model, projection_dim=12)
    classifier = AlmForAudioClassification(joined.config, tokenizer=tiny_alm.tokenizer).eval()
    classifier.alm = joined
    classifier.set_classes(["dog", "rain"])
    mel = torch.randn(3, 1, 16, tiny_alm.config.audio_config.num_mel_bins)
    sentences = tiny_alm.tokenizer(["This is a sound of dog.", "This is a sound of rain."], return_tensors="pt")
    expected = joined(input_features=mel, input_ids=sentences["input_ids"]).logits_per_audio
    torch.testing.assert_close(classifier(input_features=mel).logits, expected)


def test_other_types_are_refused_by_name(tmp_path):
    DistilBertConfig().save_pretrained(tmp_path)
    names = "bert, clap_text_model, clip_text_model, gpt2, roberta, t5"
    with pytest.raises(AlmPromptError, match=rf"text is '{tmp_path}' of type 'distilbert', .* choose one of {names}$"):
        AlmModel.from_towers(CNN, tmp_path)
    with pytest.raises(
        AlmPromptError, match=r"audio is WhisperConfig of type 'whisper', .* clap_audio_model, alm_cnn"
    ):
        AlmModel.from_towers(WhisperConfig(), BertConfig(**SIZES))
    with pytest.raises(AlmPromptError, match="text is Linear of type None"):
        AlmModel.from_towers(CNN, torch.nn.Linear(2, 2))


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(AlmPromptError, match="text_pooling is 'eos'; with a bert text model choose one of cls"):
        AlmModel.from_towers(CNN, BertConfig(**SIZES), text_pooling="eos")
    with pytest.raises(AlmPromptError, match="set text_max_length"):
        AlmModel.from_towers(CNN, T5Config(**T5_SIZES))


def test_missing_weights_are_refused_not_made_up(tmp_path):
    BertForMaskedLM(BertConfig(**SIZES)).save_pretrained(tmp_path)  # has no pooler
    with pytest.raises(AlmPromptError, match=r"has no weight 'pooler\.dense\.weight' of a BertModel"):
        AlmModel.from_towers(CNN, tmp_path, text_pooling="pooler")
    with pytest.raises(AlmPromptError, match=r"RobertaForMaskedLM has no weight .* of a RobertaModel"):
        AlmModel.from_towers(CNN, RobertaForMaskedLM(RobertaConfig(**SIZES)))
    assert isinstance(AlmModel.from_towers(CNN, tmp_path).text_tower.model, BertModel)
