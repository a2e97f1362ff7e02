"""Opening an adapter by its name alone: its backbone, its method and its classes stand in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from huggingface_hub import constants, hf_hub_download
from peft import PeftModel, get_peft_model_state_dict
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME, load_peft_weights
from safetensors import SafetensorError

from . import methods  # noqa: F401 (registers the methods that an adapter may be of)
from .errors import AlmPromptError
from .hub import (
    LARGEST_CONFIG,
    LARGEST_WEIGHTS,
    TINY,
    TINY_FOLDER,
    fetch_file,
    file_sha256,
    hub_failures,
    is_repo_id,
    read_config,
    shared_name,
)
from .hub.escaping import plain
from .methods.layer import PromptedClassHead
from .models import AlmForAudioClassification


def load_adapter(
    adapter: str | Path,
    *,
    backbone: str | AlmForAudioClassification | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
) -> PeftModel:
    """Open an adapter with the backbone that it was trained on.

    Args:
        adapter: its folder, or its Hub id.
        backbone: the model to put it on, open or by folder or Hub id; default: the one recorded in the adapter.
        revision: branch, tag or commit of an adapter on the Hub.
        token: for the Hub; default: the one of `hf auth login`.

    Returns:
        The model in eval mode, on the CPU, with the classes that the adapter was trained on (or those of an open
        `backbone` that has some).

    Raises:
        AlmPromptError: the adapter or its backbone cannot be found or opened, one is damaged or not of the other, or
            an open `backbone` has an adapter already.
    """
    folder = adapter_folder(adapter, revision=revision, token=token)
    if backbone is None:
        config = read_config(folder)
        name, recorded = recorded_backbone(adapter, config)
        backbone = _open_backbone(name, recorded, token, f"adapter {str(adapter)!r}: its backbone")
    elif not isinstance(backbone, AlmForAudioClassification):
        backbone = _open_backbone(backbone, None, token, "backbone")
    return attach_adapter(backbone, folder, str(adapter))


def adapter_folder(adapter: str | Path, *, revision: str | None = None, token: str | bool | None = None) -> Path:
    """The local folder of an adapter; from the Hub its config and weights, of one commit, are fetched if need be.

    Raises:
        AlmPromptError: there is no such adapter, it cannot be fetched or is too large, or its config is none of ours.
    """
    if Path(adapter).is_dir():
        return Path(adapter)
    if not is_repo_id(str(adapter)):
        raise AlmPromptError(f"adapter {str(adapter)!r} is neither a folder nor a Hub id of the form user/name")
    with hub_failures(f"adapter {str(adapter)!r} cannot be opened", revision=revision):
        config = fetch_file(str(adapter), CONFIG_NAME, LARGEST_CONFIG, revision=revision, token=token)
        expected = read_config(config.parent).get("weights_sha256")
        # The folder of a snapshot is named after its commit; the branch may have moved on in the meantime.
        where = {"revision": config.parent.name, "token": token}
        weights = fetch_file(str(adapter), SAFETENSORS_WEIGHTS_NAME, LARGEST_WEIGHTS, **where)
        if expected not in (None, file_sha256(weights)) and not constants.HF_HUB_OFFLINE:
            # Else what was damaged on the way would stay in the cache for good.
            hf_hub_download(str(adapter), SAFETENSORS_WEIGHTS_NAME, force_download=True, **where)
    return config.parent


def attach_adapter(model: AlmForAudioClassification, folder: Path, name: str) -> PeftModel:
    """Put a saved adapter on an open model, which takes the adapter's classes where it has none.

    Args:
        model: the model that the adapter was trained on.
        folder: the adapter.
        name: what to call it in an error.

    Raises:
        AlmPromptError: the model has an adapter already, or none is there, of an unknown type, of another model, or
            damaged.
    """
    if isinstance(model.class_head, PromptedClassHead):
        # PEFT would change that adapter in place, even with one that is then refused.
        raise AlmPromptError(
            f"adapter {name!r} cannot be opened: the model has an adapter already; take that one off with "
            "PeftModel.unload(), add this one to it with PeftModel.load_adapter(path, adapter_name), or open the "
            "model anew"
        )
    read_config(folder)
    if not (folder / SAFETENSORS_WEIGHTS_NAME).is_file():
        raise AlmPromptError(f"adapter {name!r} holds no {SAFETENSORS_WEIGHTS_NAME}; no other format is read")
    failures = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)
    with one_line(f"adapter {name!r} cannot be opened", failures), _as_before_on_failure(model):
        adapted = PeftModel.from_pretrained(model, str(folder))
        # PEFT drops a tensor whose name leads nowhere without a word.
        loaded = get_peft_model_state_dict(adapted, save_embedding_layers=False)
        stray = sorted(load_peft_weights(str(folder), device="cpu").keys() - loaded.keys())
        if stray:
            raise AlmPromptError(f"adapter {name!r} holds a tensor that its config does not ask for: {stray[0]!r}")
    return adapted.eval()


def recorded_backbone(adapter: str | Path, config: dict[str, Any]) -> tuple[str, str | None]:
    """The backbone that an adapter names, and its revision.

    Args:
        adapter: its folder or Hub id.
        config: its settings.

    Raises:
        AlmPromptError: it names none, or one that it may not: what comes from the Hub may name a model on the Hub, but
            no folder of this machine.
    """
    name, revision = config.get("base_model_name_or_path"), config.get("revision")
    local = Path(adapter).is_dir()
    if not isinstance(name, str) or not name or not (local or is_repo_id(name)):
        raise AlmPromptError(
            f"adapter {str(adapter)!r} names {name!r} as its backbone; give the one it was trained on (backbone=, or "
            "--model)"
        )
    if not local and shared_name(name) is None:
        raise AlmPromptError(
            f"adapter {str(adapter)!r} of the Hub names {name!r} as its backbone, which would be opened from the "
            "folder of that name here; give the one it was trained on (backbone=, or --model)"
        )
    if revision is not None and not isinstance(revision, str):
        raise AlmPromptError(
            f"adapter {str(adapter)!r} names {revision!r} as the revision of its backbone; give the backbone it was "
            "trained on (backbone=, or --model)"
        )
    return name, revision


def _open_backbone(
    source: str, revision: str | None, token: str | bool | None, what: str
) -> AlmForAudioClassification:
    with backbone_failures(f"{what} {source!r} cannot be opened"):
        return AlmForAudioClassification.from_pretrained(
            TINY_FOLDER if source == TINY else source, revision=revision or "main", token=token
        )


@contextmanager
def _as_before_on_failure(model: AlmForAudioClassification) -> Iterator[None]:
    """Take a half-loaded adapter off again: the model must not classify with what has just been refused."""
    head, bank = model.class_head, model.class_bank
    try:
        yield
    except BaseException:
        model.class_head, model.class_bank = head, bank
        vars(model).pop("peft_config", None)
        raise


@contextmanager
def one_line(what: str, failures: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn a library's failure on a user's input into one line; our own errors pass as they are."""
    try:
        yield
    except AlmPromptError:
        raise
    except failures as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise AlmPromptError(f"{what}: {plain(reason)}") from error


@contextmanager
def backbone_failures(what: str) -> Iterator[None]:
    """Turn a failure to open a model or its front end into one line."""
    # What torch raises on a damaged pickle depends on where the damage is.
    failures = (OSError, ValueError, RuntimeError, LookupError, EOFError, SafetensorError)
    with one_line(what, failures):
        try:
            yield
        except UnpicklingError as error:
            # Not in torch's words, which recommend to run whatever the file holds.
            raise AlmPromptError(
                f"{what}: its weights are a pickle that is damaged or holds more than tensors; take a model whose "
                "weights are safetensors"
            ) from error
