"""A labelled clip, and an ordered collection of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from ..errors import AlmPromptError, shorten


@dataclass(frozen=True)
class Clip:
    """One labelled clip.

    Args:
        source: What `alm_prompt.audio.read_waveform` reads: a path, or a mapping `{"bytes", "path"}` or
            `{"array", "sampling_rate"}`.
        label: Name of its class.
        clip_id: Name of the clip, unique in its data set and the same on every machine.
        fold: Name of its cross-validation fold, if the data set has folds.
    """

    source: str | Mapping[str, Any] = field(repr=False, compare=False)
    label: str
    clip_id: str
    fold: str | None = None


class AudioClips(Sequence[Clip]):
    """Labelled clips and the sorted list of their classes.

    Args:
        clips: The clips, in any order; each `clip_id` once.
        class_names: The classes; those of the clips when not given. A class may have no clip here (in one fold, say).

    Raises:
        AlmPromptError: A clip is listed twice, or has a blank label or one outside `class_names`.
    """

    def __init__(self, clips: Iterable[Clip], class_names: Iterable[str] | None = None):
        self._clips = tuple(clips)
        labels = {clip.label for clip in self._clips}
        self.class_names: list[str] = sorted(labels if class_names is None else set(class_names))
        self.label_ids(self.class_names)
        for clip in self._clips:
            if not clip.label.strip():
                raise AlmPromptError(f"clip {clip.clip_id!r} has a blank label: name its class")
        clip_id, count = next(iter(Counter(clip.clip_id for clip in self._clips).most_common(1)), ("", 0))
        if count > 1:
            raise AlmPromptError(f"clip {clip_id!r} is listed {count} times: list it once")

    def __len__(self) -> int:
        return len(self._clips)

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> AudioClips: ...
    def __getitem__(self, index):
        chosen = self._clips[index]
        return AudioClips(chosen, self.class_names) if isinstance(index, slice) else chosen

    def __repr__(self) -> str:
        return f"AudioClips({len(self)} clips of {len(self.class_names)} classes)"

    def by_label(self) -> dict[str, list[Clip]]:
        """The clips of every class, in the order of `class_names`."""
        groups: dict[str, list[Clip]] = {name: [] for name in self.class_names}
        for clip in self._clips:
            groups[clip.label].append(clip)
        return groups

    def label_ids(self, class_names: Sequence[str]) -> list[int]:
        """Position of every clip's label in `class_names`.

        Raises:
            AlmPromptError: A label is not among `class_names`.
        """
        positions = {name: i for i, name in enumerate(class_names)}
        for clip in self._clips:
            if clip.label not in positions:
                raise AlmPromptError(
                    f"clip {clip.clip_id!r} has label {clip.label!r}, which is not in the class list "
                    f"({shorten(class_names)}): correct the label or add the class"
                )
        return [positions[clip.label] for clip in self._clips]

    def select(self, labels: Collection[str] | None = None, folds: Collection[str] | None = None) -> AudioClips:
        """The clips of some classes, some folds, or both.

        Args:
            labels: Classes to keep; they become the class list of the result. All when not given.
            folds: Folds to keep; the class list stays as it is. All when not given.

        Raises:
            AlmPromptError: A class or fold is unknown.
        """
        _refuse_unknown("class", labels, self.class_names)
        _refuse_unknown("fold", folds, {clip.fold for clip in self._clips})
        kept = (
            clip
            for clip in self._clips
            if (labels is None or clip.label in labels) and (folds is None or clip.fold in folds)
        )
        return AudioClips(kept, self.class_names if labels is None else labels)


def _refuse_unknown(kind: str, wanted: Collection[str] | None, known: Collection[str | None]) -> None:
    unknown = [name for name in wanted or () if name not in known]
    if unknown:
        have = shorten(sorted(name for name in known if name is not None)) or f"none (is their {kind}_column named?)"
        raise AlmPromptError(f"unknown {kind} {shorten(unknown)}: the clips have {have}")
