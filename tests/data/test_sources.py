"""Folders, CSV files and Hub data sets become the same clips; broken ones are refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from datasets import Audio, ClassLabel, Dataset, DatasetDict

from alm_prompt.audio import content_hash, read_waveform
from alm_prompt.data import AudioClips, load_clips, load_csv, load_folder, load_hub_dataset
from alm_prompt.errors import AlmPromptError

FILES = {"dog/1.wav": 1, "dog/deep er/2.flac": 2, "Regen/ä 1.WAV": 3, "Regen/2.ogg": 4}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of two clips in folders, with things in between that are no clips."""
    root = tmp_path / "my sounds é"
    for name, number in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.sin(np.arange(4000) * number / 20), 8_000)
    (root / "dog" / "notes.txt").write_text("two dogs")
    (root / "dog" / "._1.wav").write_bytes(b"made by a Mac")
    (root / ".git").mkdir()
    (root / "README.md").write_text("sounds")
    return root


def table(clips: AudioClips) -> set[tuple[str, str, str | None]]:
    return {(clip.clip_id, clip.label, clip.fold) for clip in clips}


def rows(fold: str | None = None) -> set[tuple[str, str, str | None]]:
    return {(name, name.split("/")[0], fold) for name in FILES}


def write_csv(path: Path, header: str = "path,classname", lines: list[str] | None = None) -> Path:
    lines = [f"{name},{name.split('/')[0]}" for name in FILES] if lines is None else lines
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    return path


def refusal(load, *args, **kwargs) -> str:
    with pytest.raises(AlmPromptError) as caught:
        load(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folder(root: Path) -> None:
    clips = load_folder(root)
    assert table(clips) == rows()
    assert clips.class_names == ["Regen", "dog"]
    for clip in clips:
        assert read_waveform(clip.source, target_rate=8_000).shape == (4000,)


def test_folder_order_does_not_depend_on_the_file_system(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = list(load_folder(root))
    iterdir, rglob = Path.iterdir, Path.rglob
    monkeypatch.setattr(Path, "iterdir", lambda path: reversed(list(iterdir(path))))
    monkeypatch.setattr(Path, "rglob", lambda path, pattern: reversed(list(rglob(path, pattern))))
    assert list(load_folder(root)) == expected


def test_folder_refusals(root: Path, tmp_path: Path) -> None:
    assert "missing: no such folder" in refusal(load_folder, tmp_path / "missing")
    assert "no such folder" in refusal(load_folder, root / "README.md")
    flat = root / "dog" / "deep er"
    assert refusal(load_folder, flat).startswith(f"{flat}: has no sub-folders")
    (root / "cat").mkdir()
    assert refusal(load_folder, root).startswith(f"{root / 'cat'}: holds no audio file")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv(root: Path, encoding: str, newline: str) -> None:
    path = write_csv(root / "list.csv")
    path.write_bytes(path.read_text(encoding="utf-8").replace("\n", newline).encode(encoding))
    clips = load_csv(path)
    assert table(clips) == rows()
    assert all(Path(clip.source).is_file() for clip in clips)


def test_folds_of_a_csv_that_nobody_asked_for_are_spoken_of(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_csv(root / "list.csv", "path,classname,fold", [f"{name},x,1" for name in FILES])
    clips = load_csv(path)
    assert [record.message for record in caplog.records] == [
        f"{path}: its column 'fold' is not used; fold_column (flags of train and evaluate) takes it"
    ]
    assert "the clips have none (is their fold_column named?)" in refusal(clips.select, None, ["1"])
    caplog.clear()
    assert table(load_csv(path, fold_column="fold"))
    assert not caplog.records


def test_csv_elsewhere_with_other_columns(root: Path, tmp_path: Path) -> None:
    lines = [f'x,"{name}",7,{name.split("/")[0]}' for name in FILES]
    path = write_csv(tmp_path / "elsewhere.csv", "note,file_name,part,label", lines)
    clips = load_csv(path, root, path_column="file_name", label_column="label", fold_column="part")
    assert table(clips) == rows("7")


def test_csv_with_absolute_paths(root: Path, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "list.csv", lines=[f"{root / name},x" for name in FILES])
    assert {clip.source for clip in load_csv(path)} == {str(root / name) for name in FILES}


@pytest.mark.parametrize(
    ("header", "lines", "expected"),
    [
        ("path,label", None, "has no column classname (it has: path, label)"),
        ("file,label", None, "has no column path, classname (it has: file, label)"),
        ("", [], "(it has: none)"),
        ("path,classname", [], "lists no clip"),
        ("path,classname", ["dog/1.wav,dog", "dog/2.wav,dog"], "1 of 2 audio files are missing or unreadable"),
        ("path,classname", ["dog/1.wav,dog", "dog/1.wav,cat"], "clip 'dog/1.wav' is listed 2 times"),
        ("path,classname", ["dog/1.wav, "], "line 2: no classname"),
        ("path,classname", ["dog/1.wav,dog", "dog/1.wav"], "line 3: no classname"),
        ("path,classname", [",dog"], "line 2: no path"),
        ("path,classname", ["dog,dog"], "missing or unreadable"),
    ],
)
def test_csv_refusals(root: Path, header: str, lines: list[str] | None, expected: str) -> None:
    path = write_csv(root / "bad list.csv", header, lines)
    message = refusal(load_csv, path)
    assert expected in message
    assert path.name in message or "listed" in message


def test_csv_names_missing_files_and_says_how_many(root: Path) -> None:
    path = write_csv(root / "list.csv", lines=[f"gone {number}.wav,dog" for number in range(9)])
    message = refusal(load_csv, path)
    assert "9 of 9" in message
    assert "gone 0.wav" in message
    assert "and 4 more" in message


def test_csv_that_is_none(root: Path) -> None:
    assert "no such CSV file" in refusal(load_csv, root / "missing.csv")
    assert "cannot be read" in refusal(load_csv, root)
    assert "is not a CSV file in UTF-8" in refusal(load_csv, root / "dog" / "1.wav")


def test_csv_names_a_file_that_may_not_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The rights of a file would not stop a test that runs as root.
    monkeypatch.setattr("os.access", lambda path, mode: not path.endswith("1.wav"))
    assert "dog/1.wav" in refusal(load_csv, write_csv(root / "list.csv"))


def hub_dataset(root: Path, embedded: bool, class_label: bool = True) -> Dataset:
    labels = [name.split("/")[0] for name in FILES]
    columns = {
        "audio": [
            {"bytes": (root / name).read_bytes() if embedded else None, "path": name if embedded else str(root / name)}
            for name in FILES
        ],
        "label": [int(label == "dog") for label in labels] if class_label else labels,
        "part": [1, 1, 2, 2],
    }
    dataset = Dataset.from_dict(columns).cast_column("audio", Audio())
    return dataset.cast_column("label", ClassLabel(names=["Regen", "dog"])) if class_label else dataset


@pytest.mark.parametrize("class_label", [True, False])
@pytest.mark.parametrize("embedded", [True, False])
def test_hub_dataset(root: Path, embedded: bool, class_label: bool) -> None:
    clips = load_hub_dataset(hub_dataset(root, embedded, class_label), fold_column="part")
    assert {(clip.label, clip.fold) for clip in clips} == {("dog", "1"), ("Regen", "2")}
    assert len({clip.clip_id for clip in clips}) == 4
    for clip, name in zip(clips, FILES, strict=True):
        assert clip.clip_id == name
        assert torch.equal(
            read_waveform(clip.source, target_rate=8_000), read_waveform(root / name, target_rate=8_000)
        )
        assert content_hash(clip.source) == content_hash(root / name)


def test_hub_clips_without_own_paths_are_named_by_row(root: Path) -> None:
    dataset = hub_dataset(root, embedded=True).cast_column("audio", Audio(decode=False))
    nameless = dataset.map(lambda row: {"audio": {"bytes": row["audio"]["bytes"], "path": "audio.wav"}})
    assert [clip.clip_id for clip in load_hub_dataset(nameless)] == [f"row {index:08d}" for index in range(4)]


def test_hub_clips_with_absolute_and_relative_paths_are_named_by_row(root: Path) -> None:
    dataset = hub_dataset(root, embedded=True).cast_column("audio", Audio(decode=False))
    paths = iter(["/downloads/1.wav", "2.flac", "3.wav", "4.ogg"])
    mixed = dataset.map(lambda row: {"audio": {"bytes": row["audio"]["bytes"], "path": next(paths)}})
    assert [clip.clip_id for clip in load_hub_dataset(mixed)] == [f"row {index:08d}" for index in range(4)]


def test_a_clip_of_the_hub_is_fetched_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = load_hub_dataset(hub_dataset(root, embedded=True))[2]
    fetched = []
    fetch = Dataset.__getitem__
    monkeypatch.setattr(Dataset, "__getitem__", lambda self, row: fetched.append(row) or fetch(self, row))
    read_waveform(clip.source, target_rate=8_000)
    assert fetched == [2]
    content_hash(clip.source)
    assert fetched == [2, 2]


def test_hub_refusals(root: Path) -> None:
    dataset = hub_dataset(root, embedded=False)
    assert "has the splits train, test" in refusal(load_hub_dataset, DatasetDict(train=dataset, test=dataset))
    message = refusal(load_hub_dataset, dataset, label_column="category")
    assert "no column category (it has: audio, label, part)" in message
    assert "holds no clip" in refusal(load_hub_dataset, dataset.select([]))
    unlabelled = hub_dataset(root, embedded=False, class_label=False).map(lambda row: {"label": None})
    assert "row 0 of the data set has no label" in refusal(load_hub_dataset, unlabelled)


def test_load_clips_picks_by_what_it_finds(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert table(load_clips(str(root))) == rows()
    assert table(load_clips(write_csv(root / "list.csv"))) == rows()
    write_csv(root / "metadata.csv", "file_name,label")
    assert table(load_clips(root, path_column="file_name", label_column="label")) == rows()

    asked = []
    monkeypatch.setattr(
        "datasets.load_dataset", lambda name, split: asked.append((name, split)) or hub_dataset(root, embedded=True)
    )
    assert table(load_clips("someone/sounds", split="test", fold_column="part")) >= {("dog/1.wav", "dog", "1")}
    assert asked == [("someone/sounds", "test")]


def test_load_clips_refusals(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no such file or folder" in refusal(load_clips, root / "missing")
    assert "no such file or folder" in refusal(load_clips, "a/b/c")
    assert "has no metadata.csv, so fold_column cannot be used" in refusal(load_clips, root, fold_column="part")

    def offline(name: str, split: str):
        raise ConnectionError("no route\nto the Hub")

    for column in ("path_column", "audio_dir"):
        assert f"on the Hub there is no {column}: leave it out" in refusal(load_clips, "my/set", **{column: "x"})
    monkeypatch.setattr("datasets.load_dataset", offline)
    assert "my/typo: no such file or folder, and no Hub data set of that name was loaded (no route): give" in refusal(
        load_clips, "my/typo"
    )


@pytest.mark.parametrize(("name", "clips", "classes"), [("esc10", 400, 10), ("drums", 500, 11), ("fsdd", 3000, 10)])
def test_real_data_sets(shared_dir: Path, name: str, clips: int, classes: int) -> None:
    folder = shared_dir / "data" / name
    loaded = load_clips(
        folder, audio_dir=folder / "audio", path_column="file_name", label_column="label", fold_column="fold_or_split"
    )
    assert (len(loaded), len(loaded.class_names)) == (clips, classes)
    assert read_waveform(loaded[0].source, target_rate=16_000).numel()
