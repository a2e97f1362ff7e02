"""`train --audio-free`: an adapter from sentences, measured on audio, resumed, and refused where flags do not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from alm_prompt.cli.main import main
from alm_prompt.prompts import class_sentences

CLASSES = ["bird song", "hand drum", "ocean waves"]
FAST = ["--method", "coop", "--method-options", "coop.n_ctx=2", "--shots", "2", "--epochs", "2"]
SENTENCES = {
    "bird song": ["a bird sings", "chirping"],
    "hand drum": ["a drum is hit", "drumming"],
    "ocean waves": ["waves", "a slow hiss"],
}


def train(folder: Path, *flags: str) -> int:
    return main(["train", "--audio-free", "--classes", *CLASSES, *FAST, "--output-dir", str(folder), *flags])


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    path = tmp_path / "sentences.json"
    path.write_text(json.dumps(SENTENCES), encoding="utf-8")
    return path


def test_train_on_sentences_and_evaluate_on_audio(
    world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "run") == 0
    printed = capfd.readouterr().out
    assert "6 sentences of 3 classes" in printed
    assert f"evaluate --adapter {tmp_path / 'run' / 'adapter'} --data my-sounds --classes 'bird song'" in printed
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    for name, shipped in class_sentences(CLASSES).items():
        assert len(set(settings["sentences"][name]) & set(shipped)) == 2
    assert settings["trained_on"] == []
    adapter = tmp_path / "run" / "adapter"
    assert sorted(path.name for path in adapter.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "results.json",
    ]
    evaluate = ["evaluate", "--adapter", str(adapter), "--data", str(world), "--classes", *CLASSES]
    assert main([*evaluate, "--output-dir", str(tmp_path / "result")]) == 0
    assert json.loads((tmp_path / "result" / "results.json").read_text())["clips"] == 12


def test_own_sentences_noise_seed_and_resume(tmp_path: Path, sentences: Path, refused: Callable[..., str]) -> None:
    def adapter(name: str, *flags: str) -> bytes:
        assert train(tmp_path / name, "--sentences", str(sentences), *flags) == 0
        return (tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes()

    noisy = adapter("noisy", "--noise-std", "0.1")
    record = json.loads((tmp_path / "noisy" / "run.json").read_text())
    assert record["settings"]["sentences"].keys() == SENTENCES.keys()
    assert adapter("plain") != noisy
    for part in ("adapter", "checkpoint-2"):
        shutil.rmtree(tmp_path / "noisy" / part, ignore_errors=True)
    assert adapter("noisy", "--noise-std", "0.1", "--resume") == noisy
    flags = ["--audio-free", "--classes", *CLASSES, *FAST, "--sentences", sentences, "--resume", "--output-dir"]
    assert "begun with another noise_std" in refused("train", *flags, tmp_path / "noisy")
    sentences.write_text(json.dumps(SENTENCES | {"hand drum": ["a thud", "thumping"]}), encoding="utf-8")
    assert "begun with another split_hash" in refused("train", *flags, tmp_path / "plain")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--data is missing"),
        (["--audio-free"], "--audio-free does not know the classes"),
        (["--audio-free", "--classes", *CLASSES, "--data", "sounds"], "leave out --data"),
        (["--audio-free", "--classes", *CLASSES, "--folds", "1"], "leave out --folds"),
        (["--audio-free", "--classes", *CLASSES, "--path-column", "file"], "leave out --path-column"),
        (["--data", "sounds", "--noise-std", "0.1"], "belong to --audio-free"),
        (["--audio-free", "--classes", *CLASSES, "--noise-std", "-1"], "--noise-std must be at least 0"),
        (["--audio-free", "--classes", *CLASSES, "--encoder-mode", "reference"], "leave out --encoder-mode"),
        (
            ["--audio-free", "--classes", *CLASSES, "--shots", "113"],
            "class 'bird song' has 112 sentences, fewer than 113",
        ),
        (["--audio-free", "--classes", "dog", "Dog"], "twice"),
        (["--audio-free", "--classes", *CLASSES, "--sentences", "no.json"], "cannot read no.json"),
    ],
)
def test_flags_that_do_not_fit(flags: list[str], message: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    assert message in refused("train", *flags, "--output-dir", tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SENTENCES | {"hand drum": []}, "class 'hand drum' has no sentences"),
        (SENTENCES | {"lawn mower": ["mowing"]}, "sentences for 'lawn mower', which is no class"),
        (SENTENCES | {"hand drum": ["a drum", " "]}, "has the blank sentence ' '"),
        ([1], "does not hold sentences"),
    ],
)
def test_sentences_that_cannot_be_used(
    content: object, message: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    path = tmp_path / "sentences.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    flags = ["--audio-free", "--classes", *CLASSES, "--sentences", path]
    assert message in refused("train", *flags, "--output-dir", tmp_path / "run")
    assert list(tmp_path.iterdir()) == [path]
