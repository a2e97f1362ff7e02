"""How runs were made, in words: what stands under every table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ...methods.expression import changed_options
from ..measures import TEST_TIME
from .summaries import Row, dataset_of, model_of, protocol_of, track_of

UNKNOWN = "not recorded"


def settings_of(rows: Sequence[Row]) -> dict[str, str]:
    """What a reader must know to repeat or to judge the runs.

    Where methods differ in a setting, it says which method has which.

    Args:
        rows: the rows of one table.
    """
    options = {row["method"]: _options([one for one in rows if one["method"] == row["method"]]) for row in rows}
    settings = {
        "track": ", ".join(dict.fromkeys(map(track_of, rows))),
        "protocol": ", ".join(dict.fromkeys(map(protocol_of, rows))),
        "model": ", ".join(dict.fromkeys(model_of(row) or UNKNOWN for row in rows)),
        "data": ", ".join(dict.fromkeys(dataset_of(row) or UNKNOWN for row in rows)),
        "shots": _shots(rows),
        "seeds": _listed(rows, "seed"),
        "folds": _listed(rows, "fold", absent="single"),
        "encoders": _by_method(rows, lambda row: row.get("encoder_mode", UNKNOWN)),
        "class text": _by_method(rows, _class_text),
        "logit scale": _by_method(rows, lambda row: f"{row['logit_scale']:.2f}" if "logit_scale" in row else UNKNOWN),
        "method options": _by_method(rows, lambda row: options[row["method"]]),
        "training": _by_method(rows, _training),
        "class rule": _listed(rows, "class_rule", absent=UNKNOWN),
        "shot rule": _listed(rows, "shot_rule", absent=UNKNOWN),
        "classes": _classes(rows),
        "split hash": _hashes(rows, "split_hash"),
        "settings hash": _hashes(rows, "settings"),
    }
    if any("descriptions_hash" in row for row in rows):
        settings["descriptions hash"] = _hashes(rows, "descriptions_hash")
    leaked, clashing = (max(row.get(key, 0) for row in rows) for key in ("leaked_clips", "clashing_clips"))
    if leaked or clashing:
        settings["duplicates"] = f"kept: up to {leaked} test clips of a run also in training, {clashing} of two labels"
    return settings


def is_trained(row: Row) -> bool:
    """Whether a run learned from its training clips."""
    return row.get("trainable_parameters") != 0 and row.get("measure") != TEST_TIME


def has_fewer(row: Row) -> bool:
    """Whether a run learned from fewer clips than its shots say, as a class had fewer."""
    return is_trained(row) and "train_clips" in row and row["train_clips"] < row["shots"] * len(row["base_classes"])


def _shots(rows: Sequence[Row]) -> str:
    if not any(map(is_trained, rows)):
        return "none, nothing is trained"
    clips = sorted({row["train_clips"] for row in rows if has_fewer(row)})
    if not clips:
        return _listed(rows, "shots")
    least_and_most = " to ".join(map(str, dict.fromkeys((clips[0], clips[-1]))))
    return f"{_listed(rows, 'shots')}, fewer where a class has fewer: {least_and_most} training clips"


def _listed(rows: Sequence[Row], key: str, absent: str = "") -> str:
    values = dict.fromkeys(row.get(key) for row in rows)
    return ", ".join(absent if value is None else str(value) for value in values)


def _by_method(rows: Sequence[Row], setting: Callable[[Row], str]) -> str:
    methods: dict[str, dict[str, None]] = {}
    for row in rows:
        methods.setdefault(setting(row), {})[row["method"]] = None
    if len(methods) == 1:
        return next(iter(methods))
    return ", ".join(f"{value} ({', '.join(labels)})" for value, labels in methods.items())


def _class_text(row: Row) -> str:
    if row.get("described"):
        return "classes by their descriptions"
    return f"template {row['template']!r}" if "template" in row else UNKNOWN


def _options(rows: Sequence[Row]) -> str:
    """What a method was told beyond its defaults, as `--method-options` takes it."""
    if not all("config" in row for row in rows):
        return UNKNOWN
    given: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in changed_options(row["config"]).items():
            given.setdefault(name, []).append(value)
    return " ".join(f"{name}={_values(values)}" for name, values in given.items()) or "defaults"


def _values(values: Sequence[Any]) -> str:
    """A value, of every data set where they differ; texts per class as one hash over those of all data sets."""
    if any(isinstance(value, dict) for value in values):
        return f"own ({_digest(json.dumps(value, sort_keys=True) for value in values)})"
    return " or ".join(dict.fromkeys(map(repr, values)))


def _training(row: Row) -> str:
    if "training" not in row:
        return UNKNOWN
    changed = ", ".join(f"{name} {value}" for name, value in row["training"].items())
    return changed or "published recipe"


def _classes(rows: Sequence[Row]) -> str:
    """How many, as long as all rows agree: over several data sets there is no one number."""
    counts = {(len(row.get("base_classes", ())), len(row.get("novel_classes", ()))) for row in rows}
    if len(counts) > 1:
        return "those of each data set"
    [(base, novel)] = counts
    return f"{base} base, {novel} novel" if novel else str(base)


def _hashes(rows: Sequence[Row], key: str) -> str:
    """One short hash over the hashes of all runs, and how many different ones there are."""
    hashes = {row[key] for row in rows if key in row}
    return f"{_digest(hashes)} (of {len(hashes)})" if hashes else UNKNOWN


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256(json.dumps(sorted(set(texts))).encode()).hexdigest()[:12]
