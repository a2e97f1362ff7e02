"""Sending an adapter to the Hub: four files, checked and cleaned of what means something on this machine only."""

from __future__ import annotations

import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.utils import get_token
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME

from ..errors import AlmPromptError
from ..files import write_whole
from .backbones import is_hub_id, is_repo_id, shared_name
from .card import CARD_NAME, card_text, read_card
from .checksum import check_weights
from .failures import LOG_IN, hub_failures
from .reading import read_config, read_valid_config
from .results import RESULTS_NAME, AdapterResults

logger = logging.getLogger(__name__)

ADAPTER_FILES = (CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME, RESULTS_NAME, CARD_NAME)


def push_adapter(
    adapter: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str = "Upload adapter",
    commit_description: str | None = None,
    create_pr: bool = False,
    base_model: str | None = None,
    license: str | None = None,
    datasets: Sequence[str] = (),
) -> str:
    """Upload a saved adapter in one commit; the repository is made where there is none.

    Exactly config, weights, results and card go out. A backbone that was opened from a local folder is left out of
    the config, unless `base_model` says under which name others find it.

    Args:
        adapter: its folder.
        repo_id: `user/name`.
        private: whether a new repository is private; default: as the account has it.
        token: for the Hub; default: the one of `hf auth login`.
        revision: branch, made where there is none; default: `main`.
        commit_message: first line of the commit.
        commit_description: the others.
        create_pr: open a pull request instead.
        base_model: Hub id of the backbone, in place of the recorded one.
        license: of the adapter, as the Hub names it, for the card.
        datasets: Hub ids of the training data, for the card.

    Returns:
        Address of the commit.

    Raises:
        AlmPromptError: the folder holds no whole adapter, a name cannot be used, or the Hub refuses.
    """
    for name in (repo_id, *([] if base_model is None else [base_model]), *datasets):
        if not is_repo_id(name):
            raise AlmPromptError(f"{name!r} is no Hub id; give one of the form user/name")
    if base_model is not None and not is_hub_id(base_model):
        raise AlmPromptError(f"base model {base_model!r} is local; give the Hub id under which others find it")
    read_config(Path(adapter))
    if (token or get_token()) is None or token is False:
        raise AlmPromptError(f"{repo_id!r} cannot be written without a token; {LOG_IN}")
    with tempfile.TemporaryDirectory() as staging:
        _stage(Path(adapter), Path(staging), repo_id, base_model, license, datasets)
        files = [CommitOperationAdd(name, (Path(staging) / name).read_bytes()) for name in ADAPTER_FILES]
    api = HfApi(token=token)
    with hub_failures(f"{repo_id!r} cannot be written", revision=revision):
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision is not None and not create_pr:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        commit = api.create_commit(
            repo_id,
            files,
            commit_message=commit_message,
            commit_description=commit_description,
            revision=revision,
            create_pr=create_pr,
        )
    return commit.pr_url or commit.commit_url


def _stage(
    adapter: Path, staging: Path, repo_id: str, base_model: str | None, license: str | None, datasets: Sequence[str]
) -> None:
    """Make the four files as they will stand on the Hub."""
    config = read_valid_config(adapter)
    _copy(adapter, staging, SAFETENSORS_WEIGHTS_NAME)
    check_weights(staging / SAFETENSORS_WEIGHTS_NAME, config.get("weights_sha256"))
    recorded = config.get("base_model_name_or_path")
    config["base_model_name_or_path"] = base_model or shared_name(recorded)
    if config["base_model_name_or_path"] != recorded:
        # It is one of the backbone that was recorded.
        config["revision"] = None
    if recorded is not None and config["base_model_name_or_path"] is None:
        logger.warning(
            "the backbone was opened from the local folder %s, which is left out; give base_model=, or --base-model, "
            "so that others find theirs",
            recorded,
        )
    write_whole(staging / CONFIG_NAME, json.dumps(config, indent=2, sort_keys=True).encode())
    results = AdapterResults.load(adapter)
    results.license = license or results.license
    results.datasets = list(datasets) or results.datasets
    results.save(staging)
    card = read_card(adapter)
    if card is not None:
        write_whole(staging / CARD_NAME, card)
    write_whole(staging / CARD_NAME, card_text(staging, repo_id).encode())
    for name in (CONFIG_NAME, RESULTS_NAME, CARD_NAME):
        _check_paths(staging / name, recorded)


def _check_paths(file: Path, backbone: str | None) -> None:
    """Refuse a file that names this machine's folders, and with them perhaps its user."""
    text = file.read_text(encoding="utf-8")
    # Parsed: in the file a letter may stand as its escape.
    said = [text] if file.suffix != ".json" else list(_strings(json.loads(text)))
    for folder in (backbone, str(Path.home())):
        if folder is None or not Path(folder).is_absolute() or len(Path(folder).parts) == 1:
            continue
        # Another folder may begin with its name.
        named = re.compile(rf"{re.escape(str(Path(folder)))}(?![\w-]|\.\w)")
        if any(map(named.search, said)):
            raise AlmPromptError(f"{file.name} names the folder {folder} of this machine; take it out before pushing")


def _strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value, names among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _strings(item)


def _copy(source: Path, target: Path, name: str) -> None:
    try:
        shutil.copyfile(source / name, target / name)
    except OSError as error:
        raise AlmPromptError(
            f"adapter {str(source)!r} cannot be read: {name}: {error.strerror}; give the folder of a saved adapter"
        ) from error
