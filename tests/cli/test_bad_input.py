"""Bad input: one line on standard error, exit code 2, and nothing written."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from alm_prompt.cli.main import main

Refused = Callable[..., str]


@pytest.fixture
def broken_adapter(adapter: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapter, tmp_path / "adapter"))


def change_config(adapter: Path, **settings: object) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def change_tensors(adapter: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    # What is wrong with them is to be found, not that they were changed.
    change_config(adapter, weights_sha256=None)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--classes"], "at least one"),
        (["--classes", "hand drum", ""], "non-blank"),
        (["--classes", "hand drum"], "'hand drum' is the only class"),
        (["--classes", "hand drum", "Hand_Drum"], "twice"),
        (["--classes", "hand drum", "unheard"], "unheard"),
        (["--classes", "hand drum", "very " * 90 + "loud"], "tokens"),
        (["--shots", "100"], "fewer than 100"),
        (["--shots", "0"], "greater than 0"),
        (["--seed", "99999999999"], "--seed must be at least 0 and at most 4294967295, got 99999999999"),
        (["--method", "coup"], "coop"),
        (["--method", "coop,zebra"], "+ joins them, as in coop+zebra"),
        (["--method", "zebra"], "wraps"),
        (["--method", "zero-shot"], "nothing to learn"),
        (["--method-options", "coop.n_ct=4"], "n_ctx"),
        (["--method-options", "n_ctx=4"], "method.option=value"),
        (["--method-options", "palm.x=4"], "belongs to none"),
        (["--method-options", "coop.ctx_init=5"], "ctx_init is 5, which is no"),
        (["--method", "palm", "--method-options", "palm.text_features=none"], "is 'none', which is no bool"),
        (["--fold-column", "fold"], "fold"),
        (["--method-options", "coop.n_ctx=500"], "none are left beside 500 context vectors"),
        (["--model", "no/such/model/anywhere"], "cannot be opened"),
        (["--template", "no place for a name"], "{}"),
        (["--data", "no/such/data/folder"], "no such file or folder"),
        (["--fold", "1"], "unknown argument '--fold'"),
    ],
)
def test_bad_flags_of_train(refused: Refused, world: Path, tmp_path: Path, flags: list[str], message: str) -> None:
    base = ["train", "--data", world, "--shots", "2", "--output-dir", tmp_path / "run"]
    assert message in refused(*base, *flags)
    assert list(tmp_path.iterdir()) == []


def test_bad_data_folders_and_files(refused: Refused, world: Path, tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    (tmp_path / "list.csv").write_text("file,label\na.wav,dog\n")
    (tmp_path / "missing.csv").write_text("path,classname\na.wav,dog\n")
    folds = ["--data", world, "--fold-column", "fold"]
    before = sorted(tmp_path.rglob("*"))
    output = ["--output-dir", tmp_path / "run"]
    assert "sub-folders" in refused("train", "--data", tmp_path / "flat", *output)
    assert "no column path" in refused("train", "--data", tmp_path / "list.csv", *output)
    assert "a.wav" in refused("train", "--data", tmp_path / "missing.csv", *output)
    assert "fold_column" in refused("train", *folds, *output)
    assert sorted(tmp_path.rglob("*")) == before


def test_unreadable_training_clip_is_named_and_nothing_is_written(
    capfd: pytest.CaptureFixture[str], world: Path, tmp_path: Path
) -> None:
    for name in ("hand drum", "ocean waves"):
        shutil.copytree(world / name, tmp_path / "sounds" / name)
    (tmp_path / "sounds" / "hand drum" / "0001.wav").write_text("this is text")
    command = ["train", "--data", str(tmp_path / "sounds"), "--shots", "4", "--output-dir", str(tmp_path / "run")]
    assert main(command) == 2
    error = capfd.readouterr().err
    assert "0001.wav" in error.splitlines()[-1]
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_clip_with_two_labels_is_named(refused: Refused, world: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("hand drum", "ocean waves"):
        shutil.copytree(world / name, data / name)
    shutil.copyfile(data / "hand drum" / "0001.wav", data / "ocean waves" / "0001.wav")
    for command in (["train", "--shots", "100", "--allow-fewer"], ["evaluate"]):
        message = refused(*command, "--data", data, "--output-dir", tmp_path / "run")
        assert "are the same audio under two labels: correct one, or remove one" in message
        assert not (tmp_path / "run").exists()


def test_training_that_diverges_is_told_below_its_progress_bar(
    world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rate = ["--learning-rate", "1e30", "--epochs", "2", "--shots", "2", "--no-cache"]
    assert main(["train", "--data", str(world), *rate, "--output-dir", str(tmp_path / "run")]) == 2
    error = capfd.readouterr().err
    assert "it/s]" in error
    assert error.rstrip().split("\n")[-1].startswith("error: training diverged")


@pytest.mark.parametrize("write", [lambda path: path.write_text("text"), lambda path: path.write_bytes(b""), None])
def test_predict_names_a_bad_file(
    refused: Refused, adapter: Path, tmp_path: Path, write: Callable[[Path], object] | None
) -> None:
    path = tmp_path / "bad.wav"
    if write is not None:
        write(path)
    assert "bad.wav" in refused("predict", "--adapter", adapter, path)


def test_predict_refuses_nan_and_keeps_what_is_good(
    capfd: pytest.CaptureFixture[str], adapter: Path, tmp_path: Path
) -> None:
    wave = np.sin(np.arange(16000) / 7).astype(np.float32)
    spoiled = wave.copy()
    spoiled[100] = np.nan
    soundfile.write(tmp_path / "nan.wav", spoiled, 16000, subtype="FLOAT")
    good = {
        "öne sample ☃.wav": (wave[:1], 16000, "PCM_16"),
        "silence.wav": (0 * wave, 16000, "PCM_16"),
        "six channels.wav": (np.stack([wave] * 6, axis=1), 48000, "PCM_16"),
        "eight bit.wav": (wave, 8000, "PCM_U8"),
        "fast.wav": (wave, 192000, "FLOAT"),
    }
    for name, (samples, rate, subtype) in good.items():
        soundfile.write(tmp_path / name, samples, rate, subtype=subtype)
    files = [str(tmp_path / name) for name in ("nan.wav", *good)]
    assert main(["predict", "--adapter", str(adapter), *files, "--json"]) == 2
    output = capfd.readouterr()
    failed, *predicted = json.loads(output.out)
    assert "nan.wav" in failed["error"]
    assert [Path(entry["file"]).name for entry in predicted] == list(good)
    for entry in predicted:
        assert sum(guess["probability"] for guess in entry["predictions"]) == pytest.approx(1)
    assert output.err.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.clear(), "lacks"),
        (lambda tensors: tensors.update(stray=torch.zeros(1)), "stray"),
        (lambda tensors: tensors.update({"base_model.model.alm.logit_scale": torch.zeros(())}), "logit_scale"),
        (lambda tensors: tensors.update({name: value[:1].clone() for name, value in tensors.items()}), "shape"),
        (lambda tensors: tensors.update({name: value / 0 * 0 for name, value in tensors.items()}), "NaN"),
    ],
)
def test_predict_refuses_a_damaged_adapter(
    refused: Refused, broken_adapter: Path, world: Path, change: Callable[..., object], message: str
) -> None:
    change_tensors(broken_adapter, change)
    assert message in refused("predict", "--adapter", broken_adapter, world / "hand drum" / "0000.wav")


def test_predict_refuses_what_is_no_adapter_of_this_model(refused: Refused, broken_adapter: Path, world: Path) -> None:
    clip = world / "hand drum" / "0000.wav"
    signature = json.loads((broken_adapter / "adapter_config.json").read_text())["text_signature"]
    change_config(broken_adapter, text_signature=[-value for value in signature])
    assert "another backbone" in refused("predict", "--adapter", broken_adapter, clip)
    change_config(broken_adapter, text_signature=signature)
    (broken_adapter / "adapter_model.safetensors").rename(broken_adapter / "adapter_model.bin")
    assert "no other format" in refused("predict", "--adapter", broken_adapter, clip)
    change_config(broken_adapter, peft_type="LORA")
    assert "'LORA'" in refused("predict", "--adapter", broken_adapter, clip)
    (broken_adapter / "adapter_config.json").write_text("{")
    assert "cannot be opened" in refused("predict", "--adapter", broken_adapter, clip)
    (broken_adapter / "adapter_config.json").unlink()
    assert "adapter_config.json" in refused("predict", "--adapter", broken_adapter, clip)


def test_bad_requests_of_predict_and_evaluate(refused: Refused, adapter: Path, world: Path, tmp_path: Path) -> None:
    clip = world / "hand drum" / "0000.wav"
    assert "no audio file" in refused("predict", "--adapter", adapter)
    assert "--classes" in refused("predict", clip)
    assert "at least 1" in refused("predict", clip, "--top-k", "0")
    message = "'dog,rain' is the only class; give two or more, separated by spaces"
    assert message in refused("predict", clip, "--classes", "dog,rain")
    inside = ["--data", world, "--output-dir", world / "run"]
    assert "lies in the data folder" in refused("train", *inside)
    assert "lies in the data folder" in refused("evaluate", *inside, "--base-to-novel")
    data = ["--data", world, "--base-to-novel"]
    assert "--seeds must be at least 0 and at most 4294967295, got -1" in refused(
        "evaluate", *data, "--seeds", "0", "-1"
    )
    assert "--output-dir" in refused("evaluate", *data)
    assert "no folds" in refused("evaluate", *data, "--output-dir", tmp_path / "b", "--shots", "2", "--folds", "1")
    assert "--base-to-novel" in refused("evaluate", "--data", world, "--shots", "4")
    assert list(tmp_path.iterdir()) == []


def test_yaml_with_an_unknown_key(refused: Refused, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("data: sounds\nlearning_rat: 0.1\n")
    assert "'learning_rate'" in refused("train", "--config", config)


def test_output_folder_that_cannot_be_written_or_holds_a_run(
    refused: Refused, adapter: Path, world: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    command = ["train", "--data", world, "--shots", "2", "--output-dir"]
    assert "cannot be written" in refused(*command, tmp_path / "file" / "run")
    run = adapter.parent
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert "holds a run" in refused(*command, run)
    assert "begun with another" in refused(*command, run, "--resume")
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert "not empty" in refused("quickstart", "--fast", "--output-dir", run)


def test_unknown_command_names_the_nearest(refused: Refused) -> None:
    assert "'train'" in refused("trian")


def test_torchaudio_that_cannot_be_imported(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    line = refused("predict", "some.wav")
    assert 'pip install "torch>=2.10,<2.12" "torchaudio>=2.10,<2.12"' in line
    assert refused("env") == line


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(ValueError, match="no audio file"):
        main(["predict", "--debug"])
