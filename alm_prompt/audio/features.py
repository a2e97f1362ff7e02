"""Log-mel front ends: pure functions of a mono waveform and a `LogMelSpec`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import torch
from transformers.audio_utils import mel_filter_bank

from ..errors import AlmPromptError

PadMode = Literal["repeatpad", "tile", "zero"]

# Frames transformed at a time: bounds the memory of an hour of audio at about 100 MB.
_FRAMES_PER_BLOCK = 4096


@dataclass(frozen=True)
class LogMelSpec:
    """Everything that determines a log-mel spectrogram. The defaults are those of unfused LAION CLAP.

    Other front ends are other values: Pengi and MS-CLAP 2023 build the filters for 32 kHz but apply them to 44.1 kHz
    audio (`mel_rate=32000`), YAMNet takes magnitudes, triangles in mel space and `ln(mel + 0.001)`.
    """

    sampling_rate: int = field(default=48_000, metadata={"help": "Rate of the waveform in Hz."})
    n_fft: int = field(default=1024, metadata={"help": "Length of the Fourier transform in samples."})
    win_length: int = field(default=1024, metadata={"help": "Length of a frame and its periodic Hann window."})
    hop_length: int = field(default=480, metadata={"help": "Samples between the starts of two frames."})
    n_mels: int = field(default=64, metadata={"help": "Number of mel bands."})
    f_min: float = field(default=50.0, metadata={"help": "Lower edge of the first mel band in Hz."})
    f_max: float = field(default=14_000.0, metadata={"help": "Upper edge of the last mel band in Hz."})
    mel_scale: Literal["slaney", "htk", "kaldi"] = field(default="slaney", metadata={"help": "Mel formula."})
    mel_norm: Literal["slaney"] | None = field(default="slaney", metadata={"help": "Area normalisation, or none."})
    triangles_in_mel_space: bool = field(default=False, metadata={"help": "Draw the triangles over mel, not Hz."})
    power: float = field(default=2.0, metadata={"help": "Exponent of the magnitude: 1 magnitude, 2 power."})
    center: bool = field(default=True, metadata={"help": "Centre frame t on sample t*hop_length (reflect padding)."})
    log: Literal["db", "ln"] = field(default="db", metadata={"help": "10*log10 or the natural logarithm."})
    log_floor: float = field(default=1e-10, metadata={"help": "Mel values below it are raised to it."})
    log_offset: float = field(default=0.0, metadata={"help": "Added to every mel value before the logarithm."})
    mel_rate: int | None = field(default=None, metadata={"help": "Rate the filters are built for, if another."})

    def __post_init__(self):
        if not 0 < self.win_length <= self.n_fft:
            raise AlmPromptError(f"win_length={self.win_length} must lie between 1 and n_fft={self.n_fft}")
        for name in ("hop_length", "n_mels", "sampling_rate"):
            if getattr(self, name) < 1:
                raise AlmPromptError(f"{name}={getattr(self, name)} must be at least 1")
        if self.log not in ("db", "ln"):
            raise AlmPromptError(f"log={self.log!r} is unknown: use 'db' or 'ln'")
        if self.log_floor + self.log_offset <= 0:
            raise AlmPromptError(
                f"log_floor={self.log_floor} and log_offset={self.log_offset} must add up to more than 0, or silence "
                "has no logarithm"
            )

    def num_samples(self, frames: int) -> int:
        """Fewest samples that give `frames` whole frames."""
        return max((frames - 1) * self.hop_length + (0 if self.center else self.win_length), 1)

    def num_frames(self, samples: int) -> int:
        """Number of frames that `samples` samples give, at least one."""
        whole = samples if self.center else max(samples - self.win_length, 0)
        return 1 + whole // self.hop_length


@lru_cache(maxsize=32)
def mel_filters(spec: LogMelSpec) -> torch.Tensor:
    """Mel filter matrix of a front end.

    Returns:
        `[n_fft // 2 + 1, n_mels]` float64; cached and shared, so do not write into it.
    """
    filters = mel_filter_bank(
        num_frequency_bins=spec.n_fft // 2 + 1,
        num_mel_filters=spec.n_mels,
        min_frequency=spec.f_min,
        max_frequency=spec.f_max,
        sampling_rate=spec.mel_rate or spec.sampling_rate,
        norm=spec.mel_norm,
        mel_scale=spec.mel_scale,
        triangularize_in_mel_space=spec.triangles_in_mel_space,
    )
    return torch.from_numpy(filters)


def log_mel(wave: torch.Tensor, spec: LogMelSpec, filters: torch.Tensor | None = None) -> torch.Tensor:
    """Log-mel spectrogram of one clip.

    Args:
        wave: `[n]` mono samples at `spec.sampling_rate`, n >= 1. What is too short for a frame is padded with zeros.
        spec: The front end.
        filters: `[n_fft // 2 + 1, n_mels]` mel filters to use in place of those of `spec`.

    Returns:
        `[T, n_mels]` float32 with T = `spec.num_frames(n)`.
    """
    _check_wave(wave)
    # float64 throughout: next to a loud tone, float32 rounding of the transform would reach above the 1e-10 floor.
    wave = wave.double()
    num_frames = spec.num_frames(wave.numel())
    margin = spec.win_length // 2 if spec.center else 0
    shortest = margin + 1 if spec.center else spec.win_length
    wave = torch.nn.functional.pad(wave, (0, max(shortest - wave.numel(), 0)))
    if margin:
        wave = torch.nn.functional.pad(wave[None], (margin, margin), mode="reflect")[0]
    window = torch.hann_window(spec.win_length, periodic=True, dtype=torch.float64)
    filters = mel_filters(spec) if filters is None else filters.double()
    frames = wave.unfold(0, spec.win_length, spec.hop_length)[:num_frames]
    # rfft pads on the right where torch.stft would centre the window in n_fft, which shifts every frame.
    blocks = [
        _log(torch.fft.rfft(block * window, n=spec.n_fft).abs().pow(spec.power) @ filters, spec)
        for block in frames.split(_FRAMES_PER_BLOCK)
    ]
    return torch.cat(blocks)


def fit_length(wave: torch.Tensor, length: int, pad: PadMode = "repeatpad") -> torch.Tensor:
    """Bring a clip to a fixed length, always in the same way.

    Longer clips lose both ends (centre crop from sample (n - length) // 2). Shorter ones are filled by `pad`:
    "repeatpad" repeats the clip floor(length / n) times, then adds zeros (LAION CLAP); "tile" repeats it
    ceil(length / n) times and cuts (Pengi, MS-CLAP); "zero" adds zeros.

    Args:
        wave: `[n]` mono samples, n >= 1.
        length: Number of samples wanted.
        pad: How to fill.

    Returns:
        `[length]`.
    """
    _check_wave(wave)
    n = wave.numel()
    if n >= length:
        start = (n - length) // 2
        return wave[start : start + length]
    if pad == "tile":
        return wave.repeat(math.ceil(length / n))[:length]
    if pad == "repeatpad":
        wave = wave.repeat(length // n)
    elif pad != "zero":
        raise AlmPromptError(f"pad={pad!r} is unknown: use 'repeatpad', 'tile' or 'zero'")
    return torch.nn.functional.pad(wave, (0, length - wave.numel()))


def pad_to_patches(wave: torch.Tensor, spec: LogMelSpec, frames: int, hop: int) -> torch.Tensor:
    """Add zeros so that `patches` covers a clip to its last sample (YAMNet's rule).

    Args:
        wave: `[n]` mono samples, n >= 1.
        spec: The front end that will turn the result into frames.
        frames: Frames per patch.
        hop: Frames between the starts of two patches.

    Returns:
        `[m]` with m = num_samples(frames) + k * hop * hop_length for the smallest k that gives m >= n.
    """
    _check_wave(wave)
    first, step = spec.num_samples(frames), hop * spec.hop_length
    target = first + step * max(math.ceil((wave.numel() - first) / step), 0)
    return torch.nn.functional.pad(wave, (0, target - wave.numel()))


def patches(log_mel: torch.Tensor, frames: int, hop: int) -> torch.Tensor:
    """Cut a log-mel spectrogram into overlapping patches; frames left over at the end are dropped.

    Args:
        log_mel: `[T, n_mels]` with T >= frames.
        frames: Frames per patch.
        hop: Frames between the starts of two patches.

    Returns:
        `[P, frames, n_mels]` with P = 1 + (T - frames) // hop.
    """
    if log_mel.shape[0] < frames:
        raise AlmPromptError(f"{log_mel.shape[0]} frames are fewer than one patch of {frames}: pad the waveform first")
    return log_mel.unfold(0, frames, hop).transpose(1, 2).contiguous()


def fusion_views(log_mel: torch.Tensor, frames: int) -> torch.Tensor:
    """What feature fusion reads of a long clip: all of it, shrunk, and three parts (arXiv 2211.06687, section 3.3).

    The published code draws each part at random from a third of the possible starts; here it is the middle one.

    Args:
        log_mel: `[T, n_mels]` with T > frames.
        frames: Frames of a view.

    Returns:
        `[4, frames, n_mels]`: the whole, then parts from its front, middle and back.
    """
    thirds = torch.arange(len(log_mel) - frames + 1).tensor_split(3)
    # Two or three possible starts leave no more than one for a third, and none for the last ones.
    starts = [int(third[len(third) // 2]) if len(third) else 0 for third in thirds]
    size = (frames, log_mel.shape[1])
    whole = torch.nn.functional.interpolate(log_mel[None, None], size, mode="bilinear", align_corners=False)[0]
    return torch.cat([whole, torch.stack([log_mel[start : start + frames] for start in starts])])


def _log(mel: torch.Tensor, spec: LogMelSpec) -> torch.Tensor:
    mel = mel.clamp(min=spec.log_floor) + spec.log_offset
    return (10.0 * mel.log10() if spec.log == "db" else mel.log()).float()


def _check_wave(wave: torch.Tensor) -> None:
    if wave.ndim != 1 or wave.numel() == 0:
        raise AlmPromptError(f"a waveform must be [n] with n >= 1, not of shape {tuple(wave.shape)}")
