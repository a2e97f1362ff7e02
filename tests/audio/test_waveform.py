"""Reading audio: every format, sample type and shape that is taken, and every bad file that is refused by name."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from alm_prompt.audio import read_waveform
from alm_prompt.errors import AlmPromptError

RATE = 16_000


def tone(seconds: float = 0.5, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = RATE, **options: str | None) -> Path:
    """Write `[n]` or `[n, channels]` samples."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    return path


def encoded(samples: np.ndarray, rate: int = RATE, **options: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, **{"format": "WAV", **options})
    return buffer.getvalue()


def refusal(source, **options) -> str:
    with pytest.raises(AlmPromptError) as caught:
        read_waveform(source, **{"target_rate": RATE, **options})
    message = str(caught.value)
    assert "\n" not in message
    return message


FORMATS = [
    ("wav", "PCM_U8", 1e-2),
    ("wav", "PCM_16", 1e-4),
    ("wav", "PCM_24", 1e-6),
    ("wav", "FLOAT", 0),
    ("wav", "DOUBLE", 0),
    ("flac", "PCM_16", 1e-4),
    ("ogg", "VORBIS", 5e-2),
    ("ogg", "OPUS", 2e-1),
    ("mp3", "MPEG_LAYER_III", 5e-2),
    ("aiff", "PCM_16", 1e-4),
]


@pytest.mark.parametrize(("suffix", "subtype", "tolerance"), FORMATS)
def test_formats(tmp_path: Path, suffix: str, subtype: str, tolerance: float) -> None:
    samples = tone()
    path = write(tmp_path / f"clip.{suffix}", samples, subtype=subtype)
    wave = read_waveform(path, target_rate=RATE)
    assert wave.dtype == torch.float32
    assert wave.shape == (len(samples),)
    # Lossy codecs are judged away from the ends, where they ring.
    inner = slice(1000, -1000) if suffix in ("ogg", "mp3") else slice(None)
    np.testing.assert_allclose(wave[inner].numpy(), samples[inner], atol=tolerance, rtol=0)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_are_averaged(tmp_path: Path, channels: int) -> None:
    frames = np.random.default_rng(0).uniform(-1, 1, (5000, channels)).astype(np.float32)
    path = write(tmp_path / "clip.wav", frames, subtype="FLOAT")
    expected = [sum(frame) / channels for frame in frames.astype(np.float64)]
    for source, rate in ((path, None), (frames.T, RATE), (torch.from_numpy(frames.T), RATE)):
        np.testing.assert_allclose(read_waveform(source, rate, target_rate=RATE), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 47_999, 48_000, 96_000, 192_000])
def test_rates_give_the_same_sound(tmp_path: Path, rate: int) -> None:
    path = write(tmp_path / "clip.wav", tone(1, rate), rate, subtype="FLOAT")
    wave = read_waveform(path, target_rate=RATE)
    assert abs(len(wave) - RATE) <= 5
    middle = slice(4000, 12_000)
    # 47,999 Hz is read as 48,000 Hz: 0.3 samples late at the middle of the clip.
    np.testing.assert_allclose(wave[middle], tone(1)[: len(wave)][middle], atol=5e-2 if rate == 47_999 else 5e-3)


def test_every_kind_of_source_gives_the_same_waveform(tmp_path: Path) -> None:
    samples = tone(rate=44_100)
    path = write(tmp_path / "clip.wav", samples, 44_100, subtype="FLOAT")
    expected = read_waveform(path, target_rate=RATE)
    data = path.read_bytes()
    with path.open("rb") as file:
        file.read(7)
        sources = [
            (str(path), None),
            (data, None),
            (bytearray(data), None),
            (io.BytesIO(data), None),
            (file, None),
            (samples, 44_100),
            (samples[None], 44_100),
            (samples.astype(np.float64), 44_100),
            (torch.from_numpy(samples), 44_100),
            ({"bytes": data, "path": None}, None),
            ({"bytes": None, "path": str(path)}, None),
            ({"array": samples, "sampling_rate": 44_100}, None),
            ({"array": samples.tolist(), "sampling_rate": 44_100}, None),
        ]
        for source, rate in sources:
            assert torch.equal(read_waveform(source, rate, target_rate=RATE), expected)
        assert not file.closed


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("uint8", [0, 64, 128, 192]),
        ("int16", [-(2**15), -(2**14), 0, 2**14]),
        ("int32", [-(2**31), -(2**30), 0, 2**30]),
    ],
)
@pytest.mark.parametrize("kind", [np.array, lambda values, dtype: torch.tensor(values, dtype=getattr(torch, dtype))])
def test_integer_samples_are_scaled_to_one(dtype: str, values: list[int], kind) -> None:
    wave = read_waveform(kind(values, dtype=dtype), RATE, target_rate=RATE)
    assert wave.tolist() == [-1.0, -0.5, 0.0, 0.5]


def test_values_are_not_clipped() -> None:
    assert read_waveform(np.array([3.0, -2.0]), RATE, target_rate=RATE).tolist() == [3.0, -2.0]


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 192_000])
def test_one_sample_and_silence_are_audio(tmp_path: Path, rate: int) -> None:
    one = read_waveform(write(tmp_path / "one.wav", np.array([0.5]), rate), target_rate=RATE, max_seconds=10)
    assert one.shape == (max(RATE // rate, 1),)
    silent = read_waveform(write(tmp_path / "silent.wav", np.zeros(rate), rate), target_rate=RATE)
    assert silent.shape == (RATE,)
    assert not silent.any()


@pytest.mark.parametrize("name", ["ein Hund bellt.wav", "дождь/сирена 🚨.flac", "a'b\"c %20#?.wav", "no-suffix"])
def test_any_path(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encoded(tone()))
    assert read_waveform(str(path), target_rate=RATE).shape == (RATE // 2,)


@pytest.mark.parametrize(
    ("suffix", "subtype", "rate"),
    [
        *((suffix, None, rate) for suffix in ("wav", "flac", "ogg", "mp3") for rate in (8_000, 16_000, 44_100)),
        ("ogg", "OPUS", 48_000),
    ],
)
def test_max_seconds_is_the_centre_of_the_whole_clip(
    tmp_path: Path, suffix: str, subtype: str | None, rate: int
) -> None:
    sweep = np.sin(np.cumsum(np.linspace(0.01, 0.4, 20 * rate))).astype(np.float32) * 0.5
    path = write(tmp_path / f"clip.{suffix}", sweep, rate, subtype=subtype)
    whole = read_waveform(path, target_rate=RATE)
    start = (len(whole) - 3 * RATE) // 2
    part = read_waveform(path, target_rate=RATE, max_seconds=3)
    torch.testing.assert_close(part, whole[start : start + 3 * RATE], atol=1e-5, rtol=0)
    assert torch.equal(read_waveform(path, target_rate=RATE, max_seconds=1e4), whole)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_long_clips_are_read_in_blocks_without_seams(tmp_path: Path, suffix: str) -> None:
    sweep = np.sin(np.cumsum(np.linspace(0.01, 0.4, 20 * 44_100))).astype(np.float32) * 0.5
    path = write(tmp_path / f"clip.{suffix}", np.stack([sweep] * 2, axis=1), 44_100)
    decoded, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(read_waveform(path, target_rate=44_100), decoded.mean(axis=1), atol=1e-6, rtol=0)


def write_an_hour(path: Path) -> None:
    second = np.random.default_rng(0).integers(-3, 3, (8_000, 2)).astype(np.int16)
    with soundfile.SoundFile(path, "w", 8_000, 2) as file:
        for _ in range(3600):
            file.write(second)


MEASURE_MEMORY = """
import resource, sys
from alm_prompt.audio import read_waveform
def grown():
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
read_waveform([PATH], target_rate=4_000, max_seconds=1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert len(read_waveform([PATH], target_rate=4_000, max_seconds=60)) == 60 * 4_000
centre = grown()
assert len(read_waveform([PATH], target_rate=4_000)) == 3600 * 4_000
print(centre, grown())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in kilobytes on Linux only")
@pytest.mark.slow
def test_an_hour_is_read_in_bounded_memory(tmp_path: Path) -> None:
    write_an_hour(tmp_path / "hour.flac")
    script = MEASURE_MEMORY.replace("[PATH]", repr(str(tmp_path / "hour.flac")))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    centre, whole = map(int, done.stdout.split())
    # In MB: the decoded file has 220, its mono form 110; the result has 55, and is joined from parts.
    assert centre < 30
    assert whole < 200


def test_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "dog 7.wav") == f"{tmp_path / 'dog 7.wav'}: no such audio file"


def test_folder(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


@pytest.mark.parametrize("path", ["a\0.wav", 5000 * "a"])
def test_paths_that_no_file_can_have(path: str) -> None:
    assert refusal(path).startswith(f"{path}: cannot be read (")


def test_a_pipe_is_refused_by_name(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as pipe, open(writing, "wb"):
        assert "is a pipe or another stream" in refusal(pipe)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty (0 bytes)"),
        (b"hello, this is a text, not a sound\n" * 1000, "cannot be decoded as audio"),
        (b"\x00" * 5000, "cannot be decoded as audio"),
        (encoded(tone())[:30], "cannot be decoded as audio"),
        (encoded(np.zeros(0)), "holds no samples"),
        (encoded(tone(), format="FLAC")[:3000], "cannot be decoded as audio"),
        (encoded(tone(), format="OGG")[:200], "cannot be decoded as audio"),
    ],
    ids=["empty", "text", "zeros", "cut-header", "no-samples", "cut-flac", "cut-ogg"],
)
@pytest.mark.parametrize("suffix", ["wav", "mp3", "raw"])
def test_broken_files_are_refused_by_name(tmp_path: Path, content: bytes, expected: str, suffix: str) -> None:
    path = tmp_path / f"broken clip.{suffix}"
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    if suffix != "raw":
        assert expected in message


def test_a_cut_wav_gives_what_is_left() -> None:
    assert len(read_waveform(encoded(tone())[:5044], target_rate=RATE)) == 2500


def test_a_flac_without_length_is_refused() -> None:
    data = bytearray(encoded(tone(), format="FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert "does not state its length" in refusal(bytes(data))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("position", [0, 300_000, -1])
def test_nan_and_infinite_samples_are_refused_by_name(tmp_path: Path, bad: float, position: int) -> None:
    samples = np.zeros((400_000, 2))
    samples[position, 1] = bad
    path = write(tmp_path / "clip.wav", samples, subtype="DOUBLE")
    assert refusal(path) == f"{path}: holds NaN or infinite samples: repair or remove it"
    assert "NaN or infinite" in refusal(samples.T, sampling_rate=RATE)


@pytest.mark.parametrize(
    ("source", "rate", "expected"),
    [
        (np.zeros(100), None, "give sampling_rate"),
        (np.zeros(0), RATE, "no samples"),
        (np.zeros((0, 100)), RATE, "no samples"),
        (np.zeros((100, 2)), RATE, "[channels, n]"),
        (np.zeros((1, 1, 100)), RATE, "[channels, n]"),
        (np.zeros((), np.float32), RATE, "[channels, n]"),
        (np.zeros(100, np.int64), RATE, "int64"),
        (np.zeros(100, complex), RATE, "complex128"),
        (np.array(["a", "b"]), RATE, "are not understood"),
        (np.zeros(100), 0, "0 Hz is outside"),
        (np.zeros(100), 2_000_000, "2000000 Hz is outside"),
        (None, RATE, "is not audio"),
        (3.5, RATE, "is not audio"),
        ({"file": "a.wav"}, None, '"bytes" or "path"'),
        ({"bytes": None, "path": None}, None, '"bytes" or "path"'),
        ({"array": np.zeros(100)}, None, "give sampling_rate"),
        (b"", None, "is empty"),
    ],
)
def test_wrong_sources_are_refused(source, rate: int | None, expected: str) -> None:
    assert expected in refusal(source, sampling_rate=rate)


@pytest.mark.parametrize(("name", "seconds"), [("esc10", 5.0), ("drums", None), ("fsdd", None)])
def test_real_clips_decode(shared_dir: Path, name: str, seconds: float | None) -> None:
    files = sorted((shared_dir / "data" / name / "audio").iterdir())[::97][:5]
    assert files
    for file in files:
        wave = read_waveform(file, target_rate=RATE)
        expected = soundfile.info(file).duration
        assert abs(len(wave) / RATE - expected) < 1e-3
        assert seconds is None or abs(expected - seconds) < 0.01
        assert wave.any()
