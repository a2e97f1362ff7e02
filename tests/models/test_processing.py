"""The processor: the front ends it stands for, independence of the batch, files, and what it refuses."""

import json
import random

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoFeatureExtractor, AutoProcessor, ClapFeatureExtractor, PreTrainedTokenizerFast

from alm_prompt.errors import AlmPromptError
from alm_prompt.models.convert.front_ends import LAION
from alm_prompt.models.processing import AlmFeatureExtractor, AlmProcessor

RATE = 16_000
SMALL = {"sampling_rate": RATE, "n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 32, "f_max": 7500.0}
EXTRACTORS = {
    "repeatpad": {"clip_seconds": 1.0, "pad": "repeatpad"},
    "tile": {"clip_seconds": 1.0, "pad": "tile"},
    "zero": {"clip_seconds": 1.0, "pad": "zero"},
    "patch": {"clip_seconds": 3.0, "pad": "patch", "patch_frames": 96, "patch_hop": 48, "center": False},
}


def extractor(pad, **changes):
    return AlmFeatureExtractor(**{**SMALL, **EXTRACTORS[pad], **changes})


def noise(samples, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@pytest.fixture
def processor():
    words = {"[PAD]": 0, "[UNK]": 1, "dog": 2, "rain": 3}
    backend = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_input_names=["input_ids", "attention_mask"],
    )
    return AlmProcessor(extractor("patch"), tokenizer)


@pytest.mark.parametrize("seconds", [10.0, 4.3, 0.7])
def test_defaults_are_the_front_end_of_unfused_clap(seconds):
    wave = noise(round(seconds * 48_000))
    clap = ClapFeatureExtractor(truncation="rand_trunc", frequency_min=50, frequency_max=14_000)
    expected = clap(wave, sampling_rate=48_000, return_tensors="pt")["input_features"]
    features = AlmFeatureExtractor()(wave, sampling_rate=48_000)["input_features"]
    assert features.shape == (1, 1, 1001, 64)
    torch.testing.assert_close(features, expected.float(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("pad", EXTRACTORS)
def test_a_clip_has_bitwise_the_same_features_alone_and_in_any_batch(pad):
    clips = [noise(n, seed) for seed, n in enumerate([RATE, 900, 3 * RATE, 1, 2 * RATE + 77])]
    extract = extractor(pad)
    together = extract(clips, sampling_rate=RATE)
    reversed_batch = extract(clips[::-1], sampling_rate=RATE)["input_features"].flip(0)
    assert torch.equal(together["input_features"], reversed_batch)
    for row, clip in enumerate(clips):
        alone = extract(clip, sampling_rate=RATE)["input_features"][0]
        assert torch.equal(together["input_features"][row, : len(alone)], alone)
        assert not together["input_features"][row, len(alone) :].any()
        if pad == "patch":
            assert together["feature_mask"][row].tolist() == [1] * len(alone) + [0] * (6 - len(alone))


@pytest.mark.parametrize(("samples", "count"), [(1, 1), (15_600, 1), (15_601, 2), (15_600 + 7_680, 2), (48_000, 6)])
def test_patches_cover_a_clip_to_its_last_sample(samples, count):
    batch = extractor("patch", clip_seconds=None)(np.ones(samples, np.float32), sampling_rate=RATE)
    assert batch["input_features"].shape == (1, count, 96, 32)
    assert batch["feature_mask"].sum() == count


@pytest.mark.parametrize("pad", EXTRACTORS)
def test_a_long_clip_is_its_centre(pad):
    long_clip = noise(10 * RATE)
    extract = extractor(pad)
    length = round(extract.clip_seconds * RATE)
    start = (len(long_clip) - length) // 2
    centre = extract(long_clip[start : start + length], sampling_rate=RATE)["input_features"]
    assert torch.equal(extract(long_clip, sampling_rate=RATE)["input_features"], centre)


def test_text_and_audio_together_are_what_they_are_apart(processor):
    batch = processor(audio=[noise(RATE)], text=["dog rain dog", "rain"], sampling_rate=RATE)
    assert batch["input_ids"].tolist() == [[2, 3, 2], [3, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert torch.equal(batch["input_features"], processor(audio=noise(RATE), sampling_rate=RATE)["input_features"])
    assert set(processor(text="dog")) == {"input_ids", "attention_mask"}
    arrays = processor(audio=noise(RATE), text="dog", sampling_rate=RATE, return_tensors="np")
    assert all(isinstance(value, np.ndarray) for value in arrays.values())


@torch.no_grad()
@pytest.mark.parametrize(
    "habit",
    [
        {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]},
        {"padding_side": "left"},
        {"pad_token": None},
    ],
    ids=lambda habit: min(habit),
)
def test_what_it_makes_of_texts_goes_into_the_model_whatever_the_habits_of_the_tokenizer(habit, tiny_alm):
    for name, value in habit.items():
        setattr(tiny_alm.tokenizer, name, value)
    texts = ["a dog", "this is a sound of rain", "siren"]
    processor = AlmProcessor(extractor("tile"), tiny_alm.tokenizer)
    alone = [tiny_alm.alm.get_text_features(tiny_alm.tokenizer(text, return_tensors="pt").input_ids) for text in texts]
    output = tiny_alm.alm(**processor(text=texts), input_features=torch.randn(3, 1, 96, 64))
    expected = torch.nn.functional.normalize(torch.cat(alone), dim=-1)
    torch.testing.assert_close(output.text_embeds, expected, atol=1e-5, rtol=1e-5)


def test_folder_round_trip_through_every_auto_class(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "processor_config.json").read_text())
    assert saved["feature_extractor"]["patch_frames"] == 96
    for opened in (AlmProcessor.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)):
        assert isinstance(opened, AlmProcessor)
        assert opened.feature_extractor.to_dict() == processor.feature_extractor.to_dict()
        assert opened.feature_extractor.fingerprint == processor.feature_extractor.fingerprint
        assert opened.tokenizer("dog rain")["input_ids"] == [2, 3]
    processor.feature_extractor.save_pretrained(tmp_path / "alone")
    alone = AutoFeatureExtractor.from_pretrained(tmp_path / "alone")
    assert isinstance(alone, AlmFeatureExtractor)
    assert alone.fingerprint == processor.feature_extractor.fingerprint


def test_fingerprint_tells_every_setting_apart():
    changes = [{}, {"n_mels": 33}, {"log": "ln"}, {"mel_rate": 8000}, {"patch_hop": 24}, {"clip_seconds": None}]
    assert len({extractor("patch", **change).fingerprint for change in changes}) == len(changes)
    assert extractor("tile").fingerprint == extractor("tile").fingerprint != extractor("zero").fingerprint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_mel": 64}, "'n_mel' is unknown"),
        ({"pad": "wrap"}, "pad='wrap' is unknown"),
        ({"pad": "patch", "patch_frames": 96}, "needs patch_frames and patch_hop"),
        ({"clip_seconds": None}, "'repeatpad' needs clip_seconds"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(AlmPromptError, match=message):
        AlmFeatureExtractor(**settings)


def test_what_cannot_be_processed_is_refused(processor, tmp_path):
    with pytest.raises(AlmPromptError, match="the list of clips is empty"):
        processor(audio=[])
    with pytest.raises(AlmPromptError, match="give audio, text or both"):
        processor()
    with pytest.raises(AlmPromptError, match=r"gone\.wav"):
        processor(audio=[tmp_path / "gone.wav"])


def test_reference_crops_as_clap_does_with_the_same_seed():
    wave = noise(13 * 48_000)
    clap = ClapFeatureExtractor(truncation="rand_trunc", frequency_min=50, frequency_max=14_000)
    np.random.seed(5)
    expected = clap(wave, sampling_rate=48_000, return_tensors="pt")["input_features"]
    np.random.seed(5)
    features = AlmFeatureExtractor(**LAION)(wave, sampling_rate=48_000, reference=True)["input_features"]
    torch.testing.assert_close(features, expected.float(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("pad", ["tile", "repeatpad"])
def test_reference_is_random_and_the_default_touches_no_generator(pad, processor):
    clip = noise(10 * RATE)
    processor.feature_extractor = extractor(pad)
    states = random.getstate(), np.random.get_state()[1].tolist()
    first, second = (processor(audio=clip, sampling_rate=RATE)["input_features"] for _ in range(2))
    assert torch.equal(first, second)
    assert states == (random.getstate(), np.random.get_state()[1].tolist())
    random.seed(0)
    np.random.seed(0)
    first, second = (processor(audio=clip, sampling_rate=RATE, reference=True)["input_features"] for _ in range(2))
    assert not torch.equal(first, second)


def test_reference_is_refused_where_nothing_was_published_for_it():
    with pytest.raises(AlmPromptError, match="pad='patch' has no random crop"):
        extractor("patch")(noise(RATE), sampling_rate=RATE, reference=True)
