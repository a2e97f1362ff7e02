"""Broken and lying audio files: every one is decoded to finite samples, or refused in one line."""

from __future__ import annotations

import contextlib
import io
import random
import time
from collections import Counter
from typing import Any

import numpy as np
import soundfile
import torch

from alm_prompt import AlmPromptError
from alm_prompt.audio.waveform import read_waveform

from .mutations import mutate_bytes
from .watch import peak_mb, watched

RATE = 16_000
FORMATS: dict[str, dict[str, Any]] = {
    "wav": {"format": "WAV", "subtype": "PCM_16"},
    "wav float": {"format": "WAV", "subtype": "FLOAT"},
    "wav adpcm": {"format": "WAV", "subtype": "IMA_ADPCM"},
    "flac": {"format": "FLAC"},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3"},
}
MAX_SECONDS = 10.0


def audio_files(seconds: float = 0.4) -> dict[str, bytes]:
    """One stereo clip in every format."""
    generator = np.random.default_rng(0)
    wave = generator.uniform(-0.5, 0.5, (round(seconds * RATE), 2))
    files = {}
    for name, options in FORMATS.items():
        file = io.BytesIO()
        soundfile.write(file, wave, RATE, **options)
        files[name] = file.getvalue()
    return files


def attack(count: int, seed: int, hours: bool = False) -> dict[str, Any]:
    """Read mutants of audio files, whole and by their centre.

    Args:
        count: number of mutants.
        seed: of the mutations.
        hours: read five hours of silence, too.

    Returns:
        How many were refused and read, the slowest in seconds, and lists of what must not be: `crashes`, `not_finite`,
        `forbidden`.
    """
    rng = random.Random(seed)
    files = audio_files()
    outcome: Counter[str] = Counter()
    faults: dict[str, list[str]] = {"crashes": [], "not_finite": [], "forbidden": []}
    slowest = 0.0
    for number in range(count):
        name = rng.choice(list(files))
        data = lie_in_header(files[name], rng) if rng.random() < 0.3 else mutate_bytes(files[name], rng)
        start = time.perf_counter()
        with watched() as watch:
            try:
                waves = [read_waveform(data, target_rate=RATE, max_seconds=seconds) for seconds in (None, MAX_SECONDS)]
                outcome["read"] += 1
                if not all(torch.isfinite(wave).all() and len(wave) for wave in waves):
                    faults["not_finite"].append(f"{number}: {name}")
            except AlmPromptError as error:
                outcome["refused"] += 1
                if not str(error).isprintable():
                    faults["crashes"].append(f"{number}: {name}: not one line: {str(error)!r}")
            except BaseException as error:
                faults["crashes"].append(f"{number}: {name}: {type(error).__name__}: {str(error)[:200]}")
        slowest = max(slowest, time.perf_counter() - start)
        faults["forbidden"] += [f"{number}: {event}" for event in watch.events]
    figures = {"slowest_seconds": round(slowest, 2), "peak_mb": round(peak_mb())}
    if hours:
        figures["hours_grow_mb"] = round(_read_hours())
    return {"mutants": count, **outcome, **faults, **figures}


def _read_hours() -> float:
    """By how many MiB the most memory grows over five hours of silence in a small file, which are refused."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE, channels=1, format="FLAC") as flac:
        for _ in range(5 * 60):
            flac.write(np.zeros(60 * RATE, np.int16))
    before = peak_mb()
    with contextlib.suppress(AlmPromptError):
        read_waveform(file.getvalue(), target_rate=RATE)
        raise AssertionError("five hours were read at once")
    return peak_mb() - before


def lie_in_header(data: bytes, rng: random.Random) -> bytes:
    """Overwrite a field at the beginning with a number that claims hours, thousands of channels or any rate."""
    data = bytearray(data)
    size = rng.choice((1, 2, 4, 8))
    start = rng.randrange(min(len(data), 128))
    number = rng.choice((0, 1, 2**7, 2**15, 2**16, 10**6, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**64 - 1))
    data[start : start + size] = (number % 2 ** (8 * size)).to_bytes(size, rng.choice(("little", "big")))
    return bytes(data)
