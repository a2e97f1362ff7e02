"""The shipped tiny ALM is what its model card says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import alm_prompt
from alm_prompt import AlmForAudioClassification, AlmProcessor
from alm_prompt.data import base_novel_classes
from alm_prompt.data.world import world_clips

FOLDER = Path(alm_prompt.__file__).parent / "assets" / "tiny_alm"
PER_CLASS = 20


def percentages(row: str) -> list[float]:
    """The figures of one row of the card's table of zero-shot accuracies."""
    line = re.search(rf"^\| {row} \|(.*)\|$", (FOLDER / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    return [float(cell) for cell in line[1].split("|")]


@pytest.fixture(scope="module")
def logits_and_labels() -> tuple[torch.Tensor, torch.Tensor]:
    clips = world_clips(seed=0, per_class=PER_CLASS)
    model = AlmForAudioClassification.from_pretrained(FOLDER, class_names=clips.class_names)
    processor = AlmProcessor.from_pretrained(FOLDER)
    with torch.no_grad():
        features = processor(audio=[clip.source for clip in clips])
        return model(**features).logits, torch.tensor(clips.label_ids(clips.class_names))


def test_zero_shot_accuracy_is_that_of_the_card(logits_and_labels):
    logits, labels = logits_and_labels
    half = len(base_novel_classes([str(index) for index in range(12)])[0])
    base, novel = labels < half, labels >= half
    measured = [
        100 * (choice == truth).float().mean().item()
        for choice, truth in (
            (logits.argmax(1), labels),
            (logits[base, :half].argmax(1), labels[base]),
            (logits[novel, half:].argmax(1) + half, labels[novel]),
        )
    ]
    assert measured == pytest.approx(percentages("seed 0, 20 clips per class"), abs=1.5)
    assert measured[0] > 3 * 100 / 12


def test_weights_are_opened_in_single_precision():
    model = AlmForAudioClassification.from_pretrained(FOLDER)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not model.training


def test_folder_is_small():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 8e6


def test_any_class_name_has_tokens_that_read_back():
    tokenizer = AlmProcessor.from_pretrained(FOLDER).tokenizer
    for name in ("church bell", "Xylophone", "Geräusch №7", "雨"):
        ids = tokenizer(name)["input_ids"]
        assert ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == name.lower()
    assert len(tokenizer("the sound of a low bell")["input_ids"]) == 8
