"""A backbone with code of its own: it is neither run nor asked about, whatever the user has typed ahead."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from alm_prompt import AlmForAudioClassification, AlmModel, AlmPromptError
from alm_prompt.cli.chat_model import revision_of
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
