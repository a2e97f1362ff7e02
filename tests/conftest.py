"""Shared fixtures: a tiny model with random weights, and the private data where it is at hand."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tiny models: more threads would only wait for each other, here and in the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CLIPTextConfig, PreTrainedTokenizerFast

from alm_prompt import AlmConfig, AlmForAudioClassification

CLASSES = ["dog", "rain", "siren", "door bell"]
SHARED = Path(__file__).resolve().parents[2] / "shared"
WORDS = ["this", "is", "a", "sound", "of", "dog", "rain", "siren", "door", "bell", "chain", "saw", "cat", ".", "the"]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder with real audio and a real small backbone, beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder ../shared with real audio, which is not at hand")
    return SHARED


@pytest.fixture(scope="session")
def standins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a small stand-in of every data set of the catalog, in the published layout; not to be changed."""
    write = runpy.run_path(str(Path(__file__).with_name("standins.py")))["write_standins"]
    return write(tmp_path_factory.mktemp("datasets"))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the cache of tests out of the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALM_PROMPT_CACHE", str(tmp_path_factory.getbasetemp() / "alm-cache"))
        yield


PACKAGE = str(Path(__file__).resolve().parents[1] / "alm_prompt")
unpickled: list[str] = []


def _note_unpickling(event: str, arguments: tuple[Any, ...]) -> None:
    """Write down where the package takes Python objects out of a pickle, but for what its own processes send it."""
    if event != "pickle.find_class":
        return
    frame, files = sys._getframe(1), []
    while frame is not None:
        files.append(frame.f_code.co_filename)
        frame = frame.f_back
    if not any("multiprocessing" in file for file in files):
        unpickled.extend(f"{file}: {'.'.join(map(str, arguments))}" for file in files if file.startswith(PACKAGE))


@pytest.fixture(scope="session", autouse=True)
def no_pickles() -> Iterator[None]:
    """Over the whole suite the package unpickles nothing, and PyTorch's files give it tensors only."""
    sys.addaudithook(_note_unpickling)
    load = torch.load

    def watched_load(*arguments: Any, **options: Any) -> Any:
        if options.get("weights_only") is False and sys._getframe(1).f_code.co_filename.startswith(PACKAGE):
            unpickled.append(f"torch.load(weights_only=False) in {sys._getframe(1).f_code.co_filename}")
        return load(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "load", watched_load)
        yield
    assert not unpickled


def word_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer with CLIP's two special tokens."""
    specials = ["<pad>", "<unk>", "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: index for index, word in enumerate([*specials, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=[("<|startoftext|>", 2), ("<|endoftext|>", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
    )


def tiny_config(dim: int = 32) -> AlmConfig:
    """A configuration small enough to train in a test."""
    tokens = 4 + len(WORDS)
    text_config = CLIPTextConfig(
        vocab_size=tokens,
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )
    audio_config = {"model_type": "alm_cnn", "channels": [4, 8], "hidden_size": 16}
    return AlmConfig(audio_config=audio_config, text_config=text_config, projection_dim=dim)


@pytest.fixture(scope="session")
def make_tiny_alm() -> Callable[..., AlmForAudioClassification]:
    """Makes a tiny model: `make_tiny_alm(seed=0, classes=CLASSES, dim=32)`. Same seed, same weights."""

    def make(seed: int = 0, classes: list[str] | None = None, dim: int = 32) -> AlmForAudioClassification:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = AlmForAudioClassification(tiny_config(dim), tokenizer=word_tokenizer())
            # Transformers starts text towers near zero; larger weights make every part matter to the outputs.
            for parameter in model.alm.text_tower.parameters():
                torch.nn.init.normal_(parameter, std=0.2)
        model.set_classes(classes or CLASSES)
        return model.eval()

    return make


@pytest.fixture
def tiny_alm(make_tiny_alm: Callable[..., AlmForAudioClassification]) -> AlmForAudioClassification:
    """A tiny model with four classes."""
    return make_tiny_alm()


@pytest.fixture(scope="session")
def audio_batch() -> dict[str, torch.Tensor]:
    """Eight random audio features of dimension 32, with labels."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(8, 32, generator=generator)
    return {"audio_features": features, "labels": torch.arange(8) % len(CLASSES)}


@pytest.fixture
def torchrun() -> Callable[..., str]:
    """Runs a script in two CPU processes: `torchrun(script, *arguments)`, or `torchrun("-m", module, *arguments)`.

    It returns what they printed; with `fails=True` they must fail, and it is what they printed on standard error.
    """

    def run(script: Path | str, *arguments: str, fails: bool = False) -> str:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        path = os.pathsep.join([str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        command = [*launcher, str(script), *arguments]
        finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
        assert (finished.returncode != 0) == fails, finished.stderr
        return finished.stderr if fails else finished.stdout

    return run
