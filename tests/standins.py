"""Scaled-down stand-ins of the data sets of the catalog: generated sounds in the published layout."""

from __future__ import annotations

import csv
import io
import zlib
from pathlib import Path

import numpy as np
import soundfile

from alm_prompt.data import CATALOG, KnownDataset

RATE = 8_000
SAMPLES = 1_200  # 0.15 s
CLIPS_OF_CLASS = 4  # of sets without folds: three to learn from, one to test


def write_standins(root: Path) -> Path:
    """Write every published data set below `root`."""
    for known in CATALOG.values():
        if not known.exchanged_folds:
            write_standin(root, known)
    return root


def write_standin(root: Path, known: KnownDataset) -> Path:
    """Write one data set: its classes and folds with few clips; every clip is other audio.

    A set with folds has one or two clips of every class in each fold, and the first of them are the test list of the
    fixed pair. Folds 2 to 4 of TUT2017 are exchanged, as in what is published.
    """
    folder = root / known.folder
    folds = [name for name in known.fold_names if name]
    per_fold = 2 if 0 < len(folds) < 5 or len(known.class_names) < 10 else 1
    clips = CLIPS_OF_CLASS if not folds else per_fold * len(folds)
    rows = [_write_clip(folder, label, number) for label in known.class_names for number in range(clips)]
    if not folds:
        _write_lists(folder, "", rows, clips, {0})
    for place, fold in enumerate(folds):
        held_out = {number for number in range(clips) if number // per_fold == place}
        exchanged = known.name == "TUT2017" and fold != "1"
        _write_lists(folder / "csv_files", f"_{fold}", rows, clips, held_out, exchanged)
    if folds:
        _write_lists(folder / "csv_files", "", rows, clips, {0})
    return folder


def _write_clip(folder: Path, label: str, number: int) -> tuple[str, str]:
    seed = zlib.crc32(f"{folder.name}/{label}/{number}".encode())
    rng = np.random.default_rng(seed)
    pitch = 200 + zlib.crc32(label.encode()) % 2_000
    wave = 0.5 * np.sin(2 * np.pi * pitch * np.arange(SAMPLES) / RATE) + 0.1 * rng.standard_normal(SAMPLES)
    path = f"audios/{seed:08x}.wav"
    (folder / "audios").mkdir(parents=True, exist_ok=True)
    # soundfile waits for the disk after each file that it writes itself.
    encoded = io.BytesIO()
    soundfile.write(encoded, wave, RATE, subtype="PCM_16", format="WAV")
    (folder / path).write_bytes(encoded.getvalue())
    return path, label


def _write_lists(
    folder: Path, suffix: str, rows: list[tuple[str, str]], clips: int, held_out: set[int], exchanged: bool = False
) -> None:
    test = [row for place, row in enumerate(rows) if place % clips in held_out]
    train = [row for place, row in enumerate(rows) if place % clips not in held_out]
    folder.mkdir(exist_ok=True)
    for side, listed in (("train", test if exchanged else train), ("test", train if exchanged else test)):
        with (folder / f"{side}{suffix}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("path", "classname"), *listed])
