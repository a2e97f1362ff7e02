"""What a user gets from installing and importing the package."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import alm_prompt

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "alm_prompt"
PUBLIC_NAMES = [name for name in dir(alm_prompt) if not name.startswith("_")]


def run_python(*arguments: str) -> str:
    """Run a new interpreter at the root of the repository and return what it prints."""
    finished = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def declared_requirements() -> set[str]:
    """Return the normalised names in setup.py's INSTALL_REQUIRES and in its extras but for those of developers."""
    tables = {}
    for node in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and node.targets[0].id in ("INSTALL_REQUIRES", "EXTRAS_REQUIRE"):
            tables[node.targets[0].id] = ast.literal_eval(node.value)
    extras = [extra for name, extra in tables["EXTRAS_REQUIRE"].items() if name not in ("test", "docs")]
    items = [*tables["INSTALL_REQUIRES"], *(item for extra in extras for item in extra)]
    return {normalised(re.match(r"[\w.-]+", item).group()) for item in items}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_import_is_lazy() -> None:
    loaded = run_python(
        "-c",
        "import sys, alm_prompt; print(*{'torch', 'torchaudio', 'transformers', 'peft', 'numpy'} & set(sys.modules))",
    )
    assert loaded == ""


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_public_name_exists_and_is_documented(name: str) -> None:
    value = getattr(alm_prompt, name)
    # A dataclass without a docstring of its own gets its signature as one.
    assert value.__doc__ and not value.__doc__.startswith(f"{name}(")


def test_dir_lists_the_public_names() -> None:
    assert {"AlmForAudioClassification", "AlmTrainer", "CoOpPromptConfig", "ZebraPromptConfig"} <= set(PUBLIC_NAMES)
    assert alm_prompt.__all__ == PUBLIC_NAMES


def test_star_brings_all_public_names(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text("from alm_prompt import *\n")
    brought = runpy.run_path(str(tmp_path / "user.py"))
    assert sorted(name for name in brought if name[0] != "_") == PUBLIC_NAMES


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NoSuchName"):
        alm_prompt.NoSuchName  # noqa: B018


def test_version_is_the_one_that_is_installed() -> None:
    pytest.importorskip("setuptools")
    assert run_python("setup.py", "--version").splitlines()[-1] == alm_prompt.__version__


def test_every_file_of_the_package_is_shipped(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    run_python("setup.py", "--quiet", "build_py", "--build-lib", str(tmp_path))
    shipped = {path.relative_to(tmp_path / PACKAGE.name) for path in tmp_path.rglob("*") if path.is_file()}
    present = {
        path.relative_to(PACKAGE) for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert Path("py.typed") in shipped
    assert shipped == present


def test_every_imported_distribution_is_declared() -> None:
    imported = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(node.module.split(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {PACKAGE.name}
    providers = packages_distributions()
    requirements = declared_requirements()
    missing = {name for name in foreign if not {normalised(d) for d in providers.get(name, [name])} & requirements}
    assert not missing, f"imported but not in setup.py: {sorted(missing)}"
