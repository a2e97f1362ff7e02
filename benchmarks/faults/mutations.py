"""Broken and hostile versions of a file, drawn from a seed."""

from __future__ import annotations

import json
import pickle
import random
from typing import Any

DEEP = 100_000
HOSTILE_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 10**9, -(10**9), 10**30, 0.5, -0.5, 1e300, float("nan"), float("inf")),
    *("", " ", "x", "x" * 10_000, "{}", "{} {}", "{0.__class__}", "{0.__init__.__globals__}", "%s%n", "{" * 1000),
    *("/etc/passwd", "../../../etc/passwd", "~/.ssh/id_rsa", "http://127.0.0.1:9/x", "file:///etc/passwd", "C:\\x"),
    *("\x00", "\x1b[2J", "a\n---\nb: c", "\u202edog", "\ud800", "'; import os", "__import__('os').system('true')"),
    *([], {}, [[]], [None], [""], ["dog"] * 3, ["a", 1], list(range(1000)), {"a": {"b": {}}}, {"dog": ["cat"] * 50}),
    *("ALM_COOP", "ALM_ZEBRA", "LORA", "ALM_MAGIC", "os.system", {"peft_type": "ALM_COOP"}, {"peft_type": "LORA"}),
)
HOSTILE_FIELDS: dict[str, Any] = {
    "auto_mapping": {"base_model_class": "system", "parent_library": "os"},
    "trust_remote_code": True,
    "target_modules": ["alm"],
    "modules_to_save": ["text_tower"],
    "base_model_name_or_path": "/etc",
    "model_kwargs": {"trust_remote_code": True},
    "torch_load": "weights.bin",
    "weights_only": False,
    "runtime_config": {"ephemeral_gpu_offload": True},
    "subfolder": "../..",
    "layer": "os.system",
    "__class__": "os.system",
    "__post_init__": "os.system",
    "method_class": "os.system",
    "n_ctx": 10**9,
    "ctx_init": "a " * 100_000,
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "revision": "refs/pr/1",
    "class_names": ["dog"] * 1000,
}


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, double, insert or overwrite bytes."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        start, length = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 4, 8, 64, 512))
        noise = rng.choice((rng.randbytes(length), b"\x00" * length, b"\xff" * length))
        kind = rng.randrange(6)
        if kind == 0 and data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[start : start + length] = noise
        elif kind == 2:
            data[start:start] = noise
        elif kind == 3:
            del data[start : start + length]
        elif kind == 4:
            data[start:start] = data[start : start + length]
        elif rng.random() < 0.2:
            del data[start:]
    return bytes(data)


def mutate_config(config: dict[str, Any], rng: random.Random) -> bytes:
    """A config whose text is damaged, or which is whole JSON with hostile content."""
    text = json.dumps(config, indent=2)
    kind = rng.randrange(10)
    if kind < 3:
        return mutate_bytes(text.encode(), rng)
    if kind == 3:
        return _nested(text, rng).encode()
    config = json.loads(text)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if rng.random() < 0.3:
            field = rng.choice(list(HOSTILE_FIELDS))
            _some_object(config, rng)[field] = HOSTILE_FIELDS[field]
        else:
            _replace_somewhere(config, rng)
    return json.dumps(config).encode()


def mutate_safetensors(data: bytes, rng: random.Random) -> bytes:
    """A file whose bytes are damaged, whose header lies, or which is a pickle."""
    kind = rng.randrange(10)
    if kind < 4:
        return mutate_bytes(data, rng)
    if kind == 4:
        return pickle.dumps({"learned_context": [0.0] * 100})
    length = int.from_bytes(data[:8], "little")
    if kind == 5:
        claimed = rng.choice((0, 1, length - 1, length + 1, 2**31, 2**63, 2**64 - 1))
        return claimed.to_bytes(8, "little") + data[8:]
    header = json.loads(data[8 : 8 + length])
    for _ in range(rng.choice((1, 1, 2))):
        _lie(header, rng)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _lie(header: dict[str, Any], rng: random.Random) -> None:
    name = rng.choice([key for key in header if key != "__metadata__"] or ["none"])
    entry = header.setdefault(name, {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]})
    kind = rng.randrange(7) if isinstance(entry, dict) else 6
    if kind == 0:
        entry["dtype"] = rng.choice(("F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "C64", "", "os", 7))
    elif kind == 1:
        entry["shape"] = rng.choice(([], [0], [-1], [10**9], [10**9] * 4, [2**63], [1] * 1000, "x", None))
    elif kind == 2:
        entry["data_offsets"] = [rng.choice((0, 1, -1, 4, 10**9, 2**63)), rng.choice((0, 4, 400, 10**12, 2**64 - 1))]
    elif kind == 3:
        other = rng.choice(("", "../x", "learned_context\x00", "alm.logit_scale", "a" * 5000, "\ud800"))
        header[other] = header.pop(name)
    elif kind == 4:
        header["base_model.model.alm.logit_scale"] = dict(entry)
    elif kind == 5:
        del header[name]
    else:
        _replace_somewhere(header, rng)


def _nested(text: str, rng: random.Random) -> str:
    """The config with one value nested without end: as lists, as objects, or as methods that wrap each other."""
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}"), ('{"peft_type": "ALM_ZEBRA", "prompt":', "}")))
    depth = rng.choice((10, 100, 900, 1000, 5000, DEEP))
    field = rng.choice(("prompt", "class_names", "descriptions", "extra", "auto_mapping"))
    return text.rstrip()[:-1] + f', "{field}": {opening * depth}0{closing * depth}}}'


def _objects(value: Any) -> list[Any]:
    """A value and all lists and objects in it that are not empty."""
    if not isinstance(value, dict | list) or not value:
        return []
    inner = value.values() if isinstance(value, dict) else value
    return [value, *(found for item in inner for found in _objects(item))]


def _some_object(config: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    return rng.choice([found for found in _objects(config) if isinstance(found, dict)] or [config])


def _replace_somewhere(config: dict[str, Any], rng: random.Random) -> None:
    # The whole is drawn as often as all that lies in it: long lists of numbers would take all the mutations.
    places = _objects(config)
    if not places:
        return
    place = rng.choice((places[0], rng.choice(places)))
    key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
    if rng.random() < 0.15:
        del place[key]
    else:
        place[key] = rng.choice(HOSTILE_VALUES)
