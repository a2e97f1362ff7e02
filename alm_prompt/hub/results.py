"""`results.json` beside an adapter: how it was trained, and what was measured. Nothing else may go into its card."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

from ..errors import AlmPromptError
from ..files import write_whole
from ..versions import PACKAGES, installed_version
from .escaping import plain
from .reading import read_bounded

RESULTS_NAME = "results.json"
# Whole numbers beyond it are no longer exact, and sums of those near the end of the range of floats overflow.
LARGEST_NUMBER = 2**53


def _versions() -> dict[str, str]:
    """Versions of the packages that are installed; those of a working tree have none."""
    known = {"python": platform.python_version(), **{name: installed_version(name) for name in PACKAGES}}
    return {name: version for name, version in known.items() if version is not None}


@dataclass(frozen=True)
class Figure:
    """A measured number.

    Attributes:
        mean: over the runs.
        deviation: standard deviation between the runs (n - 1); `None` for a single run.
        runs: how many runs.
    """

    mean: float
    deviation: float | None = None
    runs: int = 1

    @classmethod
    def of(cls, values: float | Sequence[float]) -> Figure:
        """From the value of one run, or those of several; numbers of NumPy and PyTorch are numbers, too.

        Raises:
            AlmPromptError: no finite number, or not only such.
        """
        try:
            values = list(values)
        except TypeError:
            values = [values]
        values = [value.item() if getattr(value, "ndim", None) == 0 else value for value in values]
        if not values or not all(map(_is_number, values)):
            raise AlmPromptError(f"a figure is {plain(values)[:60]}; give a finite number, or one of every run")
        values = [float(value) for value in values]
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), deviation, len(values))


@dataclass(frozen=True)
class Measurement:
    """Figures of an adapter on one data set.

    Attributes:
        figures: by name, such as `accuracy`, `macro_f1`, `base`, `novel`, `h`; shares, not per cent.
        dataset: name or Hub id of the data set; `None` where it has none.
        split: hash of the split, so that others can measure on the same clips.
        protocol: how it was measured, in a few words.
    """

    figures: Mapping[str, Figure]
    dataset: str | None = None
    split: str | None = None
    protocol: str | None = None

    def answers(self, other: Measurement) -> bool:
        """Whether it says the same as another one, perhaps with other figures."""
        return (self.dataset, self.split, self.protocol) == (other.dataset, other.split, other.protocol)


@dataclass
class AdapterResults:
    """What is known about an adapter beside its settings.

    Attributes:
        training: settings that differ from the defaults, clips, steps, time, as JSON values; `None` where unknown.
        measurements: what was measured.
        datasets: Hub ids of the data sets.
        license: as the Hub names it.
        versions: of the packages, at the time of saving.
    """

    training: dict[str, Any] | None = None
    measurements: list[Measurement] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    license: str | None = None
    versions: dict[str, str] = field(default_factory=_versions)

    def add(self, measurement: Measurement) -> None:
        """Add a measurement, in place of an earlier one of the same."""
        self.measurements = [known for known in self.measurements if not measurement.answers(known)] + [measurement]

    def after(self, earlier: AdapterResults) -> AdapterResults:
        """Both together, of one adapter; where they disagree, it is as these say."""
        both = AdapterResults(
            training=self.training or earlier.training,
            measurements=list(earlier.measurements),
            datasets=self.datasets or earlier.datasets,
            license=self.license or earlier.license,
        )
        for measurement in self.measurements:
            both.add(measurement)
        return both

    def save(self, folder: Path) -> None:
        """Write `results.json` into an adapter's folder."""
        write_whole(folder / RESULTS_NAME, self.to_json().encode())

    def to_json(self) -> str:
        """As the text of `results.json`."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def load(cls, folder: Path) -> AdapterResults:
        """Read the results of an adapter; empty ones where it has none.

        Raises:
            AlmPromptError: the file is not of this form.
        """
        path = folder / RESULTS_NAME
        if not path.is_file():
            return cls()
        try:
            return cls.from_json(read_bounded(path))
        except AlmPromptError:
            raise
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise AlmPromptError(f"{path}: no results of an adapter; remove it, or measure again") from error

    @classmethod
    def from_json(cls, text: str | bytes) -> AdapterResults:
        """The inverse of [`to_json`]; any exception means another form."""
        content = json.loads(text)
        _check(isinstance(content, dict))
        results = cls(measurements=[_measurement(entry) for entry in content.pop("measurements")], **content)
        training = {} if results.training is None else results.training
        _check(isinstance(training, dict) and isinstance(training.get("settings", {}), dict | None))
        _check(isinstance(results.datasets, list) and all(isinstance(name, str) for name in results.datasets))
        _check(isinstance(results.license, str | None) and isinstance(results.versions, dict))
        _check(all(isinstance(version, str) for version in results.versions.values()))
        return results


def _measurement(entry: Any) -> Measurement:
    _check(isinstance(entry, dict) and isinstance(entry["figures"], dict))
    figures = {name: Figure(**item) for name, item in entry["figures"].items()}
    for figure in figures.values():
        _check(_is_number(figure.mean) and (figure.deviation is None or _is_number(figure.deviation)))
        _check(isinstance(figure.runs, int))
    measurement = Measurement(**{**entry, "figures": figures})
    names = (measurement.dataset, measurement.split, measurement.protocol)
    _check(all(isinstance(name, str | None) for name in names))
    return measurement


def _check(right: bool) -> None:
    if not right:
        raise TypeError


def _is_number(value: Any) -> bool:
    """Whether it is one that is finite, also as a float."""
    return isinstance(value, Real) and abs(value) <= LARGEST_NUMBER
