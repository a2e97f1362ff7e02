"""The runner: every run of a grid that has no row yet, one after the other, with failures listed and not fatal."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from ..cache import caching_in
from ..data import AudioClips, audio_content, check_labels, check_leaks, clashing_clips, leaked_clips
from ..errors import about
from ..hub import recorded_name
from ..models.fingerprint import audio_fingerprint, text_fingerprint
from .measures import TEST_TIME
from .ranks import Rank
from .rows import RowStore, failed_row, row_key, run_name
from .run import EncodedClips, train_and_measure
from .same_settings import check_same_settings

if TYPE_CHECKING:
    from ..models import AlmForAudioClassification, AlmProcessor
    from ..training import AudioFeatureCache
    from .grid import Run

logger = logging.getLogger(__name__)


class Runner:
    """Makes the runs of a grid on one frozen model.

    Args:
        model: the zero-shot model; it comes back without an adapter.
        processor: its processor.
        runs: the grid.
        store: finished rows, which are not made again.
        cache: cache of audio features; methods keep what they compute once there, too.
        rank: which of several processes this is.
        keep_duplicates: go on where a test clip is the same audio as a clip to train on, or one audio has two labels,
            and write into every row how many of its test clips they are.

    Raises:
        AlmPromptError: a row was made with other settings, be it of another seed or fold.
    """

    def __init__(
        self,
        model: AlmForAudioClassification,
        processor: AlmProcessor,
        runs: Sequence[Run],
        store: RowStore,
        cache: AudioFeatureCache,
        rank: Rank | None = None,
        keep_duplicates: bool = False,
    ) -> None:
        self.model, self.processor, self.store, self.cache = model, processor, store, cache
        self.rank = rank or Rank()
        self.keep_duplicates = keep_duplicates
        heard_by = processor.feature_extractor.fingerprint
        name = {"model": recorded_name(model.name_or_path) or "unnamed"}
        hashes = {"model_hash": _digest([audio_fingerprint(model.alm), text_fingerprint(model.alm), heard_by])}
        audio = {part: _audio_hash(run) for part, run in {_part(run): run for run in runs}.items()}
        # The name is no part of the settings: a folder may be moved.
        self.begun = [(run, name | run.row(hashes | {"audio_hash": audio[_part(run)]})) for run in runs]
        # Shares are dealt from the whole grid: what is pending changes while other processes start.
        self.pending = [(run, row) for run, row in self.rank.share(self.begun) if store.find(row) is None]
        check_same_settings([*store.rows.values(), *(row for _, row in self.begun)])

    def rows(self) -> list[dict[str, Any]]:
        """The finished rows of the grid, in its order."""
        self.store.read()
        found = (self.store.find(row) for _, row in self.begun)
        return [row for row in found if row is not None]

    def failures(self) -> list[dict[str, Any]]:
        """The runs of the grid that have failed and have no row, in its order."""
        self.store.read()
        found = (self.store.failed.get(row_key(row)) for _, row in self.begun)
        return [row for row in found if row is not None]

    def run(self, progress: bool = True) -> None:
        """Make every pending run. A run that fails is kept with its reason, and the others go on.

        Args:
            progress: show progress bars.

        Raises:
            AlmPromptError: a clip is on both sides of a split, or one recording has two labels.
        """
        duplicates = self._duplicates()
        self.store.forget_failures(row for _, row in self.pending)
        progress = progress and self.rank.index == 0
        bar = tqdm(total=len(self.pending), desc="Benchmark", unit="run", disable=not progress)
        with bar, caching_in(self.cache.folder):
            for _, group in groupby(self.pending, key=lambda pair: _data(pair[0])):
                pairs = _in_turn(list(group))
                try:
                    encoded = self.encode([run for run, _ in pairs], progress)
                # Whatever keeps this data set from being encoded, the others are still wanted.
                except Exception as error:
                    for _, row in pairs:
                        self.store.fail(failed_row(row, error))
                    bar.update(len(pairs))
                    continue
                for run, row in pairs:
                    self._make(run, row | duplicates[_part(run)], encoded, bar)
                    bar.update()

    def _duplicates(self) -> dict[tuple[int, int], dict[str, int]]:
        """What rows say about duplicates where they are kept, by what [`_part`] makes of a run.

        Raises:
            AlmPromptError: there are some, and they are not to be kept.
        """
        parts = {_part(run): run for run, _ in self.pending}
        if self.keep_duplicates:
            return {part: _count_duplicates(run) for part, run in parts.items()}
        for run in parts.values():
            fold = run.split.fold and f"fold {run.split.fold}"
            with about(run.facts["dataset"]), about(fold):
                check_leaks(run.split.train, run.test_clips)
                check_labels([*run.split.train, *run.split.test])
        return {part: {} for part in parts}

    def _make(self, run: Run, row: dict[str, Any], encoded: EncodedClips, bar: tqdm) -> None:
        say = partial(_say, bar, row)
        say("start")
        try:
            self.store.add(row | train_and_measure(run, self.model, self.processor, encoded, say))
        # Whatever goes wrong in one run (memory, a method that does not fit the classes), the others are still wanted.
        except Exception as error:
            logger.debug("%s failed", run_name(row), exc_info=True)
            self.store.fail(failed_row(row, error))

    def encode(self, runs: Iterable[Run], progress: bool = True) -> EncodedClips:
        """Audio features of all clips of some runs of one data set.

        Args:
            runs: the runs.
            progress: show a progress bar over the clips that have to be encoded.
        """
        clips = {clip.clip_id: clip for run in runs for clip in (*run.split.train, *run.test_clips)}
        if self.rank.count > 1 and self.cache.enabled:
            # Own share first: by the time it is done, the others have put theirs into the cache.
            share = self.rank.share(list(clips.values()))
            self.cache.features(self.model, self.processor, AudioClips(share), progress=progress)
        return EncodedClips.encode(self.cache, self.model, self.processor, AudioClips(clips.values()), progress)


def _data(run: Run) -> tuple[Any, Any]:
    return run.facts["dataset"], run.facts.get("target_dataset")


def _part(run: Run) -> tuple[int, int]:
    """The same for all runs on the same clips."""
    return id(run.split), id(run.target)


def _audio_hash(run: Run) -> str:
    """One hash over what the clips of a run sound like."""
    clips = [*run.split.train, *run.test_clips]
    return _digest(sorted((clip.clip_id, audio_content(clip.source)) for clip in clips))


def _digest(parts: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _count_duplicates(run: Run) -> dict[str, int]:
    """How many test clips are also among the train clips, and how many have another label elsewhere in their data."""
    tested = {clip.clip_id for clip in run.test_clips}
    own = [*run.split.train, *run.split.test]
    clashes = [*clashing_clips(own), *clashing_clips(run.target or ())]
    return {
        "leaked_clips": len(leaked_clips(run.split.train, run.test_clips)),
        "clashing_clips": sum(clip.clip_id in tested for group in clashes for clip in group),
    }


def _in_turn(pairs: list[tuple[Run, dict[str, Any]]]) -> list[tuple[Run, dict[str, Any]]]:
    """The order in which runs of a data set are made: those that adapt to the same clips encode their views once."""
    if pairs[0][0].measure != TEST_TIME:
        return pairs
    splits = list(dict.fromkeys(id(run.split) for run, _ in pairs))
    return sorted(pairs, key=lambda pair: splits.index(id(pair[0].split)))


def _say(bar: tqdm, row: Mapping[str, Any], word: str) -> None:
    bar.set_postfix_str(f"{run_name(row)}, {word}")
