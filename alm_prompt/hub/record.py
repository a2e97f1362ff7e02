"""Writing down what was measured, in an adapter's `results.json` and card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub.utils import WeakFileLock

from ..errors import AlmPromptError
from .card import write_card
from .reading import read_config, read_valid_config
from .results import AdapterResults, Figure, Measurement

if TYPE_CHECKING:
    from peft import PeftModel

LOCK_NAME = ".results.lock"


def record_results(
    adapter: str | Path | PeftModel,
    figures: Mapping[str, float | Sequence[float]],
    *,
    dataset: str | None = None,
    split: str | None = None,
    protocol: str | None = None,
) -> None:
    """Record what an adapter was measured to do; an earlier record of the same data, split and protocol is replaced.

    Args:
        adapter: its folder, whose `results.json` and card are written anew; or an open one, with which they are saved
            later on.
        figures: shares between 0 and 1 by name (`accuracy`, `macro_f1`, `base`, `novel`, `h`), of one run or several.
        dataset: name or Hub id of the data set.
        split: hash of the split.
        protocol: how it was measured, in a few words.

    Raises:
        AlmPromptError: there is no adapter, a figure is no share, or what lies in the folder cannot be read; nothing
            was written.
    """
    measured = {name: Figure.of(values) for name, values in figures.items()}
    for name, figure in measured.items():
        if not 0 <= figure.mean <= 1:
            raise AlmPromptError(f"figure {name!r} is {figure.mean}; give a share between 0 and 1")
    measurement = Measurement(measured, dataset, split, protocol)
    if not isinstance(adapter, str | Path):
        config = adapter.active_peft_config
        config.results = config.results or AdapterResults()
        config.results.add(measurement)
        return
    folder = Path(adapter)
    read_valid_config(folder)
    # Several may measure one adapter at the same time, each on data of its own.
    with WeakFileLock(folder / LOCK_NAME):
        results = AdapterResults.load(folder)
        results.add(measurement)
        write_card(folder, results=results)


def earlier_results(folder: Path, settings: Mapping[str, Any]) -> AdapterResults:
    """Results that lie in a folder, if the adapter there has these settings; empty ones otherwise.

    Args:
        folder: it need not be there.
        settings: values by name in the config, among them the checksum of the weights.

    Raises:
        AlmPromptError: the results are not of this form.
    """
    try:
        saved = read_config(folder)
    except AlmPromptError:
        return AdapterResults()
    wanted = json.loads(json.dumps(settings))
    same = all(saved.get(name) == value for name, value in wanted.items())
    return AdapterResults.load(folder) if same else AdapterResults()
