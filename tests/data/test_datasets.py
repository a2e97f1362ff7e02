"""Data sets in every layout; what differs from the catalog, is missing or contradicts itself is refused by name."""

from __future__ import annotations

import csv
import errno
import logging
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from alm_prompt.data import (
    CATALOG,
    DuplicateAudioError,
    check_labels,
    check_readable,
    find_datasets,
    load_clips,
    load_folder,
    open_dataset,
)
from alm_prompt.data.world import WORLD_CLASSES, world_clips
from alm_prompt.errors import AlmPromptError

PUBLISHED = [name for name, known in CATALOG.items() if not known.exchanged_folds]


@pytest.fixture
def copied(standins: Path, tmp_path: Path):
    """A copy of one stand-in that a test may change: `copied("SESA")`."""
    return lambda name: Path(shutil.copytree(standins / name, tmp_path / name))


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Two classes of four clips in a folder each, all different."""
    root = tmp_path / "my sounds"
    for label in ("dog", "rain"):
        (root / label).mkdir(parents=True)
        for number in range(4):
            write_sound(root / label / f"{number}.wav", number + 10 * len(label))
    return root


def write_sound(path: Path, number: int) -> None:
    soundfile.write(path, np.sin(np.arange(400) * (number + 1) / 50), 8_000)


def rows(table: Path) -> list[list[str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def rewrite(table: Path, changed: list[list[str]]) -> None:
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(changed)


def refusal(call, *args, **kwargs) -> str:
    with pytest.raises(AlmPromptError) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("name", "listed"), [("SESA", "train.csv"), ("Beijing-Opera", "csv_files/train.csv")])
def test_a_published_folder_is_no_folder_per_class(standins: Path, name: str, listed: str) -> None:
    with pytest.raises(AlmPromptError, match=f"has lists of its clips: give one of them, such as .*{name}/{listed}"):
        load_clips(standins / name)
    assert set(load_clips(standins / name / listed, audio_dir=standins / name).class_names) <= set(
        CATALOG[name].class_names
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_layout(standins: Path, name: str) -> None:
    known, dataset = CATALOG[name], open_dataset(standins / name)
    assert (dataset.name, dataset.class_names, dataset.root) == (name, known.class_names, standins / name)
    assert tuple(fold.name for fold in dataset.folds) == known.fold_names
    assert dataset.fixed is not None
    lists = standins / name / ("csv_files" if len(dataset.folds) > 1 else "")
    for fold in (*dataset.folds, dataset.fixed):
        suffix = f"_{fold.name}" if fold.name else ""
        for side in ("train", "test"):
            clips = getattr(fold, side)
            assert [[clip.clip_id, clip.label] for clip in clips] == rows(lists / f"{side}{suffix}.csv")[1:]
            assert clips.class_names == list(known.class_names)
            assert all(Path(clip.source) == standins / name / clip.clip_id for clip in clips)
    assert len(dataset.clips) == len(list((standins / name / "audios").iterdir()))


def test_corrected_tut2017_exchanges_folds_2_to_4(standins: Path, caplog: pytest.LogCaptureFixture) -> None:
    published = open_dataset(standins / "TUT2017")
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="alm_prompt"):
        corrected = open_dataset(standins / "TUT2017", name="TUT2017-corrected")
    # How many clips its corrected folds 2 to 4 test is published nowhere.
    assert (
        "30 test clips in fold 1 instead of 1170, 15 test clips in the fixed pair instead of 936 and 5 more"
        in caplog.messages[0]
    )
    assert corrected.name == "TUT2017-corrected"
    assert list(corrected.folds[0].test) == list(published.folds[0].test)
    for right, wrong in zip(corrected.folds[1:], published.folds[1:], strict=True):
        assert (right.name, list(right.train), list(right.test)) == (wrong.name, list(wrong.test), list(wrong.train))
    # Every clip is tested once, which is what gives the exchange away.
    tested = Counter(clip.clip_id for fold in corrected.folds for clip in fold.test)
    assert set(tested.values()) == {1}
    assert len(tested) == len(corrected.clips)


def test_lists_that_a_script_left_beside_the_folds_play_no_part(copied) -> None:
    folder = copied("ESC50-Actions")
    expected = open_dataset(folder)
    for side in ("train", "test"):
        shutil.copy(folder / "csv_files" / f"{side}_2.csv", folder / f"{side}.csv")
    assert [list(fold.test) for fold in open_dataset(folder).folds] == [list(fold.test) for fold in expected.folds]
    for side in ("train", "test"):
        (folder / "csv_files" / f"{side}.csv").unlink()
    assert open_dataset(folder).fixed is None


def test_published_layout_of_ones_own(copied) -> None:
    folder = copied("Beijing-Opera").rename(copied("SESA").with_name("mine"))
    dataset = open_dataset(folder)
    assert (dataset.name, [fold.name for fold in dataset.folds]) == ("mine", ["1", "2", "3", "4", "5"])
    for table in (folder / "csv_files").iterdir():
        rewrite(table, [["file", "label"], *rows(table)[1:]])
    assert "has no column path, classname" in refusal(open_dataset, folder)
    again = open_dataset(folder, path_column="file", label_column="label")
    assert list(again.clips) == list(dataset.clips)
    (folder / "csv_files" / "train_3.csv").unlink()
    assert "train_3.csv is missing" in refusal(open_dataset, folder, path_column="file", label_column="label")


def test_counts_that_differ_from_the_published_ones(standins: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="alm_prompt"):
        open_dataset(standins / "ESC50")
    (record,) = caplog.records
    expected = "not ESC50 as published: 50 test clips in fold 1 instead of 400, 50 test clips in fold 2 instead of 400"
    assert f"{expected} and 10 more" in record.getMessage()
    assert f"{expected} and 10 more" in refusal(open_dataset, standins / "ESC50", strict=True)
    message = refusal(open_dataset, standins / "CREMA-D", strict=True)
    assert "6 test clips instead of 1489, fewer than 16 train clips of anger: get the data set again" in message


def test_numbers_as_published(
    standins: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    known = replace(CATALOG["Beijing-Opera"], test_clips=(8,) * 5, fixed_test_clips=4)
    monkeypatch.setattr("alm_prompt.data.datasets.CATALOG", {known.name: known})
    monkeypatch.setattr("alm_prompt.data.datasets.PUBLISHED_SHOTS", 8)
    assert open_dataset(standins / known.name, strict=True).name == known.name
    assert not caplog.records


def test_other_classes_than_published(copied) -> None:
    folder = copied("SESA")
    for side in ("train", "test"):
        table = folder / f"{side}.csv"
        rewrite(table, [[path, label.replace("casual", "everyday")] for path, label in rows(table)])
    message = refusal(open_dataset, folder)
    assert "its classes are not those of SESA: it lacks casual and has everyday" in message
    assert open_dataset(folder, name="my-sesa").class_names == ("everyday", "explosion", "gunshot", "siren")


@pytest.mark.parametrize("side", ["train", "test"])
def test_missing_fold(copied, side: str) -> None:
    folder = copied("TUT2017")
    (folder / "csv_files" / f"{side}_3.csv").unlink()
    assert f"csv_files/{side}_3.csv is missing" in refusal(open_dataset, folder)


def test_rows_to_absent_files(copied) -> None:
    folder = copied("RAVDESS")
    gone = rows(folder / "test.csv")[1][0]
    (folder / gone).unlink()
    assert f"1 of 8 audio files are missing or unreadable in {folder}: {gone}" in refusal(open_dataset, folder)


def test_clip_on_both_sides_of_a_fold(copied) -> None:
    folder = copied("UrbanSound8K")
    twice = rows(folder / "csv_files" / "test_4.csv")[1]
    train = folder / "csv_files" / "train_4.csv"
    rewrite(train, [*rows(train), twice])
    lists = f"{folder}: csv_files/train_4.csv and csv_files/test_4.csv"
    assert f"{lists}: clip {twice[0]!r} is in both train and test" in refusal(open_dataset, folder)


def test_clip_listed_twice(copied) -> None:
    folder = copied("Beijing-Opera")
    train = folder / "csv_files" / "train_3.csv"
    twice = rows(train)[1]
    rewrite(train, [*rows(train), twice])
    assert f"{train}: clip {twice[0]!r} is listed 2 times: list it once" in refusal(open_dataset, folder)


def test_clip_with_another_label_in_another_fold(copied) -> None:
    folder = copied("ESC50-Actions")
    table = folder / "csv_files" / "train_5.csv"
    (path, label), *others = rows(table)[1:]
    rewrite(table, [["path", "classname"], [path, "snoring"], *others])
    expected = f"{folder}: clip {path!r} is labelled {label!r} in fold 1 and 'snoring' in fold 5: correct one"
    assert refusal(open_dataset, folder) == expected
    rewrite(table, [["path", "classname"], [path, label], *others])
    table = folder / "csv_files" / "test.csv"
    (path, label), *others = rows(table)[1:]
    rewrite(table, [["path", "classname"], [path, "snoring"], *others])
    assert f"labelled {label!r} in fold 1 and 'snoring' in the fixed pair" in refusal(open_dataset, folder)


def test_same_audio_under_two_labels(copied, sounds: Path) -> None:
    folder = copied("VocalSound")
    (cough, _), *_, (clearing, _) = rows(folder / "train.csv")[1:]
    shutil.copy(folder / cough, folder / clearing)
    expected = f"clips {cough!r} (Cough) and {clearing!r} (Throat clearing) are the same audio under two labels"
    with pytest.raises(DuplicateAudioError) as caught:
        open_dataset(folder)
    assert str(caught.value).startswith(f"{folder}: {expected}")
    shutil.copy(sounds / "dog" / "1.wav", sounds / "rain" / "2.wav")
    assert "'dog/1.wav' (dog) and 'rain/2.wav' (rain)" in refusal(open_dataset, sounds)


def test_same_audio_under_one_label_is_no_contradiction(sounds: Path) -> None:
    shutil.copy(sounds / "dog" / "1.wav", sounds / "dog" / "2.wav")
    check_labels(load_folder(sounds))


def test_files_that_agree_in_size_and_middle_are_told_apart(tmp_path: Path) -> None:
    for label, first in (("a", 1), ("b", 2)):
        (tmp_path / label).mkdir()
        samples = np.zeros(20_000, np.int16)
        samples[0] = first
        soundfile.write(tmp_path / label / "x.wav", samples, 8_000)
    check_labels(load_folder(tmp_path))


def test_a_file_that_may_not_be_read_is_named(sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The rights of a file would not stop a test that runs as root.
    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    shutil.copy(sounds / "dog" / "1.wav", sounds / "rain" / "2.wav")
    clips = load_folder(sounds)
    monkeypatch.setattr(Path, "open", refuse)
    assert ".wav: cannot be read (Permission denied)" in refusal(check_labels, clips)


def test_unreadable_clips_are_listed_by_name(sounds: Path) -> None:
    (sounds / "dog" / "0.wav").write_text("no sound")
    (sounds / "rain" / "3.wav").write_bytes((sounds / "rain" / "3.wav").read_bytes()[:30])
    open_dataset(sounds)
    message = refusal(check_readable, load_folder(sounds))
    assert message.startswith("2 of 8 clips cannot be read: dog/0.wav, rain/3.wav; ")
    assert "cannot be decoded as audio" in message
    assert refusal(open_dataset, sounds, strict=True) == f"{sounds}: {message}"


def test_own_data(sounds: Path) -> None:
    dataset = open_dataset(sounds)
    assert (dataset.name, dataset.class_names, dataset.root) == ("my sounds", ("dog", "rain"), sounds)
    (fold,) = dataset.folds
    assert fold is dataset.fixed
    assert (fold.name, len(fold.train), len(fold.test)) == (None, 4, 4)
    assert len(dataset.clips) == 8
    table = [["path", "classname", "part"]]
    table += [[f"{label}/{n}.wav", label, str(n % 2)] for label in ("dog", "rain") for n in range(4)]
    rewrite(sounds / "list.csv", table)
    listed = open_dataset(sounds / "list.csv", name="mine", fold_column="part")
    assert (listed.name, [fold.name for fold in listed.folds], listed.fixed) == ("mine", ["0", "1"], None)
    assert open_dataset(sounds / "list.csv").name == "list"
    rewrite(sounds / "list.csv", [[*row[:2], "1"] if row[2] == "0" else row for row in table])
    message = refusal(open_dataset, sounds / "list.csv", fold_column="part")
    assert message.startswith(f"{sounds / 'list.csv'}: all clips are of fold '1'")


def test_metadata_beside_a_folder_of_audio(sounds: Path) -> None:
    sounds.rename(sounds.parent / "audio")
    metadata = sounds.parent / "metadata.csv"
    for words, names in ((("train", "test"), [None]), (("1", "2"), ["1", "2"])):
        table = [["file_name", "label", "fold_or_split"]]
        table += [[f"{label}/{n}.wav", label, words[n % 2]] for label in ("dog", "rain") for n in range(4)]
        rewrite(metadata, table)
        dataset = open_dataset(sounds.parent, name="mine")
        assert [fold.name for fold in dataset.folds] == names
        assert {clip.fold for clip in dataset.folds[-1].test} == {words[1]}
    rewrite(metadata, [["file_name", "label"], *([path, label] for path, label, _ in table[1:])])
    assert [fold.name for fold in open_dataset(metadata).folds] == [None]


def test_the_sound_world(monkeypatch: pytest.MonkeyPatch) -> None:
    few = world_clips(per_class=2)
    monkeypatch.setattr("alm_prompt.data.world.world_clips", lambda: few)
    dataset = open_dataset("world")
    assert (dataset.name, dataset.class_names) == ("world", tuple(sorted(WORLD_CLASSES)))
    assert [(fold.name, len(fold.train), len(fold.test)) for fold in dataset.folds] == [(None, 12, 12)]


@pytest.mark.parametrize(("name", "folds"), [("esc10", 5), ("drums", 3), ("fsdd", 1)])
def test_real_data_sets(shared_dir: Path, name: str, folds: int) -> None:
    dataset = open_dataset(shared_dir / "data" / name)
    assert (dataset.name, len(dataset.folds)) == (name, folds)
    assert {clip.fold for clip in dataset.folds[0].test} == {"test" if folds == 1 else "1"}


def test_what_is_there_and_how_to_get_the_rest(copied, tmp_path: Path) -> None:
    folder = copied("SESA")
    (copied("NS-Instruments") / "train.csv").unlink()
    shutil.move(copied("VocalSound"), tmp_path / "inner")
    (tmp_path / "VocalSound").mkdir()
    shutil.move(tmp_path / "inner", tmp_path / "VocalSound" / "VocalSound")
    (tmp_path / "NS-Instruments" / "NS-Instruments.zip").touch()
    found = {entry.known.name: entry for entry in find_datasets(tmp_path)}
    assert list(found) == PUBLISHED
    assert (found["SESA"].path, found["SESA"].how_to_get, found["SESA"].pairs) == (folder, "", 1)
    assert {name for name, entry in found.items() if entry.path} == {"SESA"}
    assert found["ESC50"].how_to_get == f"hf download MahiA/ESC50 --repo-type dataset --local-dir {tmp_path / 'ESC50'}"
    archive = tmp_path / "NS-Instruments" / "NS-Instruments.zip"
    assert found["NS-Instruments"].how_to_get == f"unzip {archive} -d {tmp_path}"
    nested = tmp_path / "VocalSound"
    assert found["VocalSound"].how_to_get == f"mv {nested / 'VocalSound'}/* {nested}"
    assert f"NS-Instruments is not there as it is published: `unzip {archive}" in refusal(open_dataset, archive.parent)
    shutil.rmtree(nested)
    assert "--local-dir" in find_datasets(tmp_path)[-1].how_to_get
    assert " && unzip " in find_datasets(tmp_path)[-1].how_to_get
    assert "no such folder" in refusal(find_datasets, tmp_path / "missing")


def test_published_data_sets_by_their_name_on_the_hub(standins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download",
        lambda name, repo_type: asked.append((name, repo_type)) or str(standins / "SESA"),
    )
    assert open_dataset("MahiA/SESA").name == "SESA"
    assert asked == [("MahiA/SESA", "dataset")]
    message = refusal(open_dataset, "MahiA/VocalSound")
    assert "MahiA/VocalSound is a zip file: get it by `hf download" in message

    def offline(name: str, repo_type: str) -> None:
        raise ConnectionError("no route\nto the Hub")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    assert "MahiA/CREMA-D: no such folder, and the Hub did not give it: no route" in refusal(
        open_dataset, "MahiA/CREMA-D"
    )


def test_nothing_there(tmp_path: Path) -> None:
    assert "no such file or folder" in refusal(open_dataset, tmp_path / "missing")
