"""Files for use without this package: what they hold, and what is refused."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from peft import get_peft_model
from safetensors import safe_open

from alm_prompt import (
    AlmFeatureExtractor,
    AlmPromptError,
    CoOpPromptConfig,
    export,
    export_audio_tower,
    export_class_embeddings,
)

FRONT_END = {"sampling_rate": 16_000, "n_fft": 512, "win_length": 512, "hop_length": 160, "f_max": 8000.0}


def read(path):
    with safe_open(path, framework="pt") as file:
        return file.get_tensor("class_embeddings"), file.metadata()


def test_zero_shot_and_other_classes(make_tiny_alm, tmp_path):
    model = make_tiny_alm()
    export_class_embeddings(model, tmp_path / "new" / "classes.safetensors")
    vectors, about = read(tmp_path / "new" / "classes.safetensors")
    assert torch.equal(vectors, model.class_bank.zero_shot_embeds(model.alm))
    assert about == {
        "class_names": '["dog", "rain", "siren", "door bell"]',
        "logit_scale": repr(model.alm.logit_scale.exp().item()),
    }
    adapted = get_peft_model(model, CoOpPromptConfig(n_ctx=4, logit_scale=7.0))
    adapted.set_classes(["cat", "saw"])
    export_class_embeddings(adapted, tmp_path / "classes.safetensors")
    vectors, about = read(tmp_path / "classes.safetensors")
    assert torch.equal(vectors, adapted(audio_features=torch.ones(1, 32)).text_embeds)
    assert about == {"class_names": '["cat", "saw"]', "logit_scale": "7.0"}


def test_names_come_back_whatever_is_in_them(make_tiny_alm, tmp_path):
    names = ['bell "1"\n---', "\x1b[2J rain", "Glocke ñ 鈴", "\u202edog"]
    export_class_embeddings(make_tiny_alm(classes=names), tmp_path / "classes.safetensors")
    listed = read(tmp_path / "classes.safetensors")[1]["class_names"]
    assert json.loads(listed) == names
    assert listed.isascii()
    assert listed.isprintable()


def test_model_without_classes(tiny_alm, tmp_path):
    tiny_alm.class_bank = None
    with pytest.raises(AlmPromptError, match=r"call model.set_classes"):
        export_class_embeddings(tiny_alm, tmp_path / "classes.safetensors")


def test_onnx_without_its_packages(tiny_alm, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(AlmPromptError, match=r"needs the package onnxruntime.*alm-prompt\[onnx\]"):
        export_audio_tower(tiny_alm, AlmFeatureExtractor(**FRONT_END), tmp_path / "tower.onnx")


def test_onnx_of_patches(tiny_alm, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "find_spec", lambda name: object())
    front_end = AlmFeatureExtractor(pad="patch", patch_frames=96, patch_hop=48, **FRONT_END)
    with pytest.raises(AlmPromptError, match="gives every clip its own number of patches"):
        export_audio_tower(tiny_alm, front_end, tmp_path / "tower.onnx")
    assert not any(tmp_path.iterdir())


def test_the_exporter_is_as_talkative_as_before(tiny_alm, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("no export")

    monkeypatch.setattr(export, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.onnx, "export", fail)
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    with pytest.raises(RuntimeError, match="no export"):
        export_audio_tower(tiny_alm, AlmFeatureExtractor(clip_seconds=0.5, **FRONT_END), tmp_path / "tower.onnx")
    assert logger.level == before


@pytest.mark.slow
def test_onnx_computes_what_the_tower_does(make_tiny_alm, tmp_path, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model, front_end = make_tiny_alm(), AlmFeatureExtractor(clip_seconds=0.5, **FRONT_END)
    path = tmp_path / "tower.onnx"
    assert export_audio_tower(model, front_end, path) < 1e-5
    assert [file.name for file in tmp_path.iterdir()] == ["tower.onnx"]
    session = onnxruntime.InferenceSession(path)
    for clips in (1, 5):
        inputs = torch.randn(clips, 1, 51, 64, generator=torch.Generator().manual_seed(clips))
        [output] = session.run(["audio_features"], {"input_features": inputs.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(output), model.get_audio_features(inputs))
    # Call stacks would tell where this machine keeps its files.
    assert str(tmp_path.parent).encode() not in path.read_bytes()
    assert b".py" not in path.read_bytes()
    # A file that computes something else is no result.
    monkeypatch.setattr(export, "ONNX_TOLERANCE", 0.0)
    with pytest.raises(AlmPromptError, match="the ONNX file differs"):
        export_audio_tower(model, front_end, tmp_path / "other.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["tower.onnx"]
