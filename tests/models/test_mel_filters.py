"""Mel filters of a checkpoint: used, told apart, saved beside the settings, and refused when they do not fit."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoFeatureExtractor, AutoProcessor

from alm_prompt.audio import mel_filters
from alm_prompt.errors import AlmPromptError
from alm_prompt.models.convert.front_ends import PENGI
from alm_prompt.models.processing import AlmFeatureExtractor, AlmProcessor

FILE = "mel_filters.safetensors"
CLIP = (0.1 * np.random.default_rng(0).standard_normal(44_100)).astype(np.float32)


def features(extractor):
    return extractor(CLIP, sampling_rate=44_100)["input_features"]


@pytest.fixture(scope="module")
def recipe():
    return AlmFeatureExtractor(**PENGI)


@pytest.fixture(scope="module")
def stored(recipe):
    """An extractor whose checkpoint has filters of its own."""
    return AlmFeatureExtractor(**PENGI, mel_filters=3.0 * mel_filters(recipe.spec).float())


def test_they_stand_in_for_those_of_the_settings(recipe, stored):
    same = AlmFeatureExtractor(**PENGI, mel_filters=mel_filters(recipe.spec))
    torch.testing.assert_close(features(same), features(recipe), rtol=0, atol=1e-5)
    torch.testing.assert_close(features(stored), features(recipe) + 10 * np.log10(3.0), rtol=0, atol=1e-5)


def test_they_belong_to_the_fingerprint(recipe, stored):
    last = stored.mel_filters.clone()
    last[-1, -1] += 1e-6
    others = [AlmFeatureExtractor(**PENGI, mel_filters=filters) for filters in (mel_filters(recipe.spec), last)]
    assert len({extractor.fingerprint for extractor in (recipe, stored, *others)}) == 4
    assert AlmFeatureExtractor(**PENGI, mel_filters=stored.mel_filters.double()).fingerprint == stored.fingerprint


@pytest.mark.parametrize("open_again", [AlmFeatureExtractor.from_pretrained, AutoFeatureExtractor.from_pretrained])
def test_folder_round_trip(stored, tmp_path, open_again):
    stored.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE, "preprocessor_config.json"]
    opened = open_again(tmp_path)
    assert torch.equal(opened.mel_filters, stored.mel_filters)
    assert opened.fingerprint == stored.fingerprint
    assert torch.equal(features(opened), features(stored))
    assert AlmFeatureExtractor.from_pretrained(tmp_path / "preprocessor_config.json").fingerprint == stored.fingerprint


@pytest.mark.parametrize("open_again", [AlmProcessor.from_pretrained, AutoProcessor.from_pretrained])
def test_folder_of_a_processor(stored, tiny_alm, tmp_path, open_again):
    AlmProcessor(stored, tiny_alm.tokenizer).save_pretrained(tmp_path)
    assert open_again(tmp_path).feature_extractor.fingerprint == stored.fingerprint


def test_without_them_nothing_is_written_or_read(recipe, stored, tmp_path):
    stored.save_pretrained(tmp_path)
    recipe.save_pretrained(tmp_path)
    assert AlmFeatureExtractor.from_pretrained(tmp_path).fingerprint == recipe.fingerprint
    recipe.save_pretrained(tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["preprocessor_config.json"]


def damage(folder, how):
    path = folder / FILE
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "another tensor":
        save_file({"melW": torch.ones(513, 64)}, path)
    else:
        save_file({"mel_filters": torch.ones(513, 64)}, path)


@pytest.mark.parametrize("how", ["missing", "cut", "another tensor", "other numbers"])
def test_a_damaged_file_is_refused(stored, tmp_path, how):
    stored.save_pretrained(tmp_path)
    damage(tmp_path, how)
    with pytest.raises(AlmPromptError, match=r"mel_filters\.safetensors is .* copy") as caught:
        AlmFeatureExtractor.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (torch.ones(64, 513), r"shape \[64, 513\] do not fit: the settings need \[513, 64\]"),
        (torch.full((513, 64), float("nan")), "NaN or infinite"),
        ("0123abcd", r"must be a tensor \[513, 64\], not str.*from_pretrained"),
    ],
)
def test_filters_that_do_not_fit_are_refused(filters, message):
    with pytest.raises(AlmPromptError, match=message):
        AlmFeatureExtractor(**PENGI, mel_filters=filters)
