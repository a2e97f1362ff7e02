"""Audio of any format, rate, channels and length in; a mono float32 waveform at the rate of a model out.

Decoding is soundfile's (wav, flac, ogg, mp3 and more, without FFmpeg). Reading is deterministic and streams block by
block, so that memory grows with what is returned, not with the rate, the channels or the length of the file.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import torch

from ..errors import AlmPromptError
from .resampling import resampled_blocks, resampled_window, resampling_ratio

# A path, encoded bytes, a binary file, samples, or a mapping {"bytes", "path"} / {"array", "sampling_rate"}.
AudioSource = Any

_SAMPLES_PER_BLOCK = 2**18
# What is returned at once: 400 MB, 35 minutes at 48 kHz. Days of silence fit into a flac file of a few MB.
_MOST_SAMPLES = 10**8
_RATES = range(1_000, 1_000_001)
_INTEGER_ZERO_AND_SCALE = {"uint8": (128, 2**7), "int16": (0, 2**15), "int32": (0, 2**31)}


@dataclass(frozen=True)
class _Audio:
    """An opened source: `blocks(start, stop)` yields its samples as `[channels, n]` arrays."""

    rate: int
    num_samples: int
    blocks: Callable[[int, int], Iterator[np.ndarray]]


def read_waveform(
    source: AudioSource,
    sampling_rate: int | None = None,
    *,
    target_rate: int,
    max_seconds: float | None = None,
) -> torch.Tensor:
    """Read one clip as mono float32 samples at `target_rate`.

    Channels are averaged; the rate is converted by windowed-sinc interpolation (see `resampling.py`); values are never
    clipped or normalised. Silence and a single sample are audio like any other.

    Args:
        source: Path, encoded bytes, binary file object, samples as a NumPy array or tensor of shape `[n]` or
            `[channels, n]` (floats in [-1, 1], or uint8, int16, int32 PCM), or a mapping `{"array", "sampling_rate"}`
            or `{"bytes", "path"}` as `datasets` gives them.
        sampling_rate: Rate of `source` in Hz; needed for bare samples, ignored where the source states its own.
        target_rate: Rate of the result in Hz.
        max_seconds: Return only the centre of longer clips. Only that part of a file is checked and (but for mp3)
            decoded, and it equals the same window cut out of the whole clip.

    Returns:
        `[n]` float32, n >= 1.

    Raises:
        AlmPromptError: The source is missing, is no audio, holds no samples, holds NaN or infinite samples, or is
            longer than 10^8 samples at `target_rate`.
    """
    source = _fetched(source)
    name = _describe(source)
    with _open(source, sampling_rate, name) as audio:
        _check_rate(audio.rate, name)
        ratio = resampling_ratio(audio.rate, target_rate)
        max_samples = None if max_seconds is None else max(round(max_seconds * target_rate), 1)
        start, stop, first, length = resampled_window(audio.num_samples, ratio, max_samples)
        blocks = (_mono(block, name) for block in audio.blocks(start, stop))
        pieces = list(_bounded(resampled_blocks(blocks, ratio), name))
    wave = torch.cat(pieces)[first : first + length] if pieces else torch.empty(0)
    if not wave.numel():
        raise AlmPromptError(f"{name}: holds no samples: replace or remove it")
    return wave


def read_channels(source: AudioSource, sampling_rate: int | None = None) -> tuple[torch.Tensor, int]:
    """Read one clip as it is: all of its channels, at its own rate.

    Args:
        source: As in `read_waveform`.
        sampling_rate: Rate of bare samples in Hz.

    Returns:
        `[channels, n]` float32, n >= 1, and the rate in Hz.

    Raises:
        AlmPromptError: As in `read_waveform`.
    """
    source = _fetched(source)
    name = _describe(source)
    with _open(source, sampling_rate, name) as audio:
        blocks = list(_bounded(_channels(audio, name), name))
    if not blocks:
        raise AlmPromptError(f"{name}: holds no samples: replace or remove it")
    return torch.cat(blocks, dim=1), audio.rate


def check_decodable(source: AudioSource, sampling_rate: int | None = None) -> None:
    """Decode one clip to its end, of whatever length, and keep nothing of it.

    Args:
        source: As in `read_waveform`.
        sampling_rate: Rate of bare samples in Hz.

    Raises:
        AlmPromptError: As in `read_waveform`, but for the length.
    """
    source = _fetched(source)
    name = _describe(source)
    with _open(source, sampling_rate, name) as audio:
        if not sum(block.numel() for block in _channels(audio, name)):
            raise AlmPromptError(f"{name}: holds no samples: replace or remove it")


def content_hash(source: AudioSource, sampling_rate: int | None = None) -> str:
    """SHA-256 of the audio itself: the bytes of a file, or the samples with their shape, type and rate.

    The same file has the same hash whether it is given by path, bytes or mapping; names play no part.

    Args:
        source: As in `read_waveform`.
        sampling_rate: Rate of bare samples in Hz.

    Returns:
        64 hexadecimal digits.
    """
    source = _fetched(source)
    name = _describe(source)
    source, sampling_rate = _unwrap(source, sampling_rate, name)
    digest = hashlib.sha256()
    if _is_samples(source):
        samples = _as_array(source, name)
        digest.update(f"{samples.dtype.str} {samples.shape} {sampling_rate}".encode())
        digest.update(np.ascontiguousarray(samples).data)
        return digest.hexdigest()
    with _open_binary(source, name) as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


class _SoundFile(soundfile.SoundFile):
    def seekable(self) -> bool:
        """Say no: else soundfile seeks after every read to where it is already, and mp3 breaks at the seam."""
        return False


@contextmanager
def _open(source: AudioSource, sampling_rate: int | None, name: str) -> Iterator[_Audio]:
    source, sampling_rate = _unwrap(source, sampling_rate, name)
    if _is_samples(source):
        yield _open_samples(_as_array(source, name), sampling_rate, name)
        return
    with _open_binary(source, name) as binary:
        try:
            # TypeError: soundfile takes a name that ends in .raw for samples without a header.
            file = _SoundFile(binary)
        except (soundfile.SoundFileError, TypeError) as error:
            raise AlmPromptError(_undecodable(name, error)) from error
        with file:
            if file.frames >= 2**62:
                raise AlmPromptError(f"{name}: its header does not state its length: save the audio again")
            try:
                yield _Audio(file.samplerate, file.frames, lambda start, stop: _file_blocks(file, start, stop))
            except soundfile.SoundFileError as error:
                raise AlmPromptError(_undecodable(name, error)) from error


def _open_samples(samples: np.ndarray, sampling_rate: int | None, name: str) -> _Audio:
    if sampling_rate is None:
        raise AlmPromptError(f"{name}: its sampling rate is unknown: give sampling_rate")
    samples = samples[None] if samples.ndim == 1 else samples
    if samples.ndim != 2:
        raise AlmPromptError(f"{name}: samples must be [n] or [channels, n]")
    channels, count = samples.shape
    if channels == 0 or count == 0:
        raise AlmPromptError(f"{name}: holds no samples: replace or remove it")
    if channels > count > 1:
        raise AlmPromptError(f"{name}: more channels than samples: give [channels, n], not [n, channels]")
    step = max(_SAMPLES_PER_BLOCK // channels, 1)

    def blocks(start: int, stop: int) -> Iterator[np.ndarray]:
        return (samples[:, i : min(i + step, stop)] for i in range(start, stop, step))

    return _Audio(int(sampling_rate), count, blocks)


def _file_blocks(file: soundfile.SoundFile, start: int, stop: int) -> Iterator[np.ndarray]:
    if file.format == "MP3":
        # A frame of mp3 needs those before it: after a jump its decoder begins with noise, at a place nearby.
        for _ in _read(file, start):
            pass
    else:
        file.seek(start)
    for block in _read(file, stop - start):
        yield block.T


def _read(file: soundfile.SoundFile, count: int) -> Iterator[np.ndarray]:
    step = max(_SAMPLES_PER_BLOCK // file.channels, 1)
    while count > 0 and len(block := file.read(min(step, count), dtype="float32", always_2d=True)):
        count -= len(block)
        yield block


def _channels(audio: _Audio, name: str) -> Iterator[torch.Tensor]:
    _check_rate(audio.rate, name)
    return (_finite(_floats(block), name) for block in audio.blocks(0, audio.num_samples))


def _check_rate(rate: int, name: str) -> None:
    if rate not in _RATES:
        raise AlmPromptError(f"{name}: a sampling rate of {rate} Hz is outside {_RATES[0]}..{_RATES[-1]} Hz")


def _floats(block: np.ndarray) -> np.ndarray:
    # A float64 sample beyond float32 becomes infinite here and is refused by name.
    with np.errstate(over="ignore"):
        zero, scale = _INTEGER_ZERO_AND_SCALE.get(block.dtype.name, (0, 1))
        return (block.astype(np.float32) - zero) / scale


def _mono(block: np.ndarray, name: str) -> torch.Tensor:
    with np.errstate(over="ignore", invalid="ignore"):
        return _finite(_floats(block).mean(axis=0), name)


def _finite(samples: np.ndarray, name: str) -> torch.Tensor:
    if not np.isfinite(samples).all():
        raise AlmPromptError(f"{name}: holds NaN or infinite samples: repair or remove it")
    return torch.from_numpy(samples)


def _bounded(blocks: Iterator[torch.Tensor], name: str) -> Iterator[torch.Tensor]:
    """The same blocks, up to a total that memory has room for; what is there is counted, not what a header claims."""
    count = 0
    for block in blocks:
        count += block.numel()
        if count > _MOST_SAMPLES:
            raise AlmPromptError(f"{name}: more than {_MOST_SAMPLES:,} samples are too many at once: cut it up")
        yield block


def _fetched(source: AudioSource) -> AudioSource:
    # A clip of a data set fetches all of its audio whenever it is asked for any part.
    return dict(source.items()) if isinstance(source, Mapping) else source


def _unwrap(source: AudioSource, sampling_rate: int | None, name: str) -> tuple[AudioSource, int | None]:
    if not isinstance(source, Mapping):
        return source, sampling_rate
    if source.get("array") is not None:
        return np.asarray(source["array"]), source.get("sampling_rate", sampling_rate)
    for key in ("bytes", "path"):
        if source.get(key) is not None:
            return source[key], sampling_rate
    raise AlmPromptError(f'{name}: a mapping needs "array" and "sampling_rate", or "bytes" or "path"')


def _is_samples(source: AudioSource) -> bool:
    return isinstance(source, (np.ndarray, torch.Tensor))


def _as_array(source: np.ndarray | torch.Tensor, name: str) -> np.ndarray:
    if isinstance(source, torch.Tensor):
        source = source.detach().cpu()
        source = (source.float() if source.is_floating_point() else source).numpy()
    if source.dtype.kind != "f" and source.dtype.name not in _INTEGER_ZERO_AND_SCALE:
        allowed = ", ".join(_INTEGER_ZERO_AND_SCALE)
        raise AlmPromptError(f"{name}: samples of type {source.dtype} are not understood: give floats, {allowed}")
    return source


@contextmanager
def _open_binary(source: AudioSource, name: str) -> Iterator[BinaryIO]:
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if os.path.isdir(path):
            raise AlmPromptError(f"{name}: is a folder, not an audio file")
        try:
            file = path.open("rb")
        except FileNotFoundError as error:
            raise AlmPromptError(f"{name}: no such audio file") from error
        # ValueError: a path with a NUL in it.
        except (OSError, ValueError) as error:
            raise AlmPromptError(f"{name}: cannot be read ({getattr(error, 'strerror', error)})") from error
    elif isinstance(source, (bytes, bytearray, memoryview)):
        file = io.BytesIO(source)
    elif hasattr(source, "read"):
        _refuse_empty(source, name)
        yield source
        return
    else:
        raise AlmPromptError(f"{name}: is not audio: give a path, bytes, a binary file, samples or a mapping of these")
    with file:
        _refuse_empty(file, name)
        yield file


def _refuse_empty(file: BinaryIO, name: str) -> None:
    try:
        size = file.seek(0, io.SEEK_END)
    except OSError as error:
        raise AlmPromptError(f"{name}: is a pipe or another stream without a way back: save it as a file") from error
    if not size:
        raise AlmPromptError(f"{name}: is empty (0 bytes): replace or remove it")
    file.seek(0)


def _undecodable(name: str, error: Exception) -> str:
    reason = getattr(error, "error_string", "") or "no audio header"
    return f"{name}: cannot be decoded as audio ({reason.strip().rstrip('.')}): give a wav, flac, ogg or mp3 file"


def _describe(source: AudioSource) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    if isinstance(source, Mapping):
        return str(source.get("path") or "audio given as a mapping")
    if _is_samples(source):
        return f"samples of shape {tuple(source.shape)}"
    return f"audio of type {type(source).__name__}"
