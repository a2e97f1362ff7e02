"""The JSON file that says how a run was made: what it takes to make it again, and what came out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..errors import AlmPromptError
from ..files import write_whole
from ..versions import installed_versions

RUN_RECORD_NAME = "run.json"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@dataclass(frozen=True)
class RunRecord:
    """How a run was made and what came out.

    Attributes:
        settings: everything the user chose, as JSON values.
        seeds: the seeds of the run.
        wall_seconds: time from start to end.
        encoder_mode: "frozen", or "reference" for the published train-mode encoders.
        split_hash: hash of the split ([`alm_prompt.data.splits.Split.hash`]), where there is one.
        text_paths: how the text tower computed prompts, and why, in words.
        results: the figures of the run.
        versions: versions of Python and of the packages below.
        finished_at: end of the run, UTC, ISO 8601.
    """

    settings: dict[str, Any]
    seeds: list[int]
    wall_seconds: float
    encoder_mode: str = "frozen"
    split_hash: str | None = None
    text_paths: list[str] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=installed_versions)
    finished_at: str = field(default_factory=_now)

    def save(self, folder: str | Path) -> Path:
        """Write the record to `run.json` in `folder` (created if missing) and return its path."""
        path = Path(folder) / RUN_RECORD_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(asdict(self), indent=2, default=str) + "\n")
        return path

    @classmethod
    def load(cls, folder: str | Path) -> RunRecord:
        """Read the record of the run in `folder`.

        Raises:
            AlmPromptError: if there is none, or it is not a record of this form.
        """
        path = Path(folder) / RUN_RECORD_NAME
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise AlmPromptError(f"{folder}: no {RUN_RECORD_NAME}, so not the folder of a finished run") from error
        except (ValueError, TypeError) as error:
            raise AlmPromptError(f"{path}: not a run record ({error}); delete it or run again") from error
