"""The work that `kill_resume.py` kills: each job starts, or goes on with what it finds in its folder, and ends.

Beside each job stands what a reader of its folder accepts: pairs of a name and the hash of what lies under it. What a
reader refuses (an adapter without its config, an output folder that is not there yet) is not among them.
"""

from __future__ import annotations

import hashlib
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from alm_prompt import AlmForAudioClassification, AlmProcessor, AlmPromptError, AudioFeatureCache
from alm_prompt.cli.main import main as alm_prompt
from alm_prompt.data import FeatureDataset
from alm_prompt.data.world import TINY_MODEL, world_clips, write_world
from alm_prompt.evaluation.rows import read_rows, row_key
from alm_prompt.methods import ZebraPromptConfig, parse_method
from alm_prompt.training import AlmTrainer, AlmTrainingArguments

ROOT = Path(__file__).resolve().parents[1]
CONVERT_HELPERS = ROOT / "tests" / "models" / "convert"
CLASS_NAMES = ["dog", "rain", "siren", "door bell"]
METHOD = "coop+zebra"
CLIPS_TO_TRAIN, CLIPS_TO_ENCODE = 24, 144
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
BENCHMARK = "benchmark zebra-base-to-novel --datasets sounds --methods zero-shot coop --seeds 0 1 --shots 2 --epochs 1"

Accepted = list[tuple[str, str]]


class Job(NamedTuple):
    """One kind of work.

    Attributes:
        run: does it in a folder.
        read: what can be read there.
        prepare: lays into the folder what is there before.
    """

    run: Callable[[Path], None]
    read: Callable[[Path], Accepted]
    prepare: Callable[[Path], None] = lambda folder: None


def train(folder: Path) -> None:
    """Three epochs of three steps with a checkpoint every second step, then the adapter."""
    model = _adapted(seed=0)
    features = torch.randn(CLIPS_TO_TRAIN, model.config.projection_dim, generator=torch.Generator().manual_seed(0))
    args = AlmTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=3,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        save_steps=2,
        logging_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    )
    dataset = FeatureDataset(features, [clip % len(CLASS_NAMES) for clip in range(CLIPS_TO_TRAIN)])
    trainer = AlmTrainer(model=model, args=args, train_dataset=dataset)
    trainer.train(resume_from_checkpoint=True)
    trainer.save_model(str(folder / "adapter"))


def cache(folder: Path) -> None:
    """Audio features of more clips than one file of the cache takes."""
    alm = AlmForAudioClassification.from_pretrained(TINY_MODEL)
    processor = AlmProcessor.from_pretrained(TINY_MODEL)
    clips = world_clips(per_class=CLIPS_TO_ENCODE // 12)
    AudioFeatureCache(folder).features(alm, processor, clips, progress=False)


def read_cache(folder: Path) -> Accepted:
    """Every feature in every file of the cache: one that is there twice is listed twice."""
    shards = [load_file(path) for path in sorted(folder.rglob("*.safetensors"))]
    return [(name, _hash(tensor.numpy().tobytes())) for shard in shards for name, tensor in shard.items()]


def benchmark(folder: Path) -> None:
    """Four runs of a recipe on a folder of sounds."""
    folders = ["--data-root", str(folder), "--output-dir", str(folder / "out"), "--cache-dir", str(folder / "cache")]
    code = alm_prompt([*BENCHMARK.split(), *folders])
    if code:
        raise RuntimeError(f"alm-prompt benchmark ended with {code}")


def write_sounds(folder: Path) -> None:
    """Four recordings of each class."""
    write_world(folder / "sounds", per_class=4)


def read_benchmark(folder: Path) -> Accepted:
    """The rows, but for the time they took."""
    path = folder / "out" / "rows.jsonl"
    rows = read_rows(path) if path.exists() else []
    return [(str(row_key(row)), _hash(json.dumps(row | {"seconds": 0}).encode())) for row in rows]


def save(folder: Path) -> None:
    """An adapter in place of another: as the trainer saves, and as `save_pretrained` does."""
    _save(folder, seed=1)


def save_older(folder: Path) -> None:
    """What lies there before."""
    _save(folder, seed=0)


def _save(folder: Path, seed: int) -> None:
    model = _adapted(seed)
    AlmTrainer(model=model, args=AlmTrainingArguments(str(folder), use_cpu=True)).save_model(str(folder / "adapter"))
    model.save_pretrained(str(folder / "plain"))


def read_adapters(folder: Path) -> Accepted:
    """The adapters that open, and the text beside them."""
    return [pair for name in ("adapter", "plain") for pair in _read_adapter(folder / name)]


def _read_adapter(folder: Path) -> Accepted:
    try:
        ZebraPromptConfig.from_pretrained(str(folder))
    except (AlmPromptError, ValueError):  # `peft` raises the second where there is no config.
        return []
    return [(folder.name, _hash(b"".join((folder / name).read_bytes() for name in ADAPTER_FILES)))]


def convert(folder: Path) -> None:
    """An official checkpoint, unless that is done: a folder that is not empty would be refused."""
    if not (folder / "alm").exists():
        source, tokenizer = folder / "official.safetensors", folder / "tokenizer"
        command = ["convert", "msclap-2022", str(source), str(folder / "alm"), "--tokenizer", str(tokenizer)]
        code = alm_prompt(command)
        if code:
            raise RuntimeError(f"alm-prompt convert ended with {code}")


def write_checkpoint(folder: Path) -> None:
    """A small checkpoint in the official layout."""
    tokenizer = runpy.run_path(str(CONVERT_HELPERS / "small_tokenizers.py"))["small_tokenizer"]("msclap-2022")
    weights = runpy.run_path(str(CONVERT_HELPERS / "layouts.py"))["official_weights"]("msclap-2022", len(tokenizer))
    tokenizer.save_pretrained(folder / "tokenizer")
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "official.safetensors")


def read_converted(folder: Path) -> Accepted:
    """The files of the converted model."""
    return [(path.name, _hash(path.read_bytes())) for path in sorted((folder / "alm").glob("*"))]


def _adapted(seed: int) -> PeftModel:
    alm = AlmForAudioClassification.from_pretrained(TINY_MODEL, class_names=CLASS_NAMES)
    torch.manual_seed(seed)
    return get_peft_model(alm, parse_method(METHOD, {"coop.n_ctx": 4}))


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


JOBS = {
    "training": Job(train, read_adapters),
    "caching": Job(cache, read_cache),
    "benchmarking": Job(benchmark, read_benchmark, prepare=write_sounds),
    "saving": Job(save, read_adapters, prepare=save_older),
    "converting": Job(convert, read_converted, prepare=write_checkpoint),
}
