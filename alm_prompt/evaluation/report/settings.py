"""How runs were made, in words: what stands under every table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

from .summaries import Row, dataset_of, model_of, protocol_of, track_of

UNKNOWN = "not recorded"


def settings_of(rows: Sequence[Row]) -> dict[str, str]:
    """What a reader must know to repeat or to judge the runs.

    Where methods differ in a setting, it says which method has which.

    Args:
        rows: the rows of one table.
    """
    settings = {
        "track": ", ".join(dict.fromkeys(map(track_of, rows))),
        "protocol": ", ".join(dict.fromkeys(map(protocol_of, rows))),
        "model": ", ".join(dict.fromkeys(model_of(row) or UNKNOWN for row in rows)),
        "data": ", ".join(dict.fromkeys(dataset_of(row) or UNKNOWN for row in rows)),
        "shots": _listed(rows, "shots"),
        "seeds": _listed(rows, "seed"),
        "folds": _listed(rows, "fold", absent="single"),
        "encoders": _by_method(rows, lambda row: row.get("encoder_mode", UNKNOWN)),
        "class text": _by_method(rows, _class_text),
        "logit scale": _by_method(rows, lambda row: f"{row['logit_scale']:.2f}" if "logit_scale" in row else UNKNOWN),
        "training": _by_method(rows, _training),
        "class rule": _listed(rows, "class_rule", absent=UNKNOWN),
        "shot rule": _listed(rows, "shot_rule", absent=UNKNOWN),
        "classes": _classes(rows),
        "split hash": _digest(rows, "split_hash"),
        "settings hash": _digest(rows, "settings"),
    }
    leaked, clashing = (max(row.get(key, 0) for row in rows) for key in ("leaked_clips", "clashing_clips"))
    if leaked or clashing:
        settings["duplicates"] = f"kept: up to {leaked} test clips of a run also in training, {clashing} of two labels"
    return settings


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


def _digest(rows: Sequence[Row], key: str) -> str:
    """One short hash over the hashes of all runs, and how many different ones there are."""
    hashes = sorted({row[key] for row in rows if key in row})
    whole = hashlib.sha256(json.dumps(hashes).encode()).hexdigest()
    return f"{whole[:12]} (of {len(hashes)})" if hashes else UNKNOWN
