"""The two models: objective, saving and loading, Auto classes."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForAudioClassification, BertConfig

from alm_prompt import AlmConfig, AlmForAudioClassification, AlmModel, AlmPromptError, ZebraLoss


def test_contrastive_loss_equals_a_hand_written_loop(tiny_alm):
    alm = tiny_alm.alm
    input_features = torch.randn(3, 1, 16, alm.config.audio_config.num_mel_bins)
    tokens = alm.get_input_embeddings().num_embeddings
    input_ids = torch.randint(4, tokens, (3, 6))
    output = alm(input_ids=input_ids, input_features=input_features, return_loss=True)
    audio, text = alm.get_audio_features(input_features), alm.get_text_features(input_ids)
    scale, total = alm.logit_scale.exp(), 0.0
    cosines = [[torch.cosine_similarity(a, t, dim=0) * scale for t in text] for a in audio]
    for i in range(3):
        row = torch.stack(cosines[i])
        column = torch.stack([cosines[j][i] for j in range(3)])
        total += (row.logsumexp(0) - row[i]) / 6 + (column.logsumexp(0) - column[i]) / 6
    torch.testing.assert_close(output.loss, total, atol=1e-5, rtol=1e-5)


def test_parts_of_accumulated_batches_add_up_to_one_batch(tiny_alm, audio_batch):
    tiny_alm.loss_hooks = [ZebraLoss()]
    whole = tiny_alm(**audio_batch).losses
    pieces = [{name: value[piece] for name, value in audio_batch.items()} for piece in (slice(0, 5), slice(5, 8))]
    parts = [tiny_alm(**piece, num_items_in_batch=torch.tensor(8)).losses for piece in pieces]
    for name, value in whole.items():
        torch.testing.assert_close(parts[0][name] + parts[1][name], value, atol=1e-6, rtol=1e-6)
    assert set(whole) == {"cross_entropy", "entropy"}


def test_loss_is_the_sum_of_its_parts_and_absent_without_labels(tiny_alm, audio_batch):
    tiny_alm.loss_hooks = [lambda outputs, labels, head: {"constant": torch.tensor(2.0)}]
    output = tiny_alm(**audio_batch)
    torch.testing.assert_close(output.loss, output.losses["cross_entropy"] + 2.0)
    assert tiny_alm(audio_features=audio_batch["audio_features"]).loss is None


@pytest.mark.parametrize("label", [-100, -1, 4])
def test_a_label_of_no_class_is_refused(tiny_alm, audio_batch, label):
    labels = torch.cat([audio_batch["labels"][:7], torch.tensor([label])])
    with pytest.raises(AlmPromptError, match=f"label {label} is the index of no class: the model has 4") as error:
        tiny_alm(audio_features=audio_batch["audio_features"], labels=labels)
    assert "\n" not in str(error.value)


def test_two_terms_of_one_name_are_refused(tiny_alm, audio_batch):
    tiny_alm.loss_hooks = [ZebraLoss(), ZebraLoss()]
    with pytest.raises(AlmPromptError, match="two loss hooks give the term 'entropy'"):
        tiny_alm(**audio_batch)


def test_audio_features_skip_the_audio_tower(tiny_alm):
    input_features = torch.randn(2, 1, 16, tiny_alm.config.audio_config.num_mel_bins)
    expected = tiny_alm(input_features=input_features).logits
    found = tiny_alm(audio_features=tiny_alm.get_audio_features(input_features)).logits
    assert torch.equal(found, expected)


def test_saved_model_opens_alike_through_every_door(tiny_alm, tmp_path, audio_batch):
    tiny_alm.save_pretrained(tmp_path)
    expected = tiny_alm(audio_features=audio_batch["audio_features"]).logits
    opened = AlmForAudioClassification.from_pretrained(tmp_path, class_names=tiny_alm.class_names)
    assert torch.equal(opened(audio_features=audio_batch["audio_features"]).logits, expected)
    auto = AutoModelForAudioClassification.from_pretrained(tmp_path)
    auto.set_classes(tiny_alm.class_names)
    assert torch.equal(auto(audio_features=audio_batch["audio_features"]).logits, expected)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), AlmConfig)
    alm = AutoModel.from_pretrained(tmp_path)
    assert isinstance(alm, AlmModel)
    for name, value in tiny_alm.alm.state_dict().items():
        assert torch.equal(alm.state_dict()[name], value), name


@pytest.mark.parametrize("class_names", [None, ["rain"]])
def test_a_template_given_on_opening_is_that_of_classes_set_later(tiny_alm, tmp_path, class_names):
    tiny_alm.save_pretrained(tmp_path)
    opened = AlmForAudioClassification.from_pretrained(tmp_path, class_names=class_names, template="the {}.")
    opened.set_classes(["dog"])
    assert opened.class_bank.template == "the {}."


def test_half_precision_files_open_in_float32(tiny_alm, tmp_path):
    tiny_alm.half().save_pretrained(tmp_path)
    assert AlmForAudioClassification.from_pretrained(tmp_path).dtype == torch.float32
    assert AlmForAudioClassification.from_pretrained(tmp_path, dtype=torch.float16).dtype == torch.float16


def test_use_before_classes_or_without_audio_is_refused(tiny_alm):
    model = AlmForAudioClassification(tiny_alm.config)
    with pytest.raises(AlmPromptError, match=r"has no classes; call model\.set_classes"):
        model(audio_features=torch.randn(1, 32))
    with pytest.raises(AlmPromptError, match="has no tokenizer"):
        model.set_classes(["dog"])
    with pytest.raises(AlmPromptError, match="got no audio"):
        tiny_alm()


def test_other_kinds_of_models_are_refused(tmp_path):
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(AlmPromptError, match="holds a model of type 'bert'"):
        AlmForAudioClassification.from_pretrained(tmp_path)
    with pytest.raises(AlmPromptError, match="audio_config has the unknown model_type 'ear'"):
        AlmConfig(audio_config={"model_type": "ear"})
