"""A procedural synthesiser: one sound per (source, pitch, motion, rhythm, texture), numpy only.

Every clip is two seconds of 16 kHz mono. Only the random generator that is handed in decides the free choices (exact
pitch, tempo, decay times), so a seed fixes a clip. Wave tables keep a clip at a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

SAMPLING_RATE = 16_000
SECONDS = 2.0
NUM_SAMPLES = int(SAMPLING_RATE * SECONDS)

PITCHES: dict[str, tuple[float, float]] = {"low": (140.0, 280.0), "mid": (520.0, 950.0), "high": (1700.0, 3000.0)}
MOTIONS = ("steady", "rising", "falling", "wobbling")
RHYTHMS = ("continuous", "single", "slow", "fast", "accelerating")
TEXTURES = ("clean", "rough", "hollow")

_TIME = np.arange(NUM_SAMPLES) / SAMPLING_RATE
_TABLE_SIZE = 4096
_BELL_PARTIALS = (
    (0.56, 0.5, 1.3),
    (1.0, 1.0, 1.0),
    (1.19, 0.5, 0.7),
    (1.71, 0.4, 0.55),
    (2.0, 0.5, 0.5),
    (2.74, 0.3, 0.3),
)


@dataclass(frozen=True)
class Sound:
    """One composition of the world: a value of each of the five attributes."""

    source: str
    pitch: str
    motion: str
    rhythm: str
    texture: str


@dataclass(frozen=True)
class Score:
    """What a source plays.

    Attributes:
        frequency: `[NUM_SAMPLES]` pitch in hertz.
        since_onset: `[NUM_SAMPLES]` seconds since the latest event began; negative before the first.
        gate: `[NUM_SAMPLES]` opening in 0..1 of a sustained source: one where it sounds, zero in the gaps.
    """

    frequency: np.ndarray
    since_onset: np.ndarray
    gate: np.ndarray


def render(sound: Sound, rng: np.random.Generator) -> np.ndarray:
    """Synthesises one clip.

    Args:
        sound: The composition to play.
        rng: Source of the choices that the composition leaves open.

    Returns:
        `[NUM_SAMPLES]` float32 waveform with a peak of 0.9.
    """
    onsets = _onsets(sound.rhythm, rng)
    score = _score(sound, onsets, rng)
    wave = _TEXTURES[sound.texture](VOICES[sound.source](score, rng), rng)
    return (0.9 * wave / max(float(np.abs(wave).max()), 1e-9)).astype(np.float32)


def filtered(wave: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Filters `wave` `[n]` by a frequency `response` sampled at the `rfftfreq` points of `2n`, without wrap-around."""
    size = 2 * len(wave)
    return np.fft.irfft(np.fft.rfft(wave, size) * response, size)[: len(wave)]


def _onsets(rhythm: str, rng: np.random.Generator) -> np.ndarray:
    start = rng.uniform(0.0, 0.15)
    if rhythm == "continuous":
        return np.array([0.0])
    if rhythm == "single":
        return np.array([start + rng.uniform(0.0, 0.3)])
    if rhythm == "accelerating":
        intervals = rng.uniform(0.38, 0.5) * rng.uniform(0.78, 0.84) ** np.arange(24)
        times = start + np.cumsum(np.maximum(intervals, 0.055))
    else:
        rate = rng.uniform(1.4, 2.6) if rhythm == "slow" else rng.uniform(6.0, 9.5)
        times = start + np.arange(int(SECONDS * rate) + 1) / rate
    return times[times < SECONDS - 0.03]


def _score(sound: Sound, onsets: np.ndarray, rng: np.random.Generator) -> Score:
    latest = np.searchsorted(onsets, _TIME, side="right") - 1
    since_onset = _TIME - onsets[np.maximum(latest, 0)]
    lengths = np.full(len(onsets), SECONDS)
    if len(onsets) > 1:
        gaps = np.diff(onsets)
        lengths = rng.uniform(0.45, 0.65) * np.append(gaps, gaps[-1])
    edge = 0.008
    remaining = lengths[np.maximum(latest, 0)] - since_onset
    gate = np.clip(np.minimum(since_onset, remaining) / edge, 0.0, 1.0)
    return Score(_frequency(sound, onsets, rng), since_onset, gate)


def _frequency(sound: Sound, onsets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    low, high = PITCHES[sound.pitch]
    base = low * (high / low) ** rng.uniform()
    # A lone event is over long before the clip is: its glide must happen while it sounds.
    span = 0.7 if sound.rhythm == "single" else SECONDS - onsets[0]
    progress = np.clip((_TIME - onsets[0]) / span, 0.0, 1.0)
    if sound.motion == "wobbling":
        turns = rng.uniform(1.6, 4.5) * _TIME + rng.uniform()
        octaves = rng.uniform(0.2, 0.4) * np.sin(2 * np.pi * turns)
    else:
        direction = {"steady": 0.0, "rising": 1.0, "falling": -1.0}[sound.motion]
        octaves = direction * rng.uniform(0.9, 1.5) * (progress - 0.5)
    return base * 2.0**octaves


@lru_cache(maxsize=64)
def _table(kind: str, harmonics: int) -> np.ndarray:
    angle = 2 * np.pi * np.arange(_TABLE_SIZE) / _TABLE_SIZE
    slope = {"sine": 9.0, "flute": 2.2, "saw": 0.75, "string": 1.3}[kind]
    orders = np.arange(1, harmonics + 1)
    return (orders[:, None] ** -slope * np.sin(orders[:, None] * angle)).sum(axis=0)


def _oscillate(kind: str, frequency: np.ndarray) -> np.ndarray:
    harmonics = int(np.clip(0.45 * SAMPLING_RATE / frequency.max(), 1, 40))
    cycles = np.cumsum(frequency) / SAMPLING_RATE
    return _table(kind, harmonics)[(cycles * _TABLE_SIZE).astype(np.int64) % _TABLE_SIZE]


def _band_noise(frequency: np.ndarray, smoothing: int, rng: np.random.Generator) -> np.ndarray:
    """Noise around a moving centre: slow noise multiplied onto two carriers in quadrature."""
    kernel = np.hanning(smoothing + 2)[1:-1]
    slow = [np.convolve(rng.standard_normal(NUM_SAMPLES), kernel, mode="same") for _ in range(2)]
    angle = 2 * np.pi * np.cumsum(frequency) / SAMPLING_RATE
    return (slow[0] * np.cos(angle) + slow[1] * np.sin(angle)) / np.sqrt((kernel**2).sum())


def _decay(score: Score, seconds: float, attack: float = 0.003) -> np.ndarray:
    since = score.since_onset
    return np.exp(-np.maximum(since, 0.0) / seconds) * np.clip(since / attack, 0.0, 1.0)


def _tone(score: Score, rng: np.random.Generator) -> np.ndarray:
    return score.gate * _oscillate("flute", score.frequency)


def _buzz(score: Score, rng: np.random.Generator) -> np.ndarray:
    detuned = _oscillate("saw", score.frequency * (1.0 + rng.uniform(0.004, 0.012)))
    return score.gate * (_oscillate("saw", score.frequency) + 0.6 * detuned)


def _whistle(score: Score, rng: np.random.Generator) -> np.ndarray:
    # A whistle sits an octave above the other sources and carries breath around its pitch.
    pitch = np.minimum(2.0 * score.frequency, 7000.0)
    return score.gate * (_oscillate("sine", pitch) + rng.uniform(0.1, 0.2) * _band_noise(pitch, 48, rng))


def _noise(score: Score, rng: np.random.Generator) -> np.ndarray:
    width = int(np.clip(2.0 * SAMPLING_RATE / score.frequency.mean(), 8, 128))
    return score.gate * _band_noise(score.frequency, width, rng)


def _bell(score: Score, rng: np.random.Generator) -> np.ndarray:
    ring = rng.uniform(0.35, 0.7)
    parts = [
        level * _decay(score, ring * length) * _oscillate("sine", np.minimum(ratio * score.frequency, 7500.0))
        for ratio, level, length in _BELL_PARTIALS
    ]
    return np.sum(parts, axis=0)


def _pluck(score: Score, rng: np.random.Generator) -> np.ndarray:
    bright = _decay(score, rng.uniform(0.05, 0.1)) * _oscillate("saw", score.frequency)
    return bright + _decay(score, rng.uniform(0.2, 0.4)) * _oscillate("string", score.frequency)


def _click(score: Score, rng: np.random.Generator) -> np.ndarray:
    burst = _band_noise(1.5 * score.frequency, 12, rng)
    return _decay(score, rng.uniform(0.004, 0.009), attack=0.0005) * burst


def _drum(score: Score, rng: np.random.Generator) -> np.ndarray:
    fall = 1.0 + 0.8 * np.exp(-np.maximum(score.since_onset, 0.0) / 0.03)
    body = _decay(score, rng.uniform(0.07, 0.13)) * _oscillate("sine", 0.5 * score.frequency * fall)
    slap = _decay(score, 0.012, attack=0.0005) * _band_noise(2.0 * score.frequency, 8, rng)
    return body + rng.uniform(0.1, 0.3) * slap


def _chirp(score: Score, rng: np.random.Generator) -> np.ndarray:
    length = rng.uniform(0.07, 0.11)
    since = np.clip(score.since_onset / length, 0.0, 1.0)
    sweep = np.minimum(1.3 * score.frequency * 2.0 ** (rng.uniform(0.5, 0.9) * (since - 0.5)), 7000.0)
    return np.sin(np.pi * since) * _oscillate("sine", sweep)


def _clean(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return wave


def _rough(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    driven = np.tanh(3.0 * wave / max(float(np.abs(wave).max()), 1e-9))
    flutter = np.sin(2 * np.pi * rng.uniform(35.0, 70.0) * _TIME)
    return driven * (0.55 + 0.45 * flutter)


def _hollow(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # A tube closed at one end: feedback with a sign change resonates at the odd multiples of 1 / (2 delay).
    delay = rng.uniform(0.0008, 0.0018)
    angle = 2 * np.pi * np.fft.rfftfreq(2 * NUM_SAMPLES, 1 / SAMPLING_RATE) * delay
    return filtered(wave, 1.0 / (1.0 + 0.85 * np.exp(-1j * angle)))


VOICES: dict[str, Callable[[Score, np.random.Generator], np.ndarray]] = {
    "tone": _tone,
    "buzz": _buzz,
    "whistle": _whistle,
    "noise": _noise,
    "bell": _bell,
    "pluck": _pluck,
    "click": _click,
    "drum": _drum,
    "chirp": _chirp,
}
STRUCK = ("bell", "pluck", "click", "drum", "chirp")
_TEXTURES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "clean": _clean,
    "rough": _rough,
    "hollow": _hollow,
}
