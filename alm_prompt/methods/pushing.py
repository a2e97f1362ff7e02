"""`push_to_hub` of a PEFT model with one of our adapters.

That of `transformers` saves the model and then lays an empty form over the card that was saved. PEFT has no hook
between the two, and always makes a plain `PeftModel` for outside methods, so the method is replaced; models with other
adapters go on to the original.
"""

from __future__ import annotations

import tempfile
from functools import wraps
from pathlib import Path
from typing import Any

from peft import PeftModel

from ..hub import push_adapter
from .tuner import PromptTuner

_original = PeftModel.push_to_hub


@wraps(_original)
def _push_to_hub(self: PeftModel, repo_id: str, **options: Any) -> str:
    if not isinstance(self.base_model, PromptTuner):
        return _original(self, repo_id, **options)
    # For models of many files and kinds; an adapter is one file, with its tags in its card.
    for option in ("max_shard_size", "tags"):
        options.pop(option, None)
    with tempfile.TemporaryDirectory() as folder:
        name = self.active_adapter
        self.save_pretrained(folder, selected_adapters=[name], save_embedding_layers=False)
        return push_adapter(folder if name == "default" else Path(folder, name), repo_id, **options)


def own_push_to_hub() -> None:
    """Make `model.push_to_hub` of every PEFT model send our adapters as [`push_adapter`] does."""
    PeftModel.push_to_hub = _push_to_hub
