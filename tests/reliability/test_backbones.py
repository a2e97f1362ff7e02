"""Strangers' backbones: code of their own is neither run nor asked about; weights that cannot be read are one line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import get_peft_model

from alm_prompt import (
    AlmForAudioClassification,
    AlmModel,
    AlmPromptError,
    CoOpPromptConfig,
    load_adapter,
    pipeline,
)
from alm_prompt.cli.chat_model import revision_of
from alm_prompt.cli.main import main
from alm_prompt.models.pengi import PengiForConditionalGeneration

WAYS: dict[str, Callable[[Path], object]] = {
    "model": AlmModel.from_pretrained,
    "classifier": AlmForAudioClassification.from_pretrained,
    "asked for by its user": lambda folder: AlmModel.from_pretrained(folder, trust_remote_code=True),
    "writer": PengiForConditionalGeneration.from_pretrained,
    "writer, asked for": lambda folder: PengiForConditionalGeneration.from_pretrained(folder, trust_remote_code=True),
    "audio tower": lambda folder: AlmModel.from_towers(folder, folder),
    "chat model": lambda folder: revision_of(str(folder)),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of a type of its own, whose code leaves a file behind."""
    (tmp_path / "own.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
        "from transformers import PreTrainedConfig\n"
        "class Config(PreTrainedConfig):\n"
        "    model_type = 'own'\n"
    )
    auto_map = {"AutoConfig": "own.Config", "AutoModel": "own.Model"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": auto_map}))
    return tmp_path


@pytest.mark.parametrize("way", WAYS)
def test_code_of_a_backbone_is_neither_run_nor_asked_about(way, folder, monkeypatch, capfd):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 10))
    with pytest.raises(AlmPromptError) as caught:
        WAYS[way](folder)
    assert not (folder / "ran").exists()
    assert "[y/N]" not in capfd.readouterr().out
    assert "\n" not in str(caught.value) and "trust_remote_code" not in str(caught.value)


def test_code_of_a_tokenizer_is_neither_run_nor_asked_about(folder, tiny_alm, monkeypatch, capfd):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 10))
    tiny_alm.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    own = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.Tokenizer", None]}}
    path.write_text(json.dumps(json.loads(path.read_text()) | own))
    with pytest.raises(ValueError, match="contains custom code"):
        AlmForAudioClassification.from_pretrained(folder, trust_remote_code=True)
    assert not (folder / "ran").exists()
    assert "[y/N]" not in capfd.readouterr().out


@pytest.fixture(params=["no pickle", "cut off", "with an object"])
def unreadable(request, tmp_path, tiny_alm) -> Path:
    """A model whose weights are a pickle that cannot be read, or must not be."""
    tiny_alm.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    weights = tmp_path / "pytorch_model.bin"
    if request.param == "no pickle":
        weights.write_bytes(b"\x80\x02this is text")
    elif request.param == "cut off":
        torch.save(tiny_alm.state_dict(), weights)
        weights.write_bytes(weights.read_bytes()[:-2000])
    else:
        torch.save({"scale": Path("/")}, weights)
    return tmp_path


def test_pickle_that_cannot_be_read_is_one_line(unreadable, tiny_alm, capsys):
    get_peft_model(tiny_alm, CoOpPromptConfig(n_ctx=4)).save_pretrained(unreadable / "adapter")
    for way in (
        lambda: load_adapter(unreadable / "adapter", backbone=str(unreadable)),
        lambda: pipeline(model=unreadable),
    ):
        with pytest.raises(AlmPromptError, match="cannot be opened: ") as caught:
            way()
        assert "\n" not in str(caught.value) and "weights_only" not in str(caught.value)
    assert main(["predict", "--model", str(unreadable), "--classes", "dog", "cat", "--", "clip.wav"]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert str(unreadable) in message and "weights_only" not in message and "Traceback" not in message
