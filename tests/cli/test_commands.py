"""Every command does its work, in a process of its own at least once."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from alm_prompt import AlmForAudioClassification, AlmProcessor
from alm_prompt.audio.waveform import content_hash
from alm_prompt.cli.loading import TINY_FOLDER
from alm_prompt.cli.main import main
from alm_prompt.data import load_folder
from alm_prompt.evaluation.rows import read_rows

ROOT = Path(__file__).resolve().parents[2]
FAST = ["--shots", "2", "--epochs", "2"]


def process(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `python -m alm_prompt` from this checkout in another process."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "alm_prompt", *map(str, argv)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def call(capfd: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    """Run a command in this process and return what it printed."""
    capfd.readouterr()
    assert main([str(argument) for argument in argv]) == 0
    return capfd.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from alm_prompt.cli.main import main; main(['--help']);"
        "sys.exit(bool({'torch', 'transformers', 'peft', 'numpy'} & sys.modules.keys()))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0
    for command in ("quickstart", "train", "evaluate", "predict", "neighbors", "env"):
        assert command in result.stdout


@pytest.mark.parametrize("command", ["quickstart", "train", "evaluate", "predict", "neighbors", "env"])
def test_every_command_has_help(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        main([command, "--help"])
    except SystemExit as done:
        assert done.code == 0
    assert f"alm-prompt {command}" in capfd.readouterr().out


def test_env_prints_what_a_bug_report_needs() -> None:
    result = process("env")
    assert result.returncode == 0
    facts = dict(line.split(": ", 1) for line in result.stdout.splitlines())
    assert facts["torch"] == torch.__version__.split("+")[0] or facts["torch"] == torch.__version__
    assert facts["cache folder"] == os.environ["ALM_PROMPT_CACHE"]
    assert facts["OMP_NUM_THREADS"] == "1"
    for name in ("huggingface-hub", "libsndfile"):
        assert re.match(r"\d+\.\d+", facts[name])
    for name in ("python", "torchaudio", "transformers", "peft", "accelerate", "datasets", "platform", "device"):
        assert facts[name]


def test_train_then_predict_in_new_processes(world: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(
        f"data: {world}\noutput-dir: {tmp_path / 'run'}\nmethod: coop+zebra\nmethod_options: {{coop.n_ctx: 4}}\n"
        "shots: 2\nepochs: 9\n"
    )
    trained = process("train", "--config", config, "--epochs", "2")
    assert trained.returncode == 0, trained.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["settings"]["epochs"] == 2
    assert (record["seeds"], record["encoder_mode"], len(record["split_hash"])) == ([0], "frozen", 64)
    assert {"torch", "transformers", "peft"} <= record["versions"].keys()
    assert record["wall_seconds"] > 0
    adapter = tmp_path / "run" / "adapter"
    assert sorted(path.name for path in adapter.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "results.json",
    ]
    assert json.loads((adapter / "adapter_config.json").read_text())["prompt"]["n_ctx"] == 4

    clip = world / "police siren" / "0003.wav"
    predicted = process("predict", "--adapter", adapter, clip, "--json", "--top-k", "12")
    assert predicted.returncode == 0, predicted.stderr
    [entry] = json.loads(predicted.stdout)
    alm = AlmForAudioClassification.from_pretrained(TINY_FOLDER)
    model = PeftModel.from_pretrained(alm, str(adapter)).eval()
    with torch.no_grad():
        logits = model(**AlmProcessor.from_pretrained(TINY_FOLDER)(audio=str(clip))).logits[0]
    expected = dict(zip(model.class_names, logits.softmax(dim=-1).tolist(), strict=True))
    assert {guess["label"]: guess["probability"] for guess in entry["predictions"]} == pytest.approx(expected)
    probabilities = [guess["probability"] for guess in entry["predictions"]]
    assert probabilities == sorted(probabilities, reverse=True)


def test_predict_zero_shot_among_any_classes(world: Path, capfd: pytest.CaptureFixture[str]) -> None:
    clip = world / "ocean waves" / "0000.wav"
    printed = call(capfd, "predict", clip, "--classes", "ocean waves", "lawn mower", "--top-k", "2")
    assert re.fullmatch(
        r".*0000\.wav: (ocean waves|lawn mower) 0\.\d{3}, (ocean waves|lawn mower) 0\.\d{3}\n", printed
    )


def test_evaluate_leaves_out_the_clips_of_training(
    adapter: Path, world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    classes = ["bird song", "hand drum", "ocean waves"]
    printed = call(
        capfd, "evaluate", "--adapter", adapter, "--data", world, "--classes", *classes, "--output-dir", tmp_path
    )
    assert "6 clips that the adapter was trained on are left out" in printed
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["clips"], results["classes"]) == (6, classes)

    seen = set(json.loads((adapter.parent / "settings.json").read_text())["trained_on"])
    model = PeftModel.from_pretrained(AlmForAudioClassification.from_pretrained(TINY_FOLDER), str(adapter)).eval()
    processor = AlmProcessor.from_pretrained(TINY_FOLDER)
    hits = []
    for clip in load_folder(world).select(labels=classes):
        if content_hash(clip.source) not in seen:
            with torch.no_grad():
                index = model(**processor(audio=clip.source)).logits.argmax().item()
            hits.append(model.class_names[index] == clip.label)
    assert len(hits) == 6
    assert results["accuracy"] == pytest.approx(sum(hits) / 6)
    assert f"accuracy {100 * sum(hits) / 6:.1f} %" in printed


def test_evaluate_records_figures_in_the_card(
    adapter: Path, world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = shutil.copytree(adapter.parent, tmp_path / "run") / "adapter"
    splits = set()
    for classes in (["bird song", "hand drum"], ["bird song", "ocean waves"], ["bird song", "hand drum"]):
        printed = call(capfd, "evaluate", "--adapter", own, "--data", world, "--classes", *classes, "--record")
        measurement = json.loads((own / "results.json").read_text())["measurements"][-1]
        assert f"accuracy {100 * measurement['figures']['accuracy']['mean']:.1f} %" in printed
        assert measurement["dataset"] == world.name
        assert re.fullmatch("[0-9a-f]{64}", measurement["split"])
        assert f"split: {measurement['split']}" in (own / "README.md").read_text()
        splits.add(measurement["split"])
    # What was measured twice is there once.
    assert len(splits) == len(json.loads((own / "results.json").read_text())["measurements"]) == 2


def parted(world: Path, csv: Path, folds: list[str]) -> dict[str, list[str]]:
    """Write a list of two classes with its folds in turn, and return what the clips of each fold hold."""
    clips = load_folder(world).select(labels=["hand drum", "ocean waves"])
    rows = [(clip, folds[number % len(folds)]) for number, clip in enumerate(clips)]
    lines = [f"{world / clip.clip_id},{clip.label},{fold}" for clip, fold in rows]
    csv.write_text("\n".join(["path,classname,part", *lines]) + "\n")
    return {fold: sorted(content_hash(clip.source) for clip, own in rows if own == fold) for fold in folds}


def test_folds_are_kept_apart(
    world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], refused: Callable[..., str]
) -> None:
    data = ["--data", tmp_path / "clips.csv", "--fold-column", "part"]
    train = ["train", *data, "--epochs", "1", "--no-cache", "--shots"]
    hashes = parted(world, tmp_path / "clips.csv", ["train", "test"])
    printed = call(capfd, *train, "2", "--output-dir", tmp_path / "run")
    assert "fold 'train' is taken" in printed
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["trained_on"] == hashes["train"]
    printed = call(capfd, "evaluate", "--adapter", tmp_path / "run" / "adapter", *data)
    assert "fold 'test' is taken" in printed
    assert "on 4 clips of 2 classes" in printed

    hashes = parted(world, tmp_path / "clips.csv", ["1", "2", "3", "4"])
    assert "the folds 1, 2, 3, 4, and nothing says which" in refused(*train, "1", "--output-dir", tmp_path / "other")
    assert "unknown fold 9" in refused(*train, "1", "--folds", "9", "--output-dir", tmp_path / "other")
    printed = call(capfd, *train, "1", "--folds", "2", "4", "--allow-fewer", "--output-dir", tmp_path / "other")
    trained = json.loads((tmp_path / "other" / "settings.json").read_text())["trained_on"]
    assert set(trained) < {*hashes["2"], *hashes["4"]}
    *_, evaluate = (line for line in printed.splitlines() if "evaluate" in line)
    assert evaluate.endswith("--fold-column part --folds 1 3")
    assert "on 4 clips of 2 classes" in call(capfd, *shlex.split(evaluate)[1:])


def test_evaluate_writes_nothing_over_an_adapter(
    adapter: Path, world: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    run = shutil.copytree(adapter.parent, tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for folder in (run, run / "adapter"):
        for more in ([], ["--overwrite"], ["--resume"], ["--base-to-novel", "--overwrite"]):
            asked = [] if "--base-to-novel" in more else ["--adapter", run / "adapter"]
            message = refused("evaluate", *asked, "--data", world, "--output-dir", folder, *more)
            assert "which another command has written" in message
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.mark.parametrize("settings", ['{"editor": "vim"}', "[1]", "{"])
def test_settings_of_another_program_beside_an_adapter(
    settings: str, adapter: Path, world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(adapter, tmp_path / "adapter")
    (tmp_path / "settings.json").write_text(settings)
    classes = ["bird song", "hand drum"]
    printed = call(capfd, "evaluate", "--adapter", tmp_path / "adapter", "--data", world, "--classes", *classes)
    assert "on 8 clips of 2 classes" in printed


@pytest.mark.slow
def test_benchmark_in_a_new_process_is_refused_resumed_and_replaced(
    world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], refused: Callable[..., str]
) -> None:
    folder = tmp_path / "benchmark"
    command = ["evaluate", "--base-to-novel", "--data", world, "--seeds", "0", "1", *FAST, "--output-dir", folder]
    first = process(*command)
    assert first.returncode == 0, first.stderr
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["results.json", "rows.jsonl", "run.json", "table.md"]
    for method in ("zero-shot", "coop", "coop+zebra"):
        assert re.search(rf"\| {re.escape(method)} +\|.*±", first.stdout)
    rows = read_rows(folder / "rows.jsonl")
    assert len(rows) == 6

    assert "--resume" in refused(*command)
    call(capfd, *command, "--resume")
    assert read_rows(folder / "rows.jsonl") == rows
    call(capfd, *command, "--overwrite", "--methods", "zero-shot")
    assert [row["method"] for row in read_rows(folder / "rows.jsonl")] == ["zero-shot", "zero-shot"]


@pytest.mark.slow
def test_same_seed_same_adapter_also_after_a_kill(
    world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--data", world, "--method", "coop", *FAST]
    call(capfd, *command, "--output-dir", tmp_path / "a")
    call(capfd, *command, "--output-dir", tmp_path / "b")
    call(capfd, *command, "--output-dir", tmp_path / "c", "--seed", "1")
    a, b, c = ((tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c
    for killed_before in (("run.json",), ("run.json", "adapter", "checkpoint-4")):
        for name in killed_before:
            path = tmp_path / "a" / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        call(capfd, *command, "--output-dir", tmp_path / "a", "--resume")
        assert (tmp_path / "a" / "adapter" / "adapter_model.safetensors").read_bytes() == a
    call(capfd, *command, "--output-dir", tmp_path / "c", "--overwrite")
    assert (tmp_path / "c" / "adapter" / "adapter_model.safetensors").read_bytes() == a


@pytest.mark.slow
def test_quickstart(tmp_path: Path) -> None:
    result = process("quickstart", "--fast", "--output-dir", tmp_path / "quickstart")
    assert result.returncode == 0, result.stderr
    for word in ("zero-shot", "coop+zebra", "novel (g)", "mean of H", "laion/clap-htsat-unfused", "--data my-sounds"):
        assert word in result.stdout
    assert re.search(r"other-sounds/.*\.wav: .* 0\.\d{3}", result.stdout)
    assert (tmp_path / "quickstart" / "run" / "adapter" / "adapter_model.safetensors").is_file()
