"""Adapters go to the Hub and come back, through the real client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from huggingface_hub import close_session, constants
from peft import LoraConfig, PeftModel, get_peft_model

from alm_prompt import (
    AlmForAudioClassification,
    AlmTrainer,
    AlmTrainingArguments,
    CoOpPromptConfig,
    ZebraPromptConfig,
    load_adapter,
    pipeline,
    push_adapter,
)
from alm_prompt.cli.main import main
from alm_prompt.data import FeatureDataset
from alm_prompt.data.world import TINY_MODEL

REPO = "user/bells"
FILES = {"README.md", "adapter_config.json", "adapter_model.safetensors", "results.json"}


@pytest.fixture
def features(model):
    return torch.randn(3, model.config.projection_dim, generator=torch.Generator().manual_seed(0))


def same(first, second, features):
    with torch.no_grad():
        return torch.equal(first(audio_features=features).logits, second(audio_features=features).logits)


def test_model_is_pushed_and_pulled(hub, model, bundled, features):
    address = model.push_to_hub(REPO)
    assert address.startswith(f"{hub.url}/{REPO}/commit/")
    files = hub.files(REPO)
    assert files.keys() == FILES
    assert not any(word in content for content in files.values() for word in (b"/work", b"/home", b"/tmp", b"pickle"))
    card = files["README.md"].decode()
    assert f'load_adapter("{REPO}")' in card
    assert "Model Card for" not in card
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "tiny"
    with torch.no_grad():
        assert same(PeftModel.from_pretrained(bundled(), REPO).eval(), model, features)
        assert same(load_adapter(REPO), model, features)
    wanted = {path.rpartition("/")[2] for method, path in hub.requests if method == "GET" and "resolve" in path}
    assert wanted == {"adapter_config.json", "adapter_model.safetensors"}


def test_trainer_pushes_the_adapter_and_not_its_folder(hub, bundled, features, tmp_path):
    model = get_peft_model(bundled_with_classes(bundled), CoOpPromptConfig(n_ctx=2))
    args = AlmTrainingArguments(
        output_dir=str(tmp_path / "run"), max_steps=1, use_cpu=True, disable_tqdm=True, hub_model_id=REPO,
        hub_private_repo=True,
    )  # fmt: skip
    trainer = AlmTrainer(model=model, args=args, train_dataset=FeatureDataset(features, [0, 1, 0]))
    trainer.train()
    trainer.save_model()
    card = (tmp_path / "run" / "README.md").read_text()
    trainer.create_model_card()
    assert (tmp_path / "run" / "README.md").read_text() == card
    trainer.push_to_hub("Bells", license="cc-by-4.0")
    assert hub.files(REPO).keys() == FILES
    assert hub.private == {REPO}
    assert b"license: cc-by-4.0" in hub.files(REPO)["README.md"]
    assert json.loads(hub.files(REPO)["results.json"])["training"]["steps"] == 1
    assert same(load_adapter(REPO), model.eval(), features)


def test_command_pushes_to_a_branch_of_a_private_repository(hub, adapter, bundled, capsys, monkeypatch, refused):
    monkeypatch.delenv("HF_TOKEN")
    flags = ["--private", "--revision", "v1", "--license", "cc-by-4.0", "--datasets", "user/sounds"]
    assert main(["push", str(adapter), REPO, *flags]) == 2
    assert f"error: {REPO!r} cannot be written without a token; log in with" in capsys.readouterr().err
    assert main(["push", str(adapter), REPO, *flags, "--token", "hf_dummy"]) == 0
    assert f"{adapter} is at {hub.url}/{REPO}/commit/" in capsys.readouterr().out
    assert hub.files(REPO, "v1").keys() == FILES
    assert hub.files(REPO) == {}
    card = hub.files(REPO, "v1")["README.md"].decode()
    assert "license: cc-by-4.0\n" in card
    assert "datasets:\n- user/sounds\n" in card
    assert "or it is private; check the name, or log in" in refused(load_adapter, REPO, revision="v1")
    assert "it lacks adapter_config.json" in refused(load_adapter, REPO, token="hf_dummy")
    there = {"revision": "v1", "token": "hf_dummy"}
    for model in (
        load_adapter(REPO, **there),
        PeftModel.from_pretrained(bundled(), REPO, **there),
        pipeline(model=REPO, **there).model,
    ):
        assert model.class_names == ["church bell", "hand drum", "police siren"]


@pytest.mark.slow
def test_revisions_are_kept_apart(hub, model, bundled, features):
    model.push_to_hub(REPO)
    first = hub.branches[REPO]["main"]
    other = get_peft_model(bundled_with_classes(bundled), CoOpPromptConfig(n_ctx=3)).eval()
    other.push_to_hub(REPO, commit_message="Shorter")
    assert same(load_adapter(REPO, revision=first), model, features)
    assert same(load_adapter(REPO), other, features)
    hub.branches[REPO]["kept"] = first
    assert same(PeftModel.from_pretrained(bundled(), REPO, revision="kept").eval(), model, features)


def test_backbone_of_a_revision_is_opened_at_that_revision(hub, features, tmp_path, capsys):
    hub.create("user/backbone")
    hub.branches["user/backbone"]["v1"] = hub.branches["user/backbone"]["main"]
    hub.commit("user/backbone", "v1", {path.name: path.read_bytes() for path in TINY_MODEL.iterdir()})
    classes = ["church bell", "hand drum"]
    alm = AlmForAudioClassification.from_pretrained("user/backbone", revision="v1", class_names=classes)
    model = get_peft_model(alm, ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=2))).eval()
    adapter, wave = tmp_path / "adapter", tmp_path / "some.wav"
    model.save_pretrained(adapter)
    assert json.loads((adapter / "adapter_config.json").read_text())["revision"] == "v1"
    assert 'from_pretrained("user/backbone", revision="v1")' in (adapter / "README.md").read_text()
    # Whatever is opened for it from `main` is not there: weights, tokenizer or front end.
    assert same(load_adapter(adapter), model, features)
    soundfile.write(wave, np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    answer = pipeline(model=adapter)(wave)
    assert pipeline(model=model)(wave) == answer
    assert len(pipeline(model="user/backbone", revision="v1")(wave, candidate_labels=classes)) == 2
    assert main(["predict", "--adapter", str(adapter), str(wave)]) == 0
    assert answer[0]["label"] in capsys.readouterr().out
    if find_spec("matplotlib"):
        assert main(["plot", "neighbors", "--adapters", str(adapter), "--output", str(tmp_path / "map.png")]) == 0
    # The revision is that of the backbone that it was given with.
    push_adapter(adapter, REPO)
    assert json.loads(hub.files(REPO)["adapter_config.json"])["revision"] == "v1"
    push_adapter(adapter, REPO, base_model="user/copy")
    assert json.loads(hub.files(REPO)["adapter_config.json"])["revision"] is None


def test_revision_that_is_no_text_is_named(adapter, refused):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"revision": 7}))
    assert "names 7 as the revision of its backbone" in refused(load_adapter, adapter)


def bundled_with_classes(bundled):
    alm = bundled()
    alm.set_classes(["church bell", "hand drum"])
    return alm


def test_cache_serves_when_offline(hub, model, features, monkeypatch, refused):
    model.push_to_hub(REPO)
    load_adapter(REPO)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    count = len(hub.requests)
    assert same(load_adapter(REPO), model, features)
    message = refused(load_adapter, "user/unknown")
    assert "adapter 'user/unknown' cannot be opened: it is not in the cache, and HF_HUB_OFFLINE=1" in message
    assert "cannot be written: HF_HUB_OFFLINE=1 keeps from reaching the Hub" in refused(model.push_to_hub, REPO)
    assert len(hub.requests) == count


@pytest.mark.slow
def test_cache_serves_when_the_hub_is_gone(hub, model, features, monkeypatch, refused):
    model.push_to_hub(REPO)
    load_adapter(REPO)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the attempts of the client
    hub.close()
    close_session()  # a connection that is open would still be answered
    assert same(load_adapter(REPO), model, features)
    assert "the Hub cannot be reached" in refused(load_adapter, "user/unknown")


def test_what_is_not_there_is_named(hub, model, refused):
    assert "there is no such repository" in refused(load_adapter, "user/nothing")
    assert "neither a folder nor a Hub id" in refused(load_adapter, "/no/such/folder")
    hub.create("user/other")
    hub.commit("user/other", "main", {"config.json": b"{}"})
    assert "'user/other' cannot be opened: the repository holds no adapter" in refused(load_adapter, "user/other")
    hub.commit("user/other", "main", {"adapter_config.json": b'{"peft_type": "ALM_COOP"}', "adapter_model.bin": b"x"})
    assert "lacks adapter_config.json or adapter_model.safetensors" in refused(load_adapter, "user/other")
    model.push_to_hub(REPO)
    assert "no revision 'v9'" in refused(load_adapter, REPO, revision="v9")


def fetched(hub):
    return {path.rpartition("/")[2] for method, path in hub.requests if method == "GET"}


def test_weights_of_other_adapters_are_not_fetched(hub, refused):
    hub.create("user/lora")
    files = {"adapter_config.json": b'{"peft_type": "LORA"}', "adapter_model.safetensors": b"x"}
    hub.commit("user/lora", "main", files)
    assert "'LORA' is no prompt method" in refused(load_adapter, "user/lora")
    assert fetched(hub) == {"adapter_config.json"}


def test_sizes_are_looked_at_before_files_are_fetched(hub, model, bundled, refused):
    model.push_to_hub(REPO)
    hub.sizes["adapter_model.safetensors"] = 2**28 + 1
    assert "adapter_model.safetensors of 'user/bells' has 268,435,457 bytes" in refused(load_adapter, REPO)
    assert "has 268,435,457 bytes" in refused(PeftModel.from_pretrained, bundled(), REPO)
    assert fetched(hub) == {"adapter_config.json"}
    hub.sizes["adapter_config.json"] = 2**22 + 1
    assert "adapter_config.json of 'user/bells' has 4,194,305 bytes" in refused(load_adapter, REPO)


@pytest.mark.parametrize("where", [pytest.param("/objects/", marks=pytest.mark.slow), "/commit/"])
def test_broken_upload_leaves_the_repository_as_it_was(where, hub, adapter, model, refused):
    model.push_to_hub(REPO)
    before = hub.files(REPO)
    (adapter / "README.md").write_text("My own card.\n")
    hub.broken = {where}
    message = refused(push_adapter, adapter, REPO)
    assert message.startswith(f"{REPO!r} cannot be written: ")
    assert "507" in message
    assert hub.files(REPO) == before
    hub.broken = set()
    push_adapter(adapter, REPO)
    assert hub.files(REPO)["README.md"].endswith(b"My own card.\n")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        pytest.param("cut", "Consistency check failed", marks=pytest.mark.slow),
        ("altered", "its SHA-256 is not the one"),
    ],
)
def test_damaged_download_is_refused_and_can_be_repeated(how, message, hub, model, bundled, features, refused):
    model.push_to_hub(REPO)
    setattr(hub, how, {"adapter_model.safetensors"})
    assert message in refused(load_adapter, REPO)
    assert message in refused(PeftModel.from_pretrained, bundled(), REPO)
    setattr(hub, how, set())
    assert same(load_adapter(REPO), model, features)


def test_repository_with_a_pickle_only_is_not_read(hub, model, bundled, refused):
    model.push_to_hub(REPO)
    config = hub.files(REPO)["adapter_config.json"]
    hub.create("user/pickle")
    hub.commit("user/pickle", "main", {"adapter_config.json": config, "adapter_model.bin": b"\x80\x04."})
    assert "adapter_model.safetensors" in refused(PeftModel.from_pretrained, bundled(), "user/pickle")


def test_backbone_from_a_local_folder_is_left_out_or_named(hub, bundled, tmp_path, caplog, refused):
    bundled().save_pretrained(tmp_path / "backbone")
    alm = AlmForAudioClassification.from_pretrained(tmp_path / "backbone", class_names=["hand drum", "police siren"])
    model = get_peft_model(alm, CoOpPromptConfig(n_ctx=2)).eval()
    model.save_pretrained(tmp_path / "adapter")
    assert load_adapter(tmp_path / "adapter").class_names == ["hand drum", "police siren"]
    push_adapter(tmp_path / "adapter", REPO)
    assert "was opened from the local folder" in caplog.text
    assert not any(str(tmp_path).encode() in content for content in hub.files(REPO).values())
    assert "names None as its backbone" in refused(load_adapter, REPO)
    assert load_adapter(REPO, backbone=model.unload()).class_names == ["hand drum", "police siren"]
    push_adapter(tmp_path / "adapter", REPO, base_model="user/backbone")
    assert json.loads(hub.files(REPO)["adapter_config.json"])["base_model_name_or_path"] == "user/backbone"
    assert "base_model: user/backbone\n" in hub.files(REPO)["README.md"].decode()
    assert "no Hub id" in refused(push_adapter, tmp_path / "adapter", REPO, base_model="../backbone")


def test_backbone_of_a_relative_path_is_the_same_from_everywhere(hub, bundled, tmp_path, monkeypatch):
    bundled().save_pretrained(tmp_path / "models" / "own")
    monkeypatch.chdir(tmp_path)
    alm = AlmForAudioClassification.from_pretrained("models/own", class_names=["hand drum", "police siren"])
    get_peft_model(alm, CoOpPromptConfig(n_ctx=2)).save_pretrained("adapter")
    monkeypatch.chdir("/")
    assert load_adapter(tmp_path / "adapter").class_names == ["hand drum", "police siren"]
    push_adapter(tmp_path / "adapter", REPO)
    assert json.loads(hub.files(REPO)["adapter_config.json"])["base_model_name_or_path"] is None
    assert not any(b"models/own" in content for content in hub.files(REPO).values())


def test_name_of_a_folder_here_is_not_taken_from_a_stranger(hub, model, bundled, tmp_path, monkeypatch, refused):
    model.push_to_hub(REPO)
    config = json.loads(hub.files(REPO)["adapter_config.json"]) | {"base_model_name_or_path": "models/private"}
    hub.commit(REPO, "main", {"adapter_config.json": json.dumps(config).encode()})
    bundled().save_pretrained(tmp_path / "models" / "private")
    monkeypatch.chdir(tmp_path)
    assert "names 'models/private' as its backbone, which would be opened from" in refused(load_adapter, REPO)
    assert load_adapter(REPO, backbone="models/private").class_names == model.class_names


def test_adapter_of_a_stranger_names_no_folder(hub, model, refused):
    model.push_to_hub(REPO)
    config = json.loads(hub.files(REPO)["adapter_config.json"])
    for name in ("/etc", "../backbone", "~/backbone", "https://somewhere/backbone", 7):
        changed = json.dumps(config | {"base_model_name_or_path": name})
        hub.commit(REPO, "main", {"adapter_config.json": changed.encode()})
        assert f"names {name!r} as its backbone" in refused(load_adapter, REPO)


def test_folders_that_are_no_adapter_are_not_pushed(hub, adapter, tmp_path, refused):
    assert "cannot be opened: adapter_config.json" in refused(push_adapter, tmp_path, REPO)
    assert "no Hub id" in refused(push_adapter, adapter, "a/b/c")
    card = adapter / "README.md"
    card.write_text(f"Trained in {Path.home() / 'sounds'}.\n" if Path.home() != Path("/") else "x")
    assert "README.md names the folder" in refused(push_adapter, adapter, REPO)
    card.unlink()
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert "its SHA-256 is not the one" in refused(push_adapter, adapter, REPO)
    weights.unlink()
    assert "adapter_model.safetensors" in refused(push_adapter, adapter, REPO)
    assert not hub.requests


@pytest.mark.parametrize(
    ("home", "said", "private"),
    [
        ("/home/jörg", "/home/jörg/data/secret.wav", True),
        ("/home/jörg", {"/home/jörg": ["deep"]}, True),
        ("/home/al", ["one", "in /home/al."], True),
        ("/home/al", "/home/al\nand more", True),
        ("/home/al", "/home/alice_project", False),
        ("/home/al", "/home/al.old/x", False),
        ("/root", "https://example.org/root-cause", False),
    ],
)
def test_folders_of_this_machine_are_not_pushed(home, said, private, hub, adapter, monkeypatch, refused):
    monkeypatch.setenv("HOME", home)
    path = adapter / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"training": {"note": said}}))
    if private:
        assert f"results.json names the folder {home}" in refused(push_adapter, adapter, REPO)
        assert not hub.requests
    else:
        assert push_adapter(adapter, REPO).startswith(hub.url)


def test_other_adapters_are_pushed_as_peft_does(hub):
    layer = torch.nn.Sequential(torch.nn.Linear(2, 2))
    get_peft_model(layer, LoraConfig(target_modules=["0"], r=1)).push_to_hub("user/lora")
    assert hub.files("user/lora").keys() == {"README.md", "adapter_config.json", "adapter_model.safetensors"}


@pytest.mark.slow
def test_adapter_of_another_name_lies_at_the_top(hub, bundled, features):
    alm = bundled_with_classes(bundled)
    model = get_peft_model(alm, CoOpPromptConfig(n_ctx=2), adapter_name="bells").eval()
    model.push_to_hub(REPO)
    assert hub.files(REPO).keys() == FILES
    assert same(load_adapter(REPO), model, features)


PULL = """
import sys, torch, alm_prompt
model = alm_prompt.load_adapter("user/bells")
with torch.no_grad():
    logits = model(audio_features=torch.ones(1, model.config.projection_dim)).logits
print(logits.tolist())
"""


@pytest.mark.slow
def test_pulled_in_a_fresh_process(hub, model, tmp_path):
    model.push_to_hub(REPO)
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-c", PULL]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        logits = model(audio_features=torch.ones(1, model.config.projection_dim)).logits
    assert json.loads(done.stdout) == logits.tolist()
