"""Prompt methods of other installed packages."""

from pathlib import Path

import pytest

from alm_prompt import CoOpPromptConfig, parse_method
from alm_prompt.methods.installed import load_installed_methods
from alm_prompt.registry import METHODS

METHOD = """
from alm_prompt import CoOpPromptConfig
from alm_prompt.methods.tuner import PromptTuner
from alm_prompt.registry import register_method

class BorrowedPromptConfig(CoOpPromptConfig):
    pass

register_method("borrowed", BorrowedPromptConfig, PromptTuner)
"""


def install(folder: Path, name: str, module: str) -> None:
    """Lay a package out as pip does."""
    (folder / f"{name}.py").write_text(module)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[alm_prompt.methods]\n{name} = {name}\n")


def test_method_of_an_installed_package_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "borrowed", METHOD)
    try:
        load_installed_methods()
        config = parse_method("borrowed+zebra", {"borrowed.n_ctx": 3})
    finally:
        METHODS.pop("borrowed", None)
    assert isinstance(config.prompt, CoOpPromptConfig)
    assert config.prompt.n_ctx == 3


def test_package_that_cannot_be_imported_is_named_and_does_no_harm(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "torn", "import a_module_that_is_nowhere")
    with pytest.warns(UserWarning, match=r"'torn'.*a_module_that_is_nowhere.*uninstall"):
        load_installed_methods()
    assert parse_method("coop").n_ctx == 16
