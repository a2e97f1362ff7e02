"""Adapters from strangers: every mutant is loaded, or refused in one line."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model

from alm_prompt import AlmForAudioClassification, AlmPromptError, load_adapter, parse_method
from alm_prompt.methods.saved_fields import MOST_ENTRIES

from .mutations import mutate_config, mutate_safetensors
from .watch import peak_mb, watched

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# One of each way to be configured: plain, nested, with its own text, with tensors per class and with statistics.
STACKS: dict[str, dict[str, Any]] = {
    "coop+zebra": {"coop.n_ctx": 4},
    "coop+sept+zebra": {"coop.n_ctx": 4, "sept.margin_templates": "template"},
    "cocoop": {"cocoop.n_ctx": 4, "cocoop.ctx_init": "a sound of"},
    "palm": {},
    "coop+dept": {"coop.n_ctx": 4},
}


def save_adapters(model: AlmForAudioClassification, root: Path, neighbors: dict[str, list[str]]) -> list[Path]:
    """Save one adapter per stack for the classes of a model."""
    folders = []
    for name, options in STACKS.items():
        given = {"sept.neighbors": neighbors} if "sept" in name else {}
        torch.manual_seed(0)
        adapted = get_peft_model(copy.deepcopy(model), parse_method(name, {**options, **given}))
        adapted.save_pretrained(root / name)
        folders.append(root / name)
    return folders


def attack(model: AlmForAudioClassification, adapters: list[Path], count: int, seed: int, part: str) -> dict[str, Any]:
    """Load mutants of saved adapters.

    Args:
        model: their backbone, with its classes set; it stays as it is.
        adapters: folders of adapters that load.
        count: number of mutants.
        seed: of the mutations.
        part: `"config"` or `"weights"`. Half of the mutated weights come with a config that names their checksum, as a
            stranger would give them.

    Returns:
        How many were refused and loaded, and lists of what must not be: `crashes`, `forbidden` (code, network, files
        of others), `undetected` (changed weights under the old checksum), `not_finite` (loaded, with broken logits).
    """
    rng = random.Random(seed)
    outcome: Counter[str] = Counter()
    faults: dict[str, list[str]] = {"crashes": [], "forbidden": [], "undetected": [], "not_finite": []}
    audio = {"audio_features": torch.randn(2, model.config.projection_dim, generator=torch.Generator().manual_seed(0))}
    make = {"config": _new_config, "weights": _new_weights}[part]
    # What is imported on first use is imported here, also the encodings that `json` may take bytes for.
    for folder in adapters:
        _load(model, folder, audio)
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        "".encode(encoding)
    for number in range(count):
        config, weights, stale = make(rng.choice(adapters), rng)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / CONFIG).write_bytes(config)
            (folder / WEIGHTS).write_bytes(weights)
            with watched(folder) as watch:
                try:
                    finite = _load(model, folder, audio)
                    outcome["loaded"] += 1
                    if not finite:
                        faults["not_finite"].append(f"{number}: {config[:300]!r}")
                    if stale:
                        faults["undetected"].append(str(number))
                except AlmPromptError as error:
                    outcome["refused"] += 1
                    if not str(error).isprintable():
                        faults["crashes"].append(f"{number}: not one line: {str(error)!r}"[:500])
                except BaseException as error:
                    faults["crashes"].append(f"{number}: {type(error).__name__}: {str(error)[:200]}")
            faults["forbidden"] += [f"{number}: {event}" for event in watch.events]
    return {"mutants": count, **outcome, **faults, "peak_mb": round(peak_mb())}


def load_largest(model: AlmForAudioClassification, adapter: Path) -> dict[str, Any]:
    """Load an adapter with as many neighbours, and one with as many descriptions, as a config may have.

    Args:
        model: its backbone, with its classes set.
        adapter: folder of a SEPT adapter within another method.

    Returns:
        Seconds of each, and the most memory that this process held.
    """
    names, seconds = model.class_names, {}
    texts = {name: [f"{name} {number}" for number in range(MOST_ENTRIES // len(names))] for name in names}
    for kind in ("neighbors", "descriptions"):
        config = json.loads((adapter / CONFIG).read_bytes())
        (config["prompt"] if kind == "neighbors" else config)[kind] = texts
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, CONFIG).write_text(json.dumps(config))
            shutil.copy(adapter / WEIGHTS, folder)
            start = time.perf_counter()
            load_adapter(folder, backbone=copy.deepcopy(model))
        seconds[kind] = round(time.perf_counter() - start, 1)
    return {"entries": MOST_ENTRIES, "seconds": seconds, "peak_mb": round(peak_mb())}


def _load(model: AlmForAudioClassification, folder: Path, audio: dict[str, torch.Tensor]) -> bool:
    """Load an adapter onto a copy of the model; whether its logits are finite."""
    with torch.no_grad():
        logits = load_adapter(folder, backbone=copy.deepcopy(model))(**audio).logits
    return bool(torch.isfinite(logits).all())


def _new_config(adapter: Path, rng: random.Random) -> tuple[bytes, bytes, bool]:
    config = mutate_config(json.loads((adapter / CONFIG).read_bytes()), rng)
    return config, (adapter / WEIGHTS).read_bytes(), False


def _new_weights(adapter: Path, rng: random.Random) -> tuple[bytes, bytes, bool]:
    config, weights = json.loads((adapter / CONFIG).read_bytes()), (adapter / WEIGHTS).read_bytes()
    mutant = mutate_safetensors(weights, rng)
    keep = rng.random() < 0.5
    if not keep:
        config["weights_sha256"] = hashlib.sha256(mutant).hexdigest()
    return json.dumps(config).encode(), mutant, keep and mutant != weights
