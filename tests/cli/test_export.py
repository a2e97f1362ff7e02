"""`alm-prompt export`: the files of an adapter, in a folder of their own."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.numpy import load_file

from alm_prompt.cli.main import main
from alm_prompt.errors import AlmPromptError


def test_class_embeddings_of_an_adapter(adapter, tmp_path, capsys):
    assert main(["export", str(adapter), str(tmp_path / "out")]) == 0
    assert "3 classes of 256 numbers" in capsys.readouterr().out
    assert load_file(tmp_path / "out" / "class_embeddings.safetensors")["class_embeddings"].shape == (3, 256)
    assert main(["export", str(adapter), str(tmp_path / "two"), "--classes", "cat", "dog"]) == 0
    assert load_file(tmp_path / "two" / "class_embeddings.safetensors")["class_embeddings"].shape == (2, 256)


def test_refused_before_anything_is_written(adapter, tmp_path, refused, monkeypatch):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").touch()
    assert "is not an empty folder" in refused("export", adapter, tmp_path / "taken")
    assert "is neither a folder nor a Hub id" in refused("export", tmp_path / "missing", tmp_path / "out")
    assert "required: output" in refused("export", adapter)
    copy = shutil.copytree(adapter, tmp_path / "probe")
    config = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps(config | {"alpha": 2}))
    assert "alpha is 2" in refused("export", copy, tmp_path / "out")
    monkeypatch.setattr("alm_prompt.export.find_spec", lambda name: None)
    assert "pip install" in refused("export", adapter, tmp_path / "out", "--onnx")
    assert not (tmp_path / "out").exists()


def test_an_export_that_failed_can_be_repeated(adapter, tmp_path, refused, monkeypatch):
    def fail(model, feature_extractor, path):
        path.write_bytes(b"half")
        raise AlmPromptError("the ONNX file differs")

    monkeypatch.setattr("alm_prompt.export.find_spec", lambda name: object())
    monkeypatch.setattr("alm_prompt.export.export_audio_tower", fail)
    for _ in range(2):
        assert "the ONNX file differs" in refused("export", adapter, tmp_path / "out", "--onnx")
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_onnx(adapter, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert main(["export", str(adapter), str(tmp_path / "out"), "--onnx"]) == 0
    assert "audio_tower.onnx: differs from the model by" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"class_embeddings.safetensors", "audio_tower.onnx", "preprocessor_config.json"}
