"""The yamnet-minilm importer: golden numbers, zero-shot accuracy on real audio, our own format, broken folders."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoProcessor

from alm_prompt import AlmForAudioClassification, AlmModel
from alm_prompt.errors import AlmPromptError
from alm_prompt.models.convert.yamnet_minilm import FILES, import_yamnet_minilm
from alm_prompt.models.processing import AlmProcessor

TEMPLATES = {"template": "This is a sound of {}.", "bare": "{}"}


@pytest.fixture(scope="module")
def source(shared_dir):
    return shared_dir / "backbones" / "yamnet-minilm"


@pytest.fixture(scope="module")
def imported(source):
    return import_yamnet_minilm(source)


@pytest.fixture(scope="module")
def own_format(imported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("yamnet-minilm")
    for part in imported:
        part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def golden(source):
    return dict(np.load(source / "golden.npz"))


@pytest.fixture(scope="module")
def clips(golden):
    waves = golden["waveform_int16"].astype(np.float32) / 32768
    return [wave[:count] for wave, count in zip(waves, golden["num_samples"], strict=True)]


def assert_close(actual, expected, atol):
    torch.testing.assert_close(actual, torch.from_numpy(expected), rtol=0, atol=atol)


@torch.no_grad()
def test_golden_values(imported, golden, clips):
    model, processor = imported
    audio = processor(audio=clips, sampling_rate=16_000)
    assert audio["feature_mask"].sum(dim=1).tolist() == golden["num_patches"].tolist()
    assert_close(audio["input_features"][:, 0], golden["log_mel_first_patch"], 5e-3)
    assert_close(model.audio_tower(**audio), golden["tower_embedding"], 1e-3)

    text = processor(text=[str(text) for text in golden["texts"]])
    assert_close(text["input_ids"], golden["input_ids"], 0)
    assert_close(text["attention_mask"], golden["attention_mask"], 0)
    embeddings = model.text_tower.token_embedding(text["input_ids"])
    plan = model.text_tower.plan(embeddings, text["attention_mask"])
    assert_close(model.text_tower(embeddings, plan), golden["text_pooled"], 1e-5)

    output = model(**audio, **text)
    assert_close(output.audio_embeds, golden["audio_embed"], 1e-4)
    assert_close(output.text_embeds, golden["text_embed"], 1e-5)
    assert_close(output.logits_per_audio, golden["logits_per_audio"], 5e-3)


@torch.no_grad()
def test_a_clip_has_the_same_embedding_alone_and_in_a_batch(imported, clips):
    model, processor = imported

    def embed(audio):
        features = model.get_audio_features(**processor(audio=audio, sampling_rate=16_000))
        return torch.nn.functional.normalize(features, dim=-1)

    for clip, together in zip(clips, embed(clips), strict=True):
        assert torch.equal(embed(clip), embed(clip))
        torch.testing.assert_close(embed(clip)[0], together, rtol=0, atol=1e-6)


def test_every_stored_number_runs_in_float32(imported, source):
    model, _ = imported
    weights = [load_file(source / name) for name in ("model.safetensors", "text_tower.safetensors")]
    stored = sum(tensor.numel() for tensors in weights for tensor in tensors.values())
    assert sum(parameter.numel() for parameter in model.parameters()) == stored
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not model.training
    assert model.logit_scale.exp().item() == pytest.approx(50.4)


@torch.no_grad()
def test_our_own_format_gives_bitwise_the_same(imported, own_format, golden, clips):
    model, processor = imported
    assert AutoConfig.from_pretrained(own_format).to_dict()["audio_config"]["model_type"] == "alm_yamnet"
    reopened, reopened_processor = AutoModel.from_pretrained(own_format), AutoProcessor.from_pretrained(own_format)
    assert isinstance(reopened, AlmModel)
    assert isinstance(reopened_processor, AlmProcessor)
    inputs = {"audio": clips, "text": [str(text) for text in golden["texts"]], "sampling_rate": 16_000}
    expected = model(**processor(**inputs)).logits_per_audio
    assert torch.equal(reopened(**reopened_processor(**inputs)).logits_per_audio, expected)
    assert reopened_processor.feature_extractor.fingerprint == processor.feature_extractor.fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["esc10", "drums", "fsdd"])
@torch.no_grad()
def test_zero_shot_accuracy_on_real_audio_is_exactly_the_published_one(dataset, own_format, source, shared_dir):
    published = json.loads((source / "zero_shot.json").read_text())["results"][dataset]
    data = shared_dir / "data" / dataset
    with (data / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    model, processor = AlmForAudioClassification.from_pretrained(own_format), AlmProcessor.from_pretrained(own_format)
    features = torch.cat(
        [model.get_audio_features(**processor(audio=data / "audio" / row["file_name"])) for row in rows]
    )
    parts = {"all": "classes", "base": "base_classes", "novel": "novel_classes"}
    measured = {
        (kind, part): _accuracies(model, features, rows, published[key], template)
        for kind, template in TEMPLATES.items()
        for part, key in parts.items()
    }
    assert measured == {
        (kind, part): (published[kind][part]["accuracy"], published[kind][part]["balanced"])
        for kind in TEMPLATES
        for part in parts
    }


def _accuracies(model, features, rows, class_names, template):
    """Accuracy and mean accuracy per class, among `class_names`, of the clips that belong to one of them."""
    model.set_classes(class_names, template=template)
    answers = model(audio_features=features).logits.argmax(dim=1).tolist()
    hits = {name: [] for name in class_names}
    for row, answer in zip(rows, answers, strict=True):
        if row["label"] in hits:
            hits[row["label"]].append(class_names[answer] == row["label"])
    everything = [hit for of_class in hits.values() for hit in of_class]
    return round(np.mean(everything), 4), round(np.mean([np.mean(of_class) for of_class in hits.values()]), 4)


@pytest.fixture
def broken(source, tmp_path):
    """A folder that looks like the source; `broken(name)` returns the path of a copy that a test may spoil."""
    for name in FILES:
        (tmp_path / name).symlink_to(source / name)

    def copy(name):
        (tmp_path / name).unlink()
        return shutil.copyfile(source / name, tmp_path / name)

    return copy


def _spoil_weights(path, change):
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(broken, name, tmp_path):
    (tmp_path / name).unlink()
    with pytest.raises(AlmPromptError, match=f"{name} is missing"):
        import_yamnet_minilm(tmp_path)


def test_spoiled_weights_are_refused_by_name(broken, tmp_path):
    path = broken("model.safetensors")
    _spoil_weights(path, lambda weights: weights.pop("audio_tower.layer9.pointwise.bias"))
    with pytest.raises(AlmPromptError, match=r"lack the tensor audio_tower\.layers\.7\.pointwise\.bias"):
        import_yamnet_minilm(tmp_path)

    path = broken("model.safetensors")
    _spoil_weights(path, lambda weights: weights.update({"audio_tower.layer15.bias": torch.zeros(1)}))
    with pytest.raises(AlmPromptError, match=r"unknown tensor audio_tower\.layers\.13\.bias"):
        import_yamnet_minilm(tmp_path)

    path = broken("model.safetensors")
    _spoil_weights(path, lambda weights: weights.update({"audio_projection.weight": torch.zeros(512, 1023)}))
    with pytest.raises(AlmPromptError, match=r"shape \[512, 1023\] where the model needs \[512, 1024\]"):
        import_yamnet_minilm(tmp_path)

    with path.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(AlmPromptError, match=r"model\.safetensors cannot be read"):
        import_yamnet_minilm(tmp_path)


def test_another_models_folder_is_refused(broken, tmp_path):
    broken("config.json")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(AlmPromptError, match="'bert', not 'yamnet_minilm_alm'"):
        import_yamnet_minilm(tmp_path)


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(AlmPromptError, match=r"is not a yamnet-minilm folder: config\.json is missing"):
        import_yamnet_minilm(tmp_path / "gone")
