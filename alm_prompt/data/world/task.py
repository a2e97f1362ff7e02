"""The downstream task of the world: twelve everyday classes, recorded under worse conditions than pre-training.

The shift has three parts. The compositions behind the classes are held out of pre-training (`is_held_out`), in every
texture. The clips carry room reverberation, coloured background noise and a dull microphone. Their level varies by
24 dB. The class names are everyday names that captions of *other* compositions use.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from ...errors import AlmPromptError
from ..sources import AudioClips, Clip, load_folder
from .grammar import Pattern, all_sounds
from .synth import NUM_SAMPLES, SAMPLING_RATE, Sound, filtered, render

WORLD_CLASSES: dict[str, Pattern] = {
    "bird song": Pattern("chirp", "high", "", "fast"),
    "bouncing ball": Pattern("drum", "mid", "steady falling", "accelerating"),
    "church bell": Pattern("bell", "low", "", "slow"),
    "clock ticking": Pattern("click", "high", "", "slow"),
    "electric hum": Pattern("buzz", "low", "steady", "continuous"),
    "falling whistle": Pattern("whistle", "mid high", "falling", "continuous"),
    "hand drum": Pattern("drum", "low", "", "fast"),
    "howling wind": Pattern("noise", "mid", "wobbling", "continuous"),
    "ocean waves": Pattern("noise", "low", "", "slow"),
    "police siren": Pattern("tone", "mid", "wobbling", "continuous"),
    "revving engine": Pattern("buzz", "low", "rising", "continuous"),
    "telephone ringing": Pattern("bell", "high", "", "fast"),
}

_MICROPHONE_HZ = (3000.0, 8000.0)
_SNR_DB = (0.0, 15.0)
_GAIN_DB = (-24.0, 0.0)
_REVERB_SECONDS = (0.2, 0.9)
_DIRECT_TO_REVERB_DB = (-3.0, 9.0)

# The points that `filtered` takes a response at; every other one for a signal without padding.
_FREQUENCIES = np.fft.rfftfreq(2 * NUM_SAMPLES, 1 / SAMPLING_RATE)


def is_held_out(sound: Sound) -> bool:
    """Whether `sound` belongs to the downstream task and must stay out of pre-training."""
    return any(pattern.fits(sound) for pattern in WORLD_CLASSES.values())


def world_clip(name: str, seed: int, index: int) -> np.ndarray:
    """One recording of a downstream class.

    Args:
        name: A key of `WORLD_CLASSES`.
        seed: Seed of the task.
        index: Which clip of the class; (`name`, `seed`, `index`) fixes every sample.

    Returns:
        `[32000]` float32 waveform at 16 kHz.

    Raises:
        AlmPromptError: The world has no class of that name.
    """
    if name not in WORLD_CLASSES:
        raise AlmPromptError(f"the sound world has no class {name!r}; it has {', '.join(WORLD_CLASSES)}")
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    rng = np.random.default_rng((seed, key, index))
    fitting = class_sounds(name)
    return record(render(fitting[int(rng.integers(len(fitting)))], rng), rng)


@cache
def class_sounds(name: str) -> tuple[Sound, ...]:
    """The compositions behind the downstream class `name`."""
    return tuple(sound for sound in all_sounds() if WORLD_CLASSES[name].fits(sound))


def record(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Puts a clean clip `[32000]` into a room, adds background noise, dulls both and sets the level."""
    cutoff = rng.uniform(*_MICROPHONE_HZ)
    wet = filtered(wave, _room(rng) * _low_pass(cutoff))
    noise = _background(rng, cutoff)
    snr = rng.uniform(*_SNR_DB)
    mixed = wet + noise * np.sqrt(np.square(wet).mean() / np.square(noise).mean()) * 10.0 ** (-snr / 20.0)
    level = 0.9 * 10.0 ** (rng.uniform(*_GAIN_DB) / 20.0)
    return (level * mixed / np.abs(mixed).max()).astype(np.float32)


def world_clips(seed: int = 0, per_class: int = 40) -> AudioClips:
    """The downstream task in memory.

    Args:
        seed: Seed of the task; another seed gives other recordings of the same classes.
        per_class: Number of clips of each of the twelve classes.

    Returns:
        `12 * per_class` clips, each two seconds of 16 kHz mono.

    Raises:
        AlmPromptError: `per_class` is not positive.
    """
    if per_class < 1:
        raise AlmPromptError(f"per_class is {per_class}; the sound world needs at least 1 clip per class")
    return AudioClips(
        Clip(
            source={"array": world_clip(name, seed, index), "sampling_rate": SAMPLING_RATE},
            label=name,
            clip_id=f"world-{seed}/{name}/{index:04d}",
        )
        for name in WORLD_CLASSES
        for index in range(per_class)
    )


def write_world(root: str | os.PathLike[str], seed: int = 0, per_class: int = 40) -> AudioClips:
    """Writes the downstream task as a folder of 16-bit wav files per class, and opens it.

    Args:
        root: Folder to create; it may be there already if it is empty.
        seed: See `world_clips`.
        per_class: See `world_clips`.

    Returns:
        The written clips, as `load_folder(root)` gives them.

    Raises:
        AlmPromptError: `root` is there already and is not an empty folder.
    """
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise AlmPromptError(f"{root} exists and is not an empty folder; give a new folder for the sound world")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        staging = Path(folder) / root.name
        for clip in world_clips(seed, per_class):
            path = staging / clip.label / f"{Path(clip.clip_id).name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, clip.source["array"], SAMPLING_RATE, subtype="PCM_16")
        os.replace(staging, root)
    return load_folder(root)


def _room(rng: np.random.Generator) -> np.ndarray:
    """Frequency response of a room: the direct sound and an exponentially decaying tail of noise."""
    time = np.arange(NUM_SAMPLES) / SAMPLING_RATE
    tail = rng.standard_normal(NUM_SAMPLES) * 10.0 ** (-3.0 * time / rng.uniform(*_REVERB_SECONDS))
    tail *= 10.0 ** (-rng.uniform(*_DIRECT_TO_REVERB_DB) / 20.0) / np.sqrt(np.square(tail).sum())
    tail[0] += 1.0
    return np.fft.rfft(tail, 2 * NUM_SAMPLES)


def _background(rng: np.random.Generator, cutoff: float) -> np.ndarray:
    """Noise between white and brown, through the microphone: `1 / f^exponent` in amplitude, flat below 60 Hz."""
    response = _low_pass(cutoff)[::2] * np.maximum(_FREQUENCIES[::2], 60.0) ** -rng.uniform(0.0, 1.0)
    return np.fft.irfft(np.fft.rfft(rng.standard_normal(NUM_SAMPLES)) * response)


def _low_pass(cutoff: float) -> np.ndarray:
    return 1.0 / np.sqrt(1.0 + (_FREQUENCIES / cutoff) ** 4)
