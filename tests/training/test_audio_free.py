"""Training on sentences: their features, what training on them changes, and text that is refused."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model

from alm_prompt import AlmForAudioClassification, AlmPromptError, AlmTrainer, audio_free_dataset, parse_method
from alm_prompt.data import AlmCollator

ROOT = Path(__file__).resolve().parents[2]
SENTENCES = {
    "siren": ["the siren ."],
    "dog": ["a dog .", "this is the sound of a dog", "dog"],
    "rain": ["rain is a sound", "the rain ."],
    "door bell": ["a bell", "door ."],
}


def features_by_hand(model: AlmForAudioClassification) -> tuple[torch.Tensor, list[int]]:
    """Each sentence alone through the text tower, classes in the order of the model."""
    rows, labels = [], []
    for label, name in enumerate(model.class_names):
        for sentence in SENTENCES[name]:
            ids = torch.tensor([model.tokenizer(sentence)["input_ids"]])
            with torch.no_grad():
                rows.append(model.alm.get_text_features(ids)[0])
            labels.append(label)
    return torch.stack(rows), labels


def test_features_are_those_of_the_text_tower(tiny_alm: AlmForAudioClassification) -> None:
    expected, labels = features_by_hand(tiny_alm)
    tiny_alm.train()
    dataset = audio_free_dataset(tiny_alm, SENTENCES)
    assert dataset.labels == labels == [0, 0, 0, 1, 1, 2, 3, 3]
    torch.testing.assert_close(dataset.features, expected, atol=1e-6, rtol=1e-6)
    assert not dataset.features.requires_grad
    assert tiny_alm.training
    assert tiny_alm.alm.text_tower.training


def test_noise_has_its_size_and_belongs_to_the_sentence(tiny_alm: AlmForAudioClassification) -> None:
    plain = audio_free_dataset(tiny_alm, SENTENCES).features
    noisy = audio_free_dataset(tiny_alm, SENTENCES, noise_std=0.3, seed=1)
    again = audio_free_dataset(tiny_alm, SENTENCES, noise_std=0.3, seed=1)
    assert torch.equal(noisy.features, again.features)
    other_seed = audio_free_dataset(tiny_alm, SENTENCES, noise_std=0.3, seed=2)
    assert not torch.isclose(noisy.features, other_seed.features).any()
    # On unit vectors: scaled back by the length of the feature, the noise is N(0, 0.3²) in every coordinate.
    lengths = torch.tensor([math.sqrt(sum(value * value for value in row)) for row in plain.tolist()])
    noise = (noisy.features - plain) / lengths[:, None]
    assert noise.std().item() == pytest.approx(0.3, rel=0.15)
    assert len({round(value, 5) for value in noise.flatten().tolist()}) == noise.numel()
    fewer = {name: texts[-1:] for name, texts in SENTENCES.items()}
    alone = audio_free_dataset(tiny_alm, fewer, noise_std=0.3, seed=1)
    torch.testing.assert_close(alone.features[0], noisy.features[2], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("method", ["coop", "cocoop", "kgcoop", "palm", "coop+dept", "coop+zebra"])
def test_training_on_sentences_lowers_their_loss_and_leaves_the_encoders(
    method: str,
    arguments: Callable[..., Any],
    make_tiny_alm: Callable[..., AlmForAudioClassification],
) -> None:
    torch.manual_seed(0)
    model = get_peft_model(make_tiny_alm(), parse_method(method))
    dataset = audio_free_dataset(model, SENTENCES)
    assert torch.equal(dataset.features, audio_free_dataset(make_tiny_alm(), SENTENCES).features)

    def loss() -> float:
        with torch.no_grad():
            return model.eval()(**AlmCollator()([dataset[i] for i in range(len(dataset))])).loss.item()

    before = loss()
    args = arguments(num_train_epochs=20, learning_rate=0.01)
    AlmTrainer(model=model, args=args, train_dataset=dataset, data_collator=AlmCollator()).train()
    assert loss() < before
    untouched = make_tiny_alm().alm.state_dict()
    assert all(torch.equal(value, untouched[name]) for name, value in model.alm.state_dict().items())


def test_the_adapter_is_an_ordinary_one(
    prompted: Callable[..., PeftModel],
    arguments: Callable[..., Any],
    make_tiny_alm: Callable[..., AlmForAudioClassification],
    tmp_path: Path,
) -> None:
    model = prompted("coop")
    args = arguments(num_train_epochs=2)
    dataset = audio_free_dataset(model, SENTENCES)
    AlmTrainer(model=model, args=args, train_dataset=dataset, data_collator=AlmCollator()).train()
    model.save_pretrained(tmp_path / "adapter")
    make_tiny_alm().save_pretrained(tmp_path / "model")
    code = (
        "import sys, torch; from peft import PeftModel; from alm_prompt import AlmForAudioClassification\n"
        "alm = AlmForAudioClassification.from_pretrained(sys.argv[1])\n"
        "model = PeftModel.from_pretrained(alm, sys.argv[2]).eval()\n"
        "torch.save(model(audio_features=torch.ones(1, 32)).logits.detach(), sys.argv[3])\n"
    )
    arguments_of_process = [str(tmp_path / name) for name in ("model", "adapter", "logits.pt")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, *arguments_of_process], env=environment, check=True)
    with torch.no_grad():
        expected = model.eval()(audio_features=torch.ones(1, 32)).logits
    torch.testing.assert_close(torch.load(tmp_path / "logits.pt"), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({"rain": []}, {}, "class 'rain' has no sentences"),
        ({"cat": ["a cat"]}, {}, "sentences for 'cat', which is no class"),
        ({"dog": ["a dog", " ."]}, {}, "class 'dog' has the blank sentence ' .'"),
        ({"dog": "a dog"}, {}, "the sentences of class 'dog' are one text"),
        ({"dog": ["dog " * 40]}, {}, "class 'dog': its sentence .* has 42 tokens"),
        ({}, {"noise_std": -0.1}, "noise_std is -0.1"),
        ({}, {"noise_std": math.nan}, "noise_std is nan"),
    ],
)
def test_bad_text_and_noise_are_one_line(
    change: dict[str, Any], settings: dict[str, float], message: str, tiny_alm: AlmForAudioClassification
) -> None:
    with pytest.raises(AlmPromptError, match=message) as caught:
        audio_free_dataset(tiny_alm, SENTENCES | change, **settings)
    assert "\n" not in str(caught.value)


def test_a_model_without_classes_is_refused(tiny_alm: AlmForAudioClassification) -> None:
    tiny_alm.class_bank = None
    with pytest.raises(AlmPromptError, match="no classes"):
        audio_free_dataset(tiny_alm, SENTENCES)
