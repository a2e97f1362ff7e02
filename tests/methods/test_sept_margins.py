"""SEPT's margins are computed once for all who ask, and are right whatever happens to their files."""

from __future__ import annotations

import multiprocessing
import os
from functools import partial
from pathlib import Path

import pytest
import torch
from peft import get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers.normalizers import Replace

from alm_prompt import CoOpPromptConfig, SeptPromptConfig
from alm_prompt.cache import TensorStore, caching_in
from alm_prompt.cli.main import main
from alm_prompt.data.world import write_world

CLASSES = ["dog", "rain", "siren"]
NEIGHBORS = {"dog": ["cat", "a cat"], "rain": ["the sound", "saw"], "siren": ["chain", "a bell"]}
# Sentences for one template: every class and every neighbour.
SENTENCES = 9


def prompted(alm, **options):
    """A model with a fresh SEPT adapter over CoOp, one margin template."""
    options = {"neighbors": NEIGHBORS, "margin_templates": "template", **options}
    torch.manual_seed(0)
    return get_peft_model(alm, SeptPromptConfig(prompt=CoOpPromptConfig(n_ctx=4), **options))


@pytest.fixture
def make_alm(make_tiny_alm):
    """Makes tiny models that know three classes."""
    return partial(make_tiny_alm, classes=CLASSES)


@pytest.fixture
def folder(tmp_path):
    """An empty cache of the test's own, in force."""
    with caching_in(tmp_path / "cache"):
        yield tmp_path / "cache"


@pytest.fixture
def batch(audio_batch):
    return {"audio_features": audio_batch["audio_features"], "labels": audio_batch["labels"] % 3}


@pytest.fixture
def margins(batch):
    """Reads the margins of a model, and counts the sentences that its text tower had to read for them."""

    def read(model):
        base = model.base_model.model
        output = base.class_head(base.class_bank, batch["audio_features"], base.alm)
        count = []
        handle = base.alm.text_tower.register_forward_hook(lambda module, inputs, found: count.append(len(found)))
        try:
            return output.auxiliary["margins"](), sum(count)
        finally:
            handle.remove()

    return read


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_runs_of_one_process_share_them_without_the_disk(make_alm, margins):
    alm = make_alm()
    with caching_in(None):
        model = prompted(alm)
        expected, read = margins(model)
        assert read == SENTENCES
        found, read = margins(prompted(model.unload()))
    assert read == 0
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "options",
    [{"normalize": False}, {"neighbors": NEIGHBORS | {"dog": ["a cat", "cat"]}}, {"template": "the sound of {}."}],
    ids=["normalize", "order", "template"],
)
def test_a_process_keeps_those_of_other_options_apart(make_alm, margins, options):
    with caching_in(None):
        model = prompted(make_alm())
        margins(model)
        assert margins(prompted(model.unload(), **options))[1] == SENTENCES


def test_a_process_does_not_mistake_a_changed_text_tower_for_what_it_was(make_alm, margins):
    with caching_in(None):
        model = prompted(make_alm())
        before, _ = margins(model)
        with torch.no_grad():
            model.alm.text_projection.weight[:, ::2] *= 2
        after, read = margins(model)
        assert read == SENTENCES
        with torch.autocast("cpu", torch.bfloat16):
            assert margins(model)[1] == SENTENCES
    assert not torch.allclose(after, before)


def test_another_model_with_the_same_weights_reads_them_from_the_disk(make_alm, margins, folder):
    expected, read = margins(prompted(make_alm()))
    assert read == SENTENCES
    assert len(files(folder)) == 1
    found, read = margins(prompted(make_alm()))
    assert read == 0
    assert torch.equal(found, expected)
    assert found.dtype == torch.float32
    assert found.shape == (3, 3, 2)


def test_no_cache_keeps_nothing(make_alm, margins, folder):
    with caching_in(None):
        margins(prompted(make_alm()))
    assert not files(folder)
    _, read = margins(prompted(make_alm()))
    assert read == SENTENCES


@pytest.mark.parametrize(
    "change",
    ["weight", "template", "normalize", "neighbours", "order", "classes", "precision", "autocast", "tokenizer"],
)
def test_all_that_they_depend_on_makes_other_margins(make_alm, margins, folder, change):
    margins(prompted(make_alm()))
    options, classes = {}, list(CLASSES)
    if change == "normalize":
        options = {"normalize": False}
    if change == "neighbours":
        options = {"neighbors": NEIGHBORS | {"dog": ["cat", "the cat"]}}
    if change == "order":
        options = {"neighbors": NEIGHBORS | {"dog": ["a cat", "cat"]}}
    if change == "classes":
        classes = ["rain", "dog", "siren"]
    alm = make_alm(classes=classes)
    if change == "template":
        alm.set_classes(classes, template="the sound of {}.")
    if change == "weight":
        # One unit in the last place of one number.
        weight = alm.alm.text_tower.token_embedding.weight.data.view(-1)
        weight[-1] = torch.nextafter(weight[-1], weight.new_tensor(torch.inf))
    if change == "precision":
        alm.double()
    if change == "tokenizer":
        alm.tokenizer.backend_tokenizer.normalizer = Replace("cat", "saw")
    with torch.autocast("cpu", torch.bfloat16, enabled=change == "autocast"):
        _, read = margins(prompted(alm, **options))
    assert read == SENTENCES
    assert len(files(folder)) == 2


def of_another_shape(path):
    tensors = {"margins": torch.zeros(3, 3, 5)}
    replace_shard(path, tensors)


def not_finite(path):
    tensors = load_file(path)
    tensors["margins"][0, 0, 0] = torch.nan
    replace_shard(path, tensors)


def replace_shard(path, tensors):
    """A whole file in place of another, with the name that belongs to what it holds."""
    path.unlink()
    TensorStore(path.parent, "margins").write(tensors)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    "damage",
    [
        flipped,
        lambda path: path.write_bytes(path.read_bytes()[:-8]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("not a shard"),
        lambda path: save_file({"margins": torch.zeros(3, 3, 2)}, path),
        of_another_shape,
        not_finite,
    ],
    ids=["flipped", "cut", "empty", "text", "foreign", "shape", "nan"],
)
def test_damaged_file_is_announced_once_and_computed_again(make_alm, margins, folder, caplog, damage):
    expected, _ = margins(prompted(make_alm()))
    [path] = files(folder)
    damage(path)
    found, read = margins(prompted(make_alm()))
    assert read == SENTENCES
    assert torch.equal(found, expected)
    [message] = caplog.messages
    assert "damaged" in message and "its margins are computed again" in message
    caplog.clear()
    found, read = margins(prompted(make_alm()))
    assert read == 0
    assert torch.equal(found, expected)
    assert not caplog.messages


def test_half_written_file_is_not_read(make_alm, margins, folder, monkeypatch, caplog):
    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", die)
        margins(prompted(make_alm()))
    _, read = margins(prompted(make_alm()))
    assert read == SENTENCES
    assert not caplog.messages


def test_processes_may_compute_them_at_once(make_alm, margins, folder, caplog):
    models = [prompted(make_alm()), prompted(make_alm())]
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)

    def compute(model):
        # The threads of the parent's pool do not exist in a fork.
        torch.set_num_threads(1)
        barrier.wait(timeout=60)
        margins(model)

    processes = [context.Process(target=compute, args=(model,)) for model in models]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    assert [path.suffix for path in files(folder)] == [".safetensors"]
    _, read = margins(prompted(make_alm()))
    assert read == 0
    assert not caplog.messages


def test_cache_that_cannot_be_written_is_announced_once_and_done_without(make_alm, batch, tmp_path, caplog):
    (tmp_path / "occupied").write_text("")
    model = prompted(make_alm())
    with caching_in(tmp_path / "occupied"):
        for _ in range(3):
            model(**batch).loss.backward()
    [message] = caplog.messages
    assert "margins are not cached" in message


def test_trained_text_tower_has_none_to_keep(make_alm, margins, folder):
    model = prompted(make_alm())
    model.base_model.model.alm.text_tower.requires_grad_(True)
    for _ in range(2):
        _, read = margins(model)
        assert read == SENTENCES
    assert not files(folder)


def test_inference_needs_none(make_alm, batch, folder):
    prompted(make_alm())(audio_features=batch["audio_features"])
    assert not files(folder)


def test_training_goes_on_with_margins_of_inference_mode(make_alm, margins, batch, folder):
    margins(prompted(make_alm()))
    model = prompted(make_alm())
    with torch.inference_mode():
        model(**batch)
    model(**batch).loss.backward()


@pytest.mark.parametrize("kept", [True, False])
def test_train_command_keeps_them_with_its_audio_features(tmp_path, folder, kept):
    write_world(tmp_path / "sounds", per_class=1)
    classes = ["bird song", "ocean waves"]
    arguments = ["--data", str(tmp_path / "sounds"), "--output-dir", str(tmp_path / "run"), "--classes", *classes]
    arguments += ["--method", "coop+sept", "--method-options", "sept.margin_templates=template", "coop.n_ctx=2"]
    arguments += [
        "--shots",
        "1",
        "--epochs",
        "1",
        *(["--cache-dir", str(tmp_path / "mine")] if kept else ["--no-cache"]),
    ]
    assert main(["train", *arguments]) == 0
    assert bool(files(tmp_path / "mine" / "margins")) == kept
    assert not files(folder)
