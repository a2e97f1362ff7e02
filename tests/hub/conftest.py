"""A Hub to push to and pull from, and an adapter to do it with."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from huggingface_hub import constants, hf_api
from peft import PeftModel, get_peft_model
from transformers.utils import hub as transformers_hub

from alm_prompt import AlmForAudioClassification, AlmPromptError, CoOpPromptConfig, ZebraPromptConfig
from alm_prompt.data.world import TINY_MODEL


def _stub() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stub_hub", Path(__file__).with_name("stub.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stub = _stub()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[stub.StubHub]:
    """An empty Hub that the client in this process talks to, with a token and an empty cache."""
    server = stub.StubHub()
    # The client reads its environment when it is imported.
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    for client in (hf_api.api, transformers_hub.hf_api()):
        monkeypatch.setattr(client, "endpoint", server.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_TOKEN", stub.TOKEN)
    yield server
    server.close()


@pytest.fixture(scope="session")
def bundled() -> Callable[[], AlmForAudioClassification]:
    """Opens the bundled model."""
    return lambda: AlmForAudioClassification.from_pretrained(TINY_MODEL)


@pytest.fixture(scope="session")
def model(bundled: Callable[[], AlmForAudioClassification]) -> PeftModel:
    """A bundled model with a fresh adapter; tests leave it as it is."""
    alm = bundled()
    alm.set_classes(["church bell", "hand drum", "police siren"])
    return get_peft_model(alm, ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=2))).eval()


@pytest.fixture
def adapter(model: PeftModel, tmp_path: Path) -> Path:
    """Folder of a saved adapter."""
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.fixture
def refused() -> Callable[..., str]:
    """Calls something that must be refused, in one line: `message = refused(function, *arguments)`."""

    def call(function: Callable, *arguments: object, **options: object) -> str:
        with pytest.raises(AlmPromptError) as error:
            function(*arguments, **options)
        message = str(error.value)
        assert "\n" not in message
        return message

    return call
