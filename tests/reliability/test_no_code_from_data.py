"""Nothing in the package makes code of data: no pickle, no eval, YAML by the safe loader."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "alm_prompt"
FILES = sorted(PACKAGE.rglob("*.py"))
BUILT_IN = {"eval", "exec", "compile", "__import__"}
MODULES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
# What `torch.load` refuses with.
ERRORS = {"UnpicklingError"}
METHODS = {"yaml": {"load", "load_all", "full_load", "unsafe_load", "FullLoader", "UnsafeLoader", "Loader"}}
METHODS |= {"torch": {"load"}, "np": {"load"}, "numpy": {"load"}, "os": {"system", "popen"}}
# `np.load` reads arrays, and objects only where it is asked to; `torch.load` reads tensors where it is told to.
SAFE_ARGUMENTS = {"torch": {"weights_only": True}, "np": {"allow_pickle": False}, "numpy": {"allow_pickle": False}}


def makes_code(tree: ast.AST) -> list[str]:
    """What in a file would run what it reads, by line."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names}
            if not (isinstance(node, ast.ImportFrom) and names <= ERRORS):
                names.add(getattr(node, "module", None) or "")
            found += [f"{node.lineno}: import {name}" for name in names if name.split(".")[0] in MODULES]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BUILT_IN:
            found.append(f"{node.lineno}: {node.func.id}()")
        if isinstance(node, ast.Attribute) and node.attr in METHODS.get(getattr(node.value, "id", None), ()):
            found.append(f"{node.lineno}: {node.value.id}.{node.attr}")
        for word in getattr(node, "keywords", []):
            if word.arg == "trust_remote_code" and not (isinstance(word.value, ast.Constant) and not word.value.value):
                found.append(f"{node.lineno}: trust_remote_code")
        if opens_any_class(node) and "trust_remote_code" not in {word.arg for word in node.keywords}:
            found.append(f"{node.lineno}: from_pretrained")
    safe = [f"{node.lineno}: {node.func.value.id}.load" for node in ast.walk(tree) if is_safe_load(node)]
    return [place for place in found if place not in safe]


def opens_any_class(node: ast.AST) -> bool:
    """Whether a checkpoint has a say in which class is made of it: that of an `Auto*`, or of one in a variable."""
    if not (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "from_pretrained"
    ):
        return False
    name = getattr(node.func.value, "id", "")
    return name.startswith("Auto") or name.islower()


def is_safe_load(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    module = getattr(node.func.value, "id", None)
    given = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
    wanted = SAFE_ARGUMENTS.get(module)
    return node.func.attr == "load" and wanted is not None and given.items() >= wanted.items()


def test_the_package_makes_no_code_of_data():
    found = {str(path.relative_to(PACKAGE)): makes_code(ast.parse(path.read_text("utf-8"))) for path in FILES}
    assert not {name: places for name, places in found.items() if places}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "from pickle import UnpicklingError, loads",
        "eval(text)",
        "exec(text)",
        "__import__(name)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "open_model(path, trust_remote_code=True)",
        "open_model(path, trust_remote_code=wish)",
        "AutoConfig.from_pretrained(path)",
        "AutoModel.from_pretrained(path, **options)",
        "loader.from_pretrained(path)",
    ],
)
def test_what_is_found(code):
    assert makes_code(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "torch.load(path, weights_only=True)",
        "yaml.safe_load(text)",
        "from pickle import UnpicklingError",
        "model.eval()",
        "AutoModel.from_pretrained(path, trust_remote_code=False)",
        "BertModel.from_pretrained(path)",
        "super().from_pretrained(path)",
    ],
)
def test_what_is_not(code):
    assert not makes_code(ast.parse(code))
